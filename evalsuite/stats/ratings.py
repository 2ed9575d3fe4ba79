"""Ratings of models from pairwise verdicts: win rates, Bradley-Terry, intervals, rank ranges.

Pure functions: decided comparisons in, tuples out. Knows numpy, scipy and evalica; knows nothing of
judges, games or files. The same seed and the same comparisons give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtr, stdtrit

from evalsuite.stats.strengths import (
    HALF_TIE,
    MEAN_RATING,
    Counts,
    gap_variances,
    jackknife,
    on_scale,
)

Interval = tuple[float, float]

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """One decided comparison on one question: `score` is a's share, 1 won, 0 lost, 0.5 tied.

    `question` is what is resampled: comparisons on the same question stay together.
    """

    question: Hashable
    a: str
    b: str
    score: float


@dataclass(frozen=True, slots=True)
class Rating:
    """What the comparisons say of one model; intervals are 95 %, `rank` is a range of places."""

    model: str
    win_rate: float
    win_rate_ci: Interval
    rating: float
    rating_ci: Interval
    rank: tuple[int, int]
    comparisons: int


class DisconnectedError(ValueError):
    """The league falls into groups that never met, so no scale holds it: `groups` names them."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        named = " | ".join(", ".join(group) for group in self.groups)
        super().__init__(f"these models were never compared, so no rating holds them all: {named}")


def win_counts(models: Sequence[str], comparisons: Sequence[Comparison]) -> Counts:
    """wins[i, j]: comparisons that model i won against model j, a tie half for either. [m, m]

    Raises:
        ValueError: a model that is not among `models` or meets itself, or a score outside 0..1.
    """
    place = {model: i for i, model in enumerate(models)}
    wins = np.zeros((len(models), len(models)))
    for one in comparisons:
        _check(one, place)
        wins[place[one.a], place[one.b]] += one.score
        wins[place[one.b], place[one.a]] += 1 - one.score
    return wins


def win_rates(wins: Counts) -> NDArray[np.float64]:
    """Share of its comparisons that each model won, ties half; nan without comparisons. [m]

    `wins` has shape [..., m, m].
    """
    won, lost = wins.sum(-1), wins.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (won + lost))


def bradley_terry(models: Sequence[str], wins: Counts) -> NDArray[np.float64]:
    """Bradley-Terry ratings on Elo's scale with mean 1000, half a tie added a compared pair. [m]

    The maximum-likelihood strengths come from evalica's solver; rating differences are
    400 / ln 10 times their log ratios.

    Source: R. A. Bradley and M. E. Terry, Rank analysis of incomplete block designs: I, Biometrika
    39 (1952); the solver: M. E. J. Newman, Journal of Machine Learning Research 24 (2023).

    Raises:
        DisconnectedError: groups of models that never met.
        ArithmeticError: the solver did not converge.
    """
    from evalica import Winner
    from evalica import bradley_terry as fit

    if len(models) == 1:
        return np.array([MEAN_RATING])
    _require_connected(models, wins)
    smooth = _with_half_ties(wins)
    firsts, seconds = np.nonzero(smooth)
    limit = 100_000
    result = fit(
        xs=firsts.tolist(),
        ys=seconds.tolist(),
        winners=[Winner.X] * len(firsts),
        weights=smooth[firsts, seconds].tolist(),
        tolerance=1e-12,
        limit=limit,
    )
    strengths = result.scores.reindex(range(len(models))).to_numpy(dtype=np.float64)
    if result.iterations >= limit or not np.all(strengths > 0):
        raise ArithmeticError("the Bradley-Terry fit did not converge")
    return on_scale(np.log(strengths))


