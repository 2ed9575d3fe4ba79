"""Judged games in, the leaderboard's `judges`, `pairs` and `judge_audit` out.

Knows game records, decisions and stats; knows no judge, no prompt and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalsuite.leaderboard.audit import audit_of
from evalsuite.leaderboard.decisions import Decision, decide
from evalsuite.leaderboard.evidence import (
    NO_EVIDENCE,
    Evidence,
    between_judges,
    bounds_of,
    served_by,
)
from evalsuite.leaderboard.lengths import length_controlled
from evalsuite.records import Game, Leaderboard
from evalsuite.stats.ratings import (
    Comparison,
    DisconnectedError,
    Rating,
    rate,
    win_rate_intervals,
)
from evalsuite.stats.resampling import ratio_of_sums, standard_error


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """The leaderboard's parts, in the form that leaderboard.json has.

    `models` is {model: {judge: {win_rate, ci, stderr, bounds, length_controlled, rating, rating_ci,
    rank, games, invalid, categories, constant_answers}}}: `games` and `invalid` count judged games
    (two for a pair in both orders), the win rate is over decisions, ties half. Models whose answers
    were judged alone have `score`, the mean of the judge's numbers, and `score_categories`. `pairs`
    count decisions. `notes` say what could not be computed, and why.
    """

    models: Mapping[str, Mapping[str, Any]]
    pairs: tuple[Mapping[str, Any], ...]
    audit: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def judge_summary(
    games: Sequence[Game],
    models: Sequence[str],
    *,
    seed: int = 0,
    evidence: Evidence = NO_EVIDENCE,
) -> JudgeSummary:
    """What all judges' games say of `models`, each judge by itself; `evidence` is for their audits.

    Intervals are 95 %, by resampling questions. A model without a single decision has None for
    its numbers; so have all ratings of a judge whose league falls apart, and a note names the
    groups.

    Raises:
        ValueError: a game of a model that is not among `models`.
    """
    strangers = {name for game in games for name in game.models} - set(models)
    if strangers:
        raise ValueError(f"games of {', '.join(sorted(strangers))}, not among the models")
    by_model: dict[str, dict[str, Any]] = {model: {} for model in models}
    pairs: list[Mapping[str, Any]] = []
    audit: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    by_judge: dict[str, list[Decision]] = {}
    for judge in dict.fromkeys(game.judge for game in games):
        its = [game for game in games if game.judge == judge]
        played = [game for game in its if game.second is not None]
        decisions = by_judge[judge] = decide(played)
        pairs += _pairs(judge, played, decisions, seed)
        controlled, refused = length_controlled(decisions)
        alone = [game for game in its if game.second is None]
        # A judge that read every answer by itself is audited by its scores.
        audit[judge] = {
            **audit_of(played or alone, decisions, judge, evidence, seed),
            "length_control": refused,
            "served": served_by(its),
        }
        scores, problem = _scores(played, decisions, models, seed) if played else ({}, None)
        for model, score in scores.items():
            by_model[model][judge] = score | {"length_controlled": controlled.get(model)}
        for model, score in _marks(alone, models, seed).items():
            by_model[model].setdefault(judge, {}).update(score)
        for model, same in evidence.sameness.items():
            if judge in by_model.get(model, {}):
                by_model[model][judge]["constant_answers"] = same.record()
        if problem:
            notes.append(f"{judge}: {problem}")
        if (held := audit[judge]["labels"]) and held["unmatched"]:
            notes.append(
                f"{judge}: {held['unmatched']} of {held['labels']} labels are of no comparison "
                "that it decided, and are left out"
            )
    others = between_judges(by_judge, seed)
    audit = {judge: {**its, "judges": others[judge]} for judge, its in audit.items()}
    return JudgeSummary(by_model, tuple(pairs), audit, tuple(notes))


def with_judges(board: Leaderboard, summary: JudgeSummary) -> Leaderboard:
    """The leaderboard with what the judges said of its models; the order of the models stays."""
    models = tuple(replace(m, judges=summary.models.get(m.name, {})) for m in board.models)
    return replace(board, models=models, pairs=summary.pairs, judge_audit=summary.audit)


def _comparisons(decisions: Iterable[Decision]) -> list[Comparison]:
    return [
        Comparison(one.question_id, one.a, one.b, one.points)
        for one in decisions
        if one.points is not None
    ]


def _scores(
    games: Sequence[Game], decisions: Sequence[Decision], models: Sequence[str], seed: int
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """One judge's numbers for every model that played, and why there are no ratings, if so."""
    played = {name for game in games for name in game.models}
    playing = [m for m in models if m in played]
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
        own = [game for game in games if model in game.models]
        win, rating = rates[model], ratings.get(model)
        scores[model] = {
            "win_rate": win[0] if win else None,
            "ci": list(win[1]) if win else None,
            "stderr": _stderr(comparisons, model) if win else None,
            "bounds": bounds_of(decisions, model),
            "rating": rating.rating if rating else None,
            "rating_ci": list(rating.rating_ci) if rating else None,
            "rank": list(rating.rank) if rating else None,
            "games": len(own),
            "invalid": sum(game.verdict == "invalid" for game in own),
            "categories": categories[model],
        }
    return scores, problem


