"""Length-controlled win rates: what a judge would say were both answers equally long.

A logistic model of the preference with terms for the model, the difference of lengths and the
difficulty of the instruction; the rate is its mean with the length term at zero. Pure functions on
arrays; knows numpy and scipy, no games and no files. What can't be computed is refused by reason.

Source: Y. Dubois, B. Galambosi, P. Liang and T. Hashimoto, Length-controlled AlpacaEval: a simple
way to debias automatic evaluators, arXiv:2404.04475 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from evalsuite.stats.intervals import Interval, level_quantile
from evalsuite.stats.strengths import HALF_TIE

Array = NDArray[np.float64]

# Difficulties are fixed effects; so weak a ridge (a prior of standard deviation 10 on the logit
# scale) does nothing but keep an instruction finite that every model won or lost.
_DIFFICULTY_RIDGE = 0.01
# With few models an instruction's few verdicts don't tell its difficulty.
MODELS_FOR_DIFFICULTY = 8
# Fewer models can't tell how much the taste for length differs between them: no pooling then, but
# a prior of this standard deviation on the slope, for judges whose every verdict follows length.
_MODELS_FOR_POOLING = 3
SLOPE_SD = 10.0
# Slopes that look equal may still differ by a tenth; expectation-maximisation creeps towards zero.
_LEAST_VARIANCE = 0.01
_SHARED_AT_LEAST = 0.9  # of all instructions must have a verdict for each model
LONGEST_STEP = 1.0  # on the logit scale; far from the maximum a full Newton step overshoots


class UncontrolledError(ValueError):
    """Length can't be controlled for; the message is the reason, in words for a report."""


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A model's win rate at equal lengths with its 95 % interval.

    `slope` is what the tanh of one standard deviation's difference in length adds to the log odds.
    """

    model: str
    win_rate: float
    ci: Interval
    slope: float


def against_baseline(
    models: Sequence[str],
    preferences: Array,
    differences: Array,
    *,
    difficulties: Array | None = None,
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
) -> tuple[LengthControlled, ...]:
    """Length-controlled win rates of models that all met one baseline on the same instructions.

    `preferences` [models, n] are between 0 (the baseline won) and 1, nan without a verdict;
    `differences` [models, n] are the model's length less the baseline's. `difficulties` [n] are on
    the logit scale; without them they are estimated in a first fit, as the paper does, in which
    all models share one slope (from 8 models on; with fewer there is no such term). Each model's
    slope is then drawn towards the mean of all, as far as they are alike (an empirical-Bayes
    prior). `clusters` [n] name instructions that hang together, as turns of one question do.

    Intervals are cluster-robust, on the logit scale, with two made-up instructions, one won and
    one lost, as in `ratings.rate`; they take difficulties as known.

    Raises:
        UncontrolledError: a length that is not a number, lengths that differ by the same on every
            instruction, or models that were judged on different instructions.
        ValueError: arrays of other shapes, or a preference outside 0..1.
    """
    judged = _checked(models, preferences, differences)
    y = np.where(judged, preferences, 0.0)
    length = _standardised(models, judged, differences)  # [m, n]
    n = preferences.shape[1]
    if difficulties is not None:
        if difficulties.shape != (n,) or not np.isfinite(difficulties).all():
            raise ValueError("difficulties are one finite number an instruction")
        difficulty = np.asarray(difficulties, dtype=np.float64)
    elif len(models) >= MODELS_FOR_DIFFICULTY:
        difficulty = _difficulties(judged, y, length)
    else:
        difficulty = np.zeros(n)
    skill, slope, prior = _pooled_fit(judged, y, length, difficulty)
    groups = numbered(clusters if clusters is not None else range(n))
    return tuple(
        _at_equal_length(
            model,
            (skill[k], slope[k]),
            (y[k, judged[k]], length[k, judged[k]], groups[judged[k]]),
            (difficulty, difficulty[judged[k]], groups),
            prior,
            level,
        )
        for k, model in enumerate(models)
    )


def predicted_rates(skill: Array, weight: Array, difficulties: Array) -> Array:
    """Rates of published models of this kind: mean of sigmoid(skill + weight * difficulty). [m]"""
    return np.asarray(expit(skill[:, None] + weight[:, None] * difficulties).mean(axis=1))


# ---- checks -------------------------------------------------------------------------------------


def _checked(models: Sequence[str], preferences: Array, differences: Array) -> NDArray[np.bool_]:
    """Which have a verdict, [m, n]."""
    if preferences.ndim != 2 or preferences.shape != differences.shape:
        raise ValueError("preferences and differences have one row a model, one column each")
    if len(models) != len(preferences) or not len(models):
        raise ValueError("there is one row of preferences a model, one at least")
    judged = ~np.isnan(preferences)
    if ((preferences[judged] < 0) | (preferences[judged] > 1)).any():
        raise ValueError("a preference lies between 0 and 1")
    asked = judged.any(axis=0)
    if not asked.any():
        raise UncontrolledError("no verdict at all")
    for model, its in zip(models, judged[:, asked].mean(axis=1), strict=True):
        if its < _SHARED_AT_LEAST:
            raise UncontrolledError(
                f"{model} has verdicts on {100 * its:.0f} % of the instructions only, so the "
                "models were judged on different ones"
            )
    require_lengths(differences[judged])
    return judged


def require_lengths(differences: Array) -> None:
    """Raises UncontrolledError when a length is not a number."""
    if not np.isfinite(differences).all():
        raise UncontrolledError("the length of some judged answer is not known")


def _standardised(models: Sequence[str], judged: NDArray[np.bool_], differences: Array) -> Array:
    """tanh of the difference in the model's own standard deviations; 0 without a verdict. [m, n]

    It is not centred: zero has to stay equal length.
    """
    found = np.zeros_like(differences)
    for k, model in enumerate(models):
        its = differences[k, judged[k]]
        if np.ptp(its) == 0:
            raise UncontrolledError(
                f"the answers of {model} differ from the baseline's by the same length on every "
                "instruction, so length and quality can't be told apart"
            )
        found[k, judged[k]] = np.tanh(its / its.std(ddof=1))
    return found


# ---- fits ---------------------------------------------------------------------------------------


def _difficulties(judged: NDArray[np.bool_], y: Array, length: Array) -> Array:
    """Each instruction's effect on the log odds of every model, with mean zero. [n]

    One Newton step for skills, the shared slope and difficulties in turn, until none moves.
    """
    skill, slope, difficulty = np.zeros(len(y)), 0.0, np.zeros(y.shape[1])
    for _ in range(2000):
        before = np.concatenate([skill, [slope], difficulty])
        error, spread = _residuals(judged, y, skill[:, None] + slope * length + difficulty)
        skill = skill + _bounded(error.sum(1) / spread.sum(1))
        error, spread = _residuals(judged, y, skill[:, None] + slope * length + difficulty)
        slope += float(_bounded((error * length).sum() / (spread * length**2).sum()))
        error, spread = _residuals(judged, y, skill[:, None] + slope * length + difficulty)
        step = error.sum(0) - _DIFFICULTY_RIDGE * difficulty
        difficulty = difficulty + _bounded(step / (spread.sum(0) + _DIFFICULTY_RIDGE))
        difficulty -= difficulty.mean()
        if np.abs(np.concatenate([skill, [slope], difficulty]) - before).max() < 1e-5:
            return difficulty
    raise ArithmeticError("the fit of the instructions' difficulties did not converge")


def _pooled_fit(
    judged: NDArray[np.bool_], y: Array, length: Array, difficulty: Array
) -> tuple[Array, Array, float]:
    """Skills, slopes [m] and the precision of the slopes' prior, by expectation-maximisation."""
    m = len(y)
    pooled = m >= _MODELS_FOR_POOLING
    skill, slope = np.zeros(m), np.zeros(m)
    centre, variance = 0.0, 1.0 if pooled else SLOPE_SD**2
    for _ in range(2000):
        before = np.concatenate([skill, slope, [centre, np.log(variance)]])
        error, spread = _residuals(judged, y, skill[:, None] + slope[:, None] * length + difficulty)
        even = expit(skill)  # the half tie, at equal length and mean difficulty
        g_skill = error.sum(1) + HALF_TIE * (1 - 2 * even)
        g_slope = (error * length).sum(1) - (slope - centre) / variance
        h_skill = spread.sum(1) + 2 * HALF_TIE * even * (1 - even)
        h_both = (spread * length).sum(1)
        h_slope = (spread * length**2).sum(1) + 1 / variance
        determinant = h_skill * h_slope - h_both**2
        skill = skill + _bounded((h_slope * g_skill - h_both * g_slope) / determinant)
        slope = slope + _bounded((h_skill * g_slope - h_both * g_skill) / determinant)
        if pooled:
            centre = float(slope.mean())
            spread_of_slopes = (slope - centre) ** 2 + h_skill / determinant
            variance = max(float(spread_of_slopes.mean()), _LEAST_VARIANCE)
        if np.abs(np.concatenate([skill, slope, [centre, np.log(variance)]]) - before).max() < 1e-6:
            return skill, slope, 1 / variance
    raise ArithmeticError("the length-controlled fit did not converge")


