"""Judged games in, the leaderboard's `judges`, `pairs` and `judge_audit` out.

The one place that says what the two orders of a pair come to. Knows game records and stats; knows
no judge, no prompt and no file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalsuite.records import Game, Leaderboard, QuestionId
from evalsuite.stats.ratings import (
    Comparison,
    DisconnectedError,
    Rating,
    rate,
    win_rate_intervals,
)

Outcome = Literal["a", "b", "tie", "invalid"]
_POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pair's games on one turn and repeat come to. `a` stands before `b` by name.

    `outcome` is "invalid" when one of the games has no verdict.
    """

    question_id: QuestionId
    category: str
    turn: int
    repeat: int
    judge: str
    a: str
    b: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """The leaderboard's parts, in the form that leaderboard.json has.

    `models` is {model: {judge: {win_rate, ci, rating, rating_ci, rank, games, invalid,
    categories}}}: `games` and `invalid` count judged games (two for a pair in both orders), the
    win rate is over decisions, ties half. `pairs` count decisions. `notes` say what could not be
    computed, and why.
    """

    models: Mapping[str, Mapping[str, Any]]
    pairs: tuple[Mapping[str, Any], ...]
    audit: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def decide(games: Iterable[Game]) -> list[Decision]:
    """One decision for the games of a pair on one turn and repeat, in order of first play.

    Orders that agree make a winner or a tie, orders that don't a tie. A game without a verdict
    leaves the decision invalid: half a comparison decides nothing.
    """
    groups: dict[tuple[object, ...], list[Game]] = {}
    for game in games:
        groups.setdefault(_pairing(game), []).append(game)
    return [_decision(group) for group in groups.values()]


def judge_summary(games: Sequence[Game], models: Sequence[str], *, seed: int = 0) -> JudgeSummary:
    """What all judges' games say of `models`, each judge by itself.

    Intervals are 95 %, by resampling questions. A model without a single decision has None for
    its numbers; so have all ratings of a judge whose league falls apart, and a note names the
    groups.

    Raises:
        ValueError: a game of a model that is not among `models`.
    """
    strangers = {name for game in games for name in (game.first, game.second)} - set(models)
    if strangers:
        raise ValueError(f"games of {', '.join(sorted(strangers))}, not among the models")
    by_model: dict[str, dict[str, Any]] = {model: {} for model in models}
    pairs: list[Mapping[str, Any]] = []
    audit: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for judge in dict.fromkeys(game.judge for game in games):
        played = [game for game in games if game.judge == judge]
        decisions = decide(played)
        pairs += _pairs(judge, played, decisions)
        audit[judge] = _audit(played)
        scores, problem = _scores(played, decisions, models, seed)
        for model, score in scores.items():
            by_model[model][judge] = score
        if problem:
            notes.append(f"{judge}: {problem}")
    return JudgeSummary(by_model, tuple(pairs), audit, tuple(notes))


def with_judges(board: Leaderboard, summary: JudgeSummary) -> Leaderboard:
    """The leaderboard with what the judges said of its models; the order of the models stays."""
    models = tuple(replace(m, judges=summary.models.get(m.name, {})) for m in board.models)
    return replace(board, models=models, pairs=summary.pairs, judge_audit=summary.audit)


def _pairing(game: Game) -> tuple[object, ...]:
    a, b = sorted((game.first, game.second))
    return game.judge, game.question_id, game.turn, game.repeat, a, b


def _decision(games: Sequence[Game]) -> Decision:
    one = games[0]
    a, b = sorted((one.first, one.second))
    winners = {game.winner for game in games}
    outcome: Outcome = "tie"
    if any(game.verdict == "invalid" for game in games):
        outcome = "invalid"
    elif winners == {a}:
        outcome = "a"
    elif winners == {b}:
        outcome = "b"
    return Decision(one.question_id, one.category, one.turn, one.repeat, one.judge, a, b, outcome)


def _comparisons(decisions: Iterable[Decision]) -> list[Comparison]:
    return [
        Comparison(one.question_id, one.a, one.b, _POINTS[one.outcome])
        for one in decisions
        if one.outcome != "invalid"
    ]