def _stderr(comparisons: Sequence[Comparison], model: str) -> float | None:
    """The win rate's standard error, questions as clusters: sd / sqrt(n) with one decision each."""
    own = [one for one in comparisons if model in (one.a, one.b)]
    points = [one.score if one.a == model else 1 - one.score for one in own]
    return standard_error(points, [one.question for one in own])


def _marks(games: Sequence[Game], models: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """The mean of what a judge gave answers that it read alone, on its own scale."""
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        own = [game for game in games if game.first == model]
        if not own:
            continue
        marked = [game for game in own if game.scores]
        categories = {
            category: _mean([game for game in marked if game.category == category], seed)
            for category in dict.fromkeys(game.category for game in marked)
        }
        found[model] = {
            "score": _mean(marked, seed),
            "marked": len(own),
            "unmarked": len(own) - len(marked),
            "score_categories": categories,
        }
    return found


def _mean(marked: Sequence[Game], seed: int) -> dict[str, Any]:
    """The mean of the games' scores with its interval, questions resampled."""
    if not marked:
        return {"value": None, "ci": None, "n": 0}
    marks = [game.scores[0] for game in marked if game.scores]
    mean = ratio_of_sums(marks, [1.0] * len(marks), [g.question_id for g in marked], seed)
    assert mean is not None  # its divisor is a count
    return {"value": mean.value, "ci": list(mean.ci), "n": len(marked)}


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
    judge: str, games: Sequence[Game], decisions: Sequence[Decision], seed: int
) -> list[Mapping[str, Any]]:
    """Counts of decisions by pair; scores are sums of the judge's own numbers, if it gives any.

    `win_rate_a` is a's against b alone. `score_ratio` is score_b over score_a, the older way to
    say how good b is; intervals resample questions.
    """
    rows: list[Mapping[str, Any]] = []
    met: dict[tuple[str, str], list[Decision]] = {}
    for one in decisions:
        met.setdefault((one.a, one.b), []).append(one)
    with_scores: dict[tuple[str, ...], list[Game]] = {}
    for game in games:
        if game.scores:
            with_scores.setdefault(tuple(sorted(game.models)), []).append(game)
    for (a, b), its in met.items():
        outcomes = [one.outcome for one in its]
        scored = with_scores.get((a, b), [])
        [of_a, _] = win_rate_intervals([a, b], _comparisons(its), seed)
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
                "win_rate_a": of_a[0] if of_a else None,
                "win_rate_a_ci": list(of_a[1]) if of_a else None,
                **_score_ratio(scored, a, b, seed),
            }
        )
    return rows


def _score_ratio(scored: Sequence[Game], a: str, b: str, seed: int) -> dict[str, Any]:
    if not scored:
        return {}
    ratio = ratio_of_sums(
        [_score(game, b) for game in scored],
        [_score(game, a) for game in scored],
        [game.question_id for game in scored],
        seed,
    )
    return {
        "score_ratio": ratio.value if ratio else None,
        "score_ratio_ci": list(ratio.ci) if ratio else None,
    }


def _score(game: Game, model: str) -> float:
    assert game.scores is not None  # the caller has chosen games with scores
    return game.scores[0] if game.first == model else game.scores[1]
