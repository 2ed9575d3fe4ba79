"""Several judges as one panel: each decides by itself, the panel's share is the mean of theirs.

And what each judge does to it: the panel without that judge, and how far the two agree. Knows game
records and stats; knows no judge, no prompt and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from evalsuite.leaderboard.decisions import Decision, decide
from evalsuite.leaderboard.judges import JudgeSummary, judge_summary
from evalsuite.records import Game, Verdict
from evalsuite.stats.agreement import agreement

PANEL = "panel"

_Key = tuple[str, int, int, str, str]


def with_panel(
    summary: JudgeSummary, games: Sequence[Game], models: Sequence[str], *, seed: int = 0
) -> JudgeSummary:
    """The summary with the panel of all judges before them; as it is when fewer than two judged.

    A pair on a turn of a question counts for the panel when one judge at least has a verdict on
    it; its points are the mean of the judges' (win 1, tie 0.5, loss 0). The panel's audit holds
    `leave_one_out`: for each judge the agreement of its decisions with those of the panel of the
    others (raw and kappa, with intervals), and that panel's numbers for every model.
    Source of the mean over judges: P. Verga et al., Replacing Judges with Juries (2024).
    """
    decisions = decide(games)
    judges = list(dict.fromkeys(one.judge for one in decisions))
    if len(judges) < 2:
        return summary
    lengths = {_key_of(game): game for game in games if game.second is not None}
    everybody = _panel(decisions, lengths, models, seed)
    audit: dict[str, Any] = {
        "judges": judges,
        "games": len(everybody[0]),
        "invalid_rate": fmean(game.verdict == "invalid" for game in everybody[0]),
        "length_control": everybody[1].audit[PANEL].get("length_control"),
        "leave_one_out": {
            judge: _without(judge, decisions, lengths, everybody[1], models, seed)
            for judge in judges
        },
    }
    by_model = {
        model: {
            **{name: {**numbers, **_constant(its)} for name, numbers in panel.items()},
            **its,
        }
        for model, its in summary.models.items()
        for panel in (everybody[1].models.get(model, {}),)
    }
    return replace(
        summary,
        models=by_model,
        pairs=(*everybody[1].pairs, *summary.pairs),
        audit={PANEL: audit, **summary.audit},
        notes=(*everybody[1].notes, *summary.notes),
    )


def _constant(by_judge: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whether a model says the same to everything, which no judge decides: the same for all."""
    said = (its["constant_answers"] for its in by_judge.values() if "constant_answers" in its)
    return {"constant_answers": found} if (found := next(said, None)) else {}


def _without(
    judge: str,
    decisions: Sequence[Decision],
    lengths: Mapping[_Key, Game],
    everybody: JudgeSummary,
    models: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """What the panel is without a judge, and how far that judge agrees with it."""
    own = {_key(one): one.outcome for one in decisions if one.judge == judge}
    games, rest = _panel([one for one in decisions if one.judge != judge], lengths, models, seed)
    theirs = {
        _key_of(game): {"first": "a", "second": "b"}.get(game.verdict, game.verdict)
        for game in games
    }
    both = [
        key
        for key, outcome in own.items()
        if outcome != "invalid" and theirs.get(key, "invalid") != "invalid"
    ]
    found: dict[str, Any] = {"n": len(both), "agreement": None, "kappa": None}
    if both:
        said = agreement(
            [own[key] for key in both],
            [theirs[key] for key in both],
            [key[0] for key in both],
            seed,
        )
        found |= {
            "agreement": said.raw.value,
            "agreement_ci": said.raw.ci,
            "kappa": said.kappa,
            "kappa_ci": said.kappa_ci,
        }
    numbers = {model: its[PANEL] for model, its in rest.models.items() if PANEL in its}
    whole = {model: its[PANEL] for model, its in everybody.models.items() if PANEL in its}
    found["models"] = {
        model: {name: its[name] for name in ("win_rate", "ci", "rating", "rating_ci", "rank")}
        for model, its in numbers.items()
    }
    changes = [
        abs(numbers[model]["win_rate"] - its["win_rate"])
        for model, its in whole.items()
        if its["win_rate"] is not None and numbers.get(model, {}).get("win_rate") is not None
    ]
    found["largest_change"] = max(changes, default=None)
    found["same_order"] = _order(numbers) == _order(whole) if changes else None
    return found


def _order(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rated = [model for model, its in numbers.items() if its["win_rate"] is not None]
    return sorted(rated, key=lambda model: (-numbers[model]["win_rate"], model))


def _panel(
    decisions: Sequence[Decision], lengths: Mapping[_Key, Game], models: Sequence[str], seed: int
) -> tuple[list[Game], JudgeSummary]:
    """One game for each pair on a turn, whose preference is the panel's; and what these come to."""
    groups: dict[_Key, list[Decision]] = {}
    for one in decisions:
        groups.setdefault(_key(one), []).append(one)
    games = [_game(group, lengths[key]) for key, group in groups.items()]
    return games, judge_summary(games, models, seed=seed)


def _game(group: Sequence[Decision], like: Game) -> Game:
    one = group[0]
    points = [its.points for its in group if its.points is not None]
    share = fmean(points) if points else None
    verdict: Verdict = "invalid"
    if share is not None:
        verdict = "tie" if share == 0.5 else "first" if share > 0.5 else "second"
    ordered = like.lengths if like.first == one.a else (like.lengths[1], like.lengths[0])
    return replace(
        like,
        first=one.a,
        second=one.b,
        judge=PANEL,
        preset=PANEL,
        verdict=verdict,
        winner={"first": one.a, "second": one.b}.get(verdict),
        scores=None,
        raw_reply=None,
        lengths=ordered,
        preference=share,
    )


def _key(one: Decision) -> _Key:
    return str(one.question_id), one.turn, one.repeat, one.a, one.b


def _key_of(game: Game) -> _Key:
    a, b = sorted(game.models)
    return str(game.question_id), game.turn, game.repeat, a, b
