"""Flags on judging that can't stand together, told before any model is loaded.

Knows flags, presets and how many models there are; must not know models or servers.
"""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.config import RunConfig
from evalsuite.judge import JudgeSpec, Preset
from evalsuite.judge.matchmaking import check_games
from evalsuite.records import UserError


def check_words(config: RunConfig, specs: Sequence[JudgeSpec]) -> None:
    """Refuses flags on how a language model judges where none does.

    Raises:
        UserError: there is one.
    """
    if {spec.kind for spec in specs} != {"reference"}:
        return
    if config.judge_games is not None:
        raise UserError(
            "--judge-games: references decide at no cost, so all games are played; leave it out, "
            "or name a judge with --judge"
        )
    for given, flag in (
        (config.judge_preset != "pairwise", "--judge-preset"),
        (config.judge_prompts is not None, "--judge-prompts"),
    ):
        if given:
            raise UserError(
                f"{flag} says how a language model judges, and --judge reference asks none; "
                "name one with --judge"
            )


def check_league(config: RunConfig, preset: Preset, models: int) -> None:
    """Refuses flags on who plays whom that the preset or the number of models rules out.

    Raises:
        UserError: there is one.
    """
    for given, flag, what in (
        (config.judge_games, "--judge-games", "there are no games to choose among"),
        (config.judge_baseline, "--judge-baseline", "nothing is compared with another model"),
    ):
        if given is not None and preset.alone:
            raise UserError(
                f"{flag}: the preset {preset.name} reads each answer alone, so {what}; "
                "leave one of the two out"
            )
    if config.judge_games is not None:
        check_games(config.judge_games, models, preset.orders * config.judge_repeats)