def rate(
    models: Sequence[str],
    comparisons: Sequence[Comparison],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> tuple[Rating, ...]:
    """Win rates, ratings, intervals and rank ranges, in the order of `models`.

    Questions are what varies, not comparisons: verdicts on one question hang together, and
    counting them as independent makes intervals too small. Win rates resample questions, with two
    made-up ones for each pair (`resampled_wins`). Ratings leave each question out in turn
    (`strengths.jackknife`); their intervals stand around a bias-reduced fit and hold the rating,
    which half ties draw towards the middle where a pair has few games. A model is surely better
    than another when the interval of the difference of their ratings excludes 0; ranges that share
    a place are a tie as far as the questions can tell.

    Sources: those of `strengths.jackknife`; B. Efron and R. Tibshirani, An Introduction to the
    Bootstrap (1993), chapter 13, and `_tails`; D. Bonett and R. Price, Journal of Educational and
    Behavioral Statistics 37 (2012), for the made-up pair of win rates.

    Raises:
        ValueError: no comparisons, or one that `win_counts` refuses.
        DisconnectedError: groups of models that never met.
    """
    if not comparisons:
        raise ValueError("ratings need one comparison at least")
    wins = win_counts(models, comparisons)
    ratings = bradley_terry(models, wins)
    rates = win_rates(wins)

    questions = _question_wins(models, comparisons)  # [n, m, m]
    centre, covariance = jackknife(questions, ratings)
    # n questions know their own spread only so well.
    factor = float(stdtrit(max(len(questions) - 1, 1), 0.5 + level / 2))
    half = factor * np.sqrt(np.diag(covariance))
    ranks = _rank_ranges(centre, factor * np.sqrt(gap_variances(covariance).clip(min=0)))
    drawn_rates = win_rates(resampled_wins(models, comparisons, seed, resamples))  # [r, m]
    rate_low, rate_high = np.nanquantile(drawn_rates, _tails(level, comparisons), axis=0)
    played = (wins + wins.T).sum(axis=1)
    return tuple(
        Rating(
            model=model,
            win_rate=float(rates[i]),
            win_rate_ci=_holding(rates[i], rate_low[i], rate_high[i]),
            rating=float(ratings[i]),
            rating_ci=_holding(ratings[i], centre[i] - half[i], centre[i] + half[i]),
            rank=ranks[i],
            comparisons=round(played[i]),
        )
        for i, model in enumerate(models)
    )


def win_rate_intervals(
    models: Sequence[str],
    comparisons: Sequence[Comparison],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> list[tuple[float, Interval] | None]:
    """Each model's win rate with its interval, as in `rate`; None for one without comparisons.

    Unlike ratings they need no connected league.
    """
    if not comparisons:
        return [None] * len(models)
    rates = win_rates(win_counts(models, comparisons))
    drawn = win_rates(resampled_wins(models, comparisons, seed, resamples))  # [r, m]
    tails = _tails(level, comparisons)
    found: list[tuple[float, Interval] | None] = []
    for i, value in enumerate(rates):
        if math.isnan(value):
            found.append(None)
            continue
        low, high = np.nanquantile(drawn[:, i], tails)
        found.append((float(value), _holding(value, low, high)))
    return found


def resampled_wins(
    models: Sequence[str], comparisons: Sequence[Comparison], seed: int, resamples: int = RESAMPLES
) -> Counts:
    """Win counts of resampled questions, the two made-up ones of each pair included. [r, m, m]"""
    place = {model: i for i, model in enumerate(models)}
    question = {q: k for k, q in enumerate(dict.fromkeys(c.question for c in comparisons))}
    pairs = sorted({_pair(c, place) for c in comparisons})
    column = {pair: k for k, pair in enumerate(pairs)}
    table = np.zeros((len(question), len(pairs), 2))  # wins of the pair's first and second
    for one in comparisons:
        i, j = place[one.a], place[one.b]
        score = one.score if i < j else 1 - one.score
        row = table[question[one.question], column[_pair(one, place)]]
        row[0] += score
        row[1] += 1 - score

    rng = np.random.default_rng(seed)
    n = len(question)
    chances = np.full(n, 1 / n)
    weights = rng.multinomial(n, chances, size=resamples).astype(np.float64)  # [r, n]
    real = (weights @ table.reshape(n, -1)).reshape(resamples, len(pairs), 2)
    # A pair's n questions and its two made-up ones are drawn n times. The made-up ones of a model
    # that met one other count as much as a real question does; one that met many has them from
    # all its pairs together, else leagues with few games a pair are drawn towards their middle.
    degree = np.bincount(np.array(pairs).ravel(), minlength=len(models))
    others = np.array([min(degree[i], degree[j]) for i, j in pairs])  # [pairs]
    asked = (table.sum(axis=2) > 0).sum(axis=0)  # [pairs]
    per_question = table.sum(axis=(0, 2)) / asked
    made_up = rng.multinomial(
        np.broadcast_to(asked, (resamples, len(pairs))),
        np.stack([asked, np.ones_like(asked), np.ones_like(asked)], axis=-1) / (asked + 2)[:, None],
    )  # [r, pairs, 3]: real ones, a's, b's
    share = made_up[..., :1] / asked[:, None]
    counts = real * share + made_up[..., 1:] * (per_question / others)[:, None]
    wins = np.zeros((resamples, len(models), len(models)))
    for k, (i, j) in enumerate(pairs):
        wins[:, i, j], wins[:, j, i] = counts[:, k, 0], counts[:, k, 1]
    return wins


def _check(one: Comparison, place: dict[str, int]) -> None:
    if one.a not in place or one.b not in place or one.a == one.b:
        raise ValueError(f"no comparison of two of the models: {one.a!r} against {one.b!r}")
    if not 0 <= one.score <= 1:
        raise ValueError(f"{one.score} is no share of a win")


def _pair(one: Comparison, place: dict[str, int]) -> tuple[int, int]:
    i, j = place[one.a], place[one.b]
    return min(i, j), max(i, j)


def _with_half_ties(wins: Counts) -> Counts:
    return wins + HALF_TIE * (wins + wins.T > 0)


def _question_wins(models: Sequence[str], comparisons: Sequence[Comparison]) -> Counts:
    """Each question's wins. [questions, m, m]"""
    by_question: dict[Hashable, list[Comparison]] = {}
    for one in comparisons:
        by_question.setdefault(one.question, []).append(one)
    return np.stack([win_counts(models, its) for its in by_question.values()])


def _require_connected(models: Sequence[str], wins: Counts) -> None:
    count, group = connected_components(coo_array(wins + wins.T), directed=False)
    if count > 1:
        members = [[m for m, g in zip(models, group, strict=True) if g == k] for k in range(count)]
        raise DisconnectedError(members)


def _rank_ranges(ratings: NDArray[np.float64], sure: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Places (best, worst) from ratings [m] and the gaps from which a difference is sure [m, m]."""
    m = len(ratings)
    better = (ratings[:, None] - ratings[None, :] > sure) & ~np.eye(m, dtype=bool)
    return [(1 + int(better[:, i].sum()), m - int(better[i].sum())) for i in range(m)]


def _tails(level: float, comparisons: Sequence[Comparison]) -> list[float]:
    """The two quantiles of an expanded percentile interval.

    Resamples of n questions vary less than n questions do, by (n - 1) / n, and n questions know
    their own spread only so well: plain percentiles of 80 questions cover 94 % instead of 95.

    Source: T. Hesterberg, What teachers should know about the bootstrap, The American Statistician
    69 (2015).
    """
    n = max(len({one.question for one in comparisons}), 2)
    low = float(ndtr(-stdtrit(n - 1, 0.5 + level / 2) * math.sqrt(n / (n - 1))))
    return [low, 1 - low]


def _holding(value: float, low: float, high: float) -> Interval:
    return min(float(low), float(value)), max(float(high), float(value))
