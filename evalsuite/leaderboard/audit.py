"""The audit of a judge: how it behaves, whatever it judges.

Knows game records and stats; knows no judge, no prompt and no file.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from evalsuite.leaderboard.decisions import Decision
from evalsuite.leaderboard.evidence import (
    Evidence,
    Kin,
    against_labels,
    family_of,
    spread_of,
)
from evalsuite.records import Game
from evalsuite.stats.shares import (
    first_place_share,
    invalid_share,
    longer_share,
    repeat_agreement,
    swap_agreement,
)


def audit_of(
    games: Sequence[Game],
    decisions: Sequence[Decision],
    judge: str,
    evidence: Evidence,
    seed: int,
) -> dict[str, Any]:
    """How a judge behaves, whatever it judges; None where there is nothing to tell by.

    swap_agreement: pairs judged in both orders whose two verdicts name the same winner, or both a
    tie. first_place_share: decisive games won by the answer shown first. longer_share: decisive
    games of answers of different length won by the longer one. invalid_rate: games without a
    verdict. repeat_agreement: how often two repeats of a game have the same verdict, or one answer
    the same score. The counts say out of how many; `intervals` are 95 %, games on one question
    hanging together.

    Of the decisions: win_rate_spread, each model's over repeats; own_family, what the judge gave
    its own family; labels, how far it agrees with those of `evidence`.
    """
    groups: dict[tuple[object, ...], list[Game]] = {}
    repeats: dict[tuple[object, ...], list[Game]] = {}
    for game in games:
        if game.verdict != "invalid":
            groups.setdefault(_pairing(game), []).append(game)
            key = (game.question_id, game.turn, game.first, game.second)
            repeats.setdefault(key, []).append(game)
    swapped = [
        (one, two)
        for group in groups.values()
        for one, two in itertools.combinations(group, 2)
        if one.first == two.second
    ]
    verdicts = [game.verdict for game in games]
    questions = [game.question_id for game in games]
    shares = {
        "swap_agreement": swap_agreement(
            [one.winner for one, _ in swapped],
            [two.winner for _, two in swapped],
            [one.question_id for one, _ in swapped],
        ),
        "first_place_share": first_place_share(verdicts, questions),
        "longer_share": longer_share(verdicts, [game.lengths for game in games], questions),
        "invalid_rate": invalid_share(verdicts, questions),
        "repeat_agreement": repeat_agreement(
            [[_said(game) for game in its] for its in repeats.values()],
            [its[0].question_id for its in repeats.values()],
        ),
    }
    return {
        **{name: share.value for name, share in shares.items()},
        "games": len(games),
        "swapped_pairs": shares["swap_agreement"].n,
        "decisive_games": shares["first_place_share"].n,
        "unequal_lengths": shares["longer_share"].n,
        "repeated_games": shares["repeat_agreement"].n,
        "intervals": {
            name: None if share.ci is None else list(share.ci) for name, share in shares.items()
        },
        "win_rate_spread": spread_of(decisions),
        "own_family": family_of(decisions, evidence.kin.get(judge, Kin()), evidence.labels, seed),
        "labels": against_labels(games, decisions, evidence.labels, seed),
    }


def _said(game: Game) -> object:
    """What must come again for a repeat to agree: the verdict, or the score of one answer."""
    return game.verdict if game.second is not None else game.scores


def _pairing(game: Game) -> tuple[object, ...]:
    return game.question_id, game.turn, game.repeat, *sorted(game.models)