def _scores(
    games: Sequence[Game], decisions: Sequence[Decision], models: Sequence[str], seed: int
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """One judge's numbers for every model that played, and why there are no ratings, if so."""
    playing = [m for m in models if any(m in (game.first, game.second) for game in games)]
    comparisons = _comparisons(decisions)
    compared = {name for one in comparisons for name in (one.a, one.b)}
    league = [model for model in playing if model in compared]
    ratings: dict[str, Rating] = {}
    problem = None
    try:
        if comparisons:
            found = rate(league, comparisons, seed)
            ratings = {rating.model: rating for rating in found}
        else:
            problem = "no pair has a verdict, so there are no ratings"
    except DisconnectedError as error:
        problem = str(error)
    rates = dict(zip(playing, win_rate_intervals(playing, comparisons, seed), strict=True))
    categories = _categories(decisions, playing, seed)
    scores = {}
    for model in playing:
        own = [game for game in games if model in (game.first, game.second)]
        win, rating = rates[model], ratings.get(model)
        scores[model] = {
            "win_rate": win[0] if win else None,
            "ci": list(win[1]) if win else None,
            "rating": rating.rating if rating else None,
            "rating_ci": list(rating.rating_ci) if rating else None,
            "rank": list(rating.rank) if rating else None,
            "games": len(own),
            "invalid": sum(game.verdict == "invalid" for game in own),
            "categories": categories[model],
        }
    return scores, problem


def _categories(
    decisions: Sequence[Decision], models: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """{model: {category: {win_rate, ci, decisions}}}, where there are decisions."""
    found: dict[str, dict[str, Any]] = {model: {} for model in models}
    for category in dict.fromkeys(one.category for one in decisions):
        comparisons = _comparisons(one for one in decisions if one.category == category)
        for model, win in zip(models, win_rate_intervals(models, comparisons, seed), strict=True):
            if win is not None:
                found[model][category] = {
                    "win_rate": win[0],
                    "ci": list(win[1]),
                    "decisions": sum(model in (one.a, one.b) for one in comparisons),
                }
    return found


def _pairs(
    judge: str, games: Sequence[Game], decisions: Sequence[Decision]
) -> list[Mapping[str, Any]]:
    """Counts of decisions by pair; scores are sums of the judge's own numbers, if it gives any."""
    rows: list[Mapping[str, Any]] = []
    for a, b in dict.fromkeys((one.a, one.b) for one in decisions):
        outcomes = [one.outcome for one in decisions if (one.a, one.b) == (a, b)]
        scored = [game for game in games if game.scores and {game.first, game.second} == {a, b}]
        rows.append(
            {
                "judge": judge,
                "a": a,
                "b": b,
                "wins_a": outcomes.count("a"),
                "wins_b": outcomes.count("b"),
                "ties": outcomes.count("tie"),
                "invalid": outcomes.count("invalid"),
                "score_a": sum(_score(game, a) for game in scored) if scored else None,
                "score_b": sum(_score(game, b) for game in scored) if scored else None,
            }
        )
    return rows


def _score(game: Game, model: str) -> float:
    assert game.scores is not None  # the caller has chosen games with scores
    return game.scores[0] if game.first == model else game.scores[1]


def _audit(games: Sequence[Game]) -> dict[str, Any]:
    """How a judge behaves, whatever it judges; None where there is nothing to tell by.

    swap_agreement: pairs judged in both orders whose two verdicts name the same winner, or both a
    tie. first_place_share: decisive games won by the answer shown first. longer_share: decisive
    games of answers of different length won by the longer one. invalid_rate: games without a
    verdict. The counts say out of how many.
    """
    groups: dict[tuple[object, ...], list[Game]] = {}
    for game in games:
        if game.verdict != "invalid":
            groups.setdefault(_pairing(game), []).append(game)
    swapped = [
        (one, two)
        for group in groups.values()
        for one, two in itertools.combinations(group, 2)
        if one.first == two.second
    ]
    decisive = [game for game in games if game.verdict in ("first", "second")]
    unequal = [game for game in decisive if game.lengths[0] != game.lengths[1]]
    longer = sum((g.lengths[0] > g.lengths[1]) == (g.verdict == "first") for g in unequal)
    return {
        "swap_agreement": _share(sum(a.winner == b.winner for a, b in swapped), len(swapped)),
        "first_place_share": _share(sum(g.verdict == "first" for g in decisive), len(decisive)),
        "longer_share": _share(longer, len(unequal)),
        "invalid_rate": _share(sum(g.verdict == "invalid" for g in games), len(games)),
        "games": len(games),
        "swapped_pairs": len(swapped),
        "decisive_games": len(decisive),
        "unequal_lengths": len(unequal),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