def _residuals(judged: NDArray[np.bool_], y: Array, logits: Array) -> tuple[Array, Array]:
    chance = expit(logits)
    return np.where(judged, y - chance, 0.0), np.where(judged, chance * (1 - chance), 0.0)


def _bounded(step: Array | float) -> Array:
    return np.clip(step, -LONGEST_STEP, LONGEST_STEP)


# ---- intervals ----------------------------------------------------------------------------------


def _at_equal_length(
    model: str,
    fitted: tuple[float, float],
    judged: tuple[Array, Array, NDArray[np.intp]],
    difficulties: tuple[Array, Array, NDArray[np.intp]],
    prior: float,
    level: float,
) -> LengthControlled:
    """The rate over all instructions, and its interval from the influence of each cluster.

    `judged` are the preferences, lengths and clusters where there is a verdict; `difficulties`
    are those of all instructions, of the judged ones, and the clusters of all.
    """
    skill, slope = fitted
    y, length, groups = judged
    difficulty, its_difficulty, all_groups = difficulties
    at_equal = expit(skill + difficulty)
    rate = float(at_equal.mean())
    chance = expit(skill + slope * length + its_difficulty)
    design = np.stack([np.ones_like(length), length], axis=1)
    even = expit(skill)
    information = (design * (chance * (1 - chance))[:, None]).T @ design
    information += np.diag([2 * HALF_TIE * even * (1 - even), prior])
    gradient = np.array([float((at_equal * (1 - at_equal)).mean()), 0.0])
    toward = np.linalg.solve(information, gradient)
    count = int(all_groups.max()) + 1
    # How each cluster moves the fit, and how its instructions move the mean over instructions.
    influence = np.bincount(groups, (design * (y - chance)[:, None]) @ toward, count)
    influence += np.bincount(all_groups, (at_equal - rate) / len(at_equal), count)
    made_up = toward[0] * np.array([1 - even, -even])
    error = np.sqrt((influence**2).sum() * count / max(count - 1, 1) + (made_up**2).sum())
    return LengthControlled(model, rate, on_logit_scale(rate, float(error), level), float(slope))


def on_logit_scale(rate: float, error: float, level: float) -> Interval:
    """The interval of a rate with this standard error that can't leave 0..1."""
    logit = np.log(rate / (1 - rate))
    half = level_quantile(level) * error / (rate * (1 - rate))
    return float(expit(logit - half)), float(expit(logit + half))


def numbered(names: Sequence[object]) -> NDArray[np.intp]:
    """Names as numbers, in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)
