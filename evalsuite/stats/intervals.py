"""Intervals: how far a measured mean may be from the true one.

Pure functions: numbers and arrays in, numbers out. Knows numpy and scipy; knows nothing of tasks,
models or files. Every random draw comes from a seed that the caller names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Interval = tuple[float, float]

RESAMPLES = 2000  # the Monte Carlo error of a 95 % bound is then about 3 % of the interval's width
_CELLS = 4_000_000  # most numbers held at once while resampling (32 MB)


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share of `successes` out of `n`.

    It keeps its coverage near 0 and 1, where value ± 2 standard errors leaves the scale or shrinks
    to a point. `successes` may be a fraction: the variance of numbers in 0..1 with mean p is at
    most p(1 - p), so the interval of the same share is then a careful one.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927).

    Raises:
        ValueError: no items, or more successes than items.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a share")
    z = level_quantile(level)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends of the scale the formula gives exactly 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def normal(value: float, stderr: float, level: float = 0.95) -> Interval:
    """value ± z standard errors: for metrics of which only a standard error is known.

    Raises:
        ValueError: a standard error that is negative or not a number.
    """
    if not stderr >= 0:
        raise ValueError(f"{stderr} is not a standard error")
    z = level_quantile(level)
    return value - z * stderr, value + z * stderr


def bootstrap_mean(
    items: ArrayLike,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    *,
    share: bool = False,
) -> Interval:
    """BCa bootstrap interval for the mean of `items` (shape [n]).

    Bias corrected and accelerated: the two quantiles move with the skew of the sample, so that a
    mean of mostly zeros with a few large numbers is covered from both sides. For a mean the
    acceleration is known in closed form, skewness / (6 sqrt(n)).

    A constant sample has nothing to resample. Its interval is the point itself, except with
    `share=True` (items between 0 and 1), where it is Wilson's for that share: a hundred items
    that all scored 0.5 don't prove that the next one will.

    Source: B. Efron, Better bootstrap confidence intervals, Journal of the American Statistical
    Association 82 (1987).

    Raises:
        ValueError: no items, an item that is not finite, or with `share` one outside 0..1.
    """
    values = np.asarray(items, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("a bootstrap needs a flat sample of finite numbers, one at least")
    if share and (values.min() < 0 or values.max() > 1):
        raise ValueError("items of a share lie between 0 and 1")
    n = values.size
    mean = float(values.mean())
    if values.min() == values.max():
        return wilson(float(values[0]) * n, n, level) if share else (mean, mean)

    means = _resampled_means(values, np.random.default_rng(seed), resamples)
    # Half of those that are equal: with few distinct values many resamples hit the mean itself.
    below = (np.count_nonzero(means < mean) + 0.5 * np.count_nonzero(means == mean)) / resamples
    bias = float(ndtri(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples)))
    centred = values - mean
    acceleration = float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))
    tails = np.array([-level_quantile(level), level_quantile(level)]) + bias
    quantiles = ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(means, quantiles)
    return float(low), float(high)


def mean_of_estimates(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval for the mean of independent estimates, out of their own intervals.

    The distances from each value to its bounds are added in squares, below and above apart, so a
    mean over tasks keeps what Wilson's interval knows of each: a task with every answer right
    still adds the doubt that its few items leave, where a bootstrap would see none. With one
    estimate it is that estimate's interval.

    Source: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures: a
    general approach, Statistics in Medicine 27 (2008).

    Raises:
        ValueError: no estimates, or not one interval for each.
    """
    if not values or len(values) != len(intervals):
        raise ValueError("a mean of estimates needs one interval for each value, one at least")
    centre = math.fsum(values) / len(values)
    below = math.hypot(*(v - low for v, (low, _) in zip(values, intervals, strict=True)))
    above = math.hypot(*(high - v for v, (_, high) in zip(values, intervals, strict=True)))
    return centre - below / len(values), centre + above / len(values)


def level_quantile(level: float) -> float:
    """How many standard errors a normal interval of this level reaches to either side."""
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not {level}")
    return float(ndtri(0.5 + level / 2))


def _resampled_means(
    values: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    n = values.size
    means = np.empty(resamples)
    step = max(1, _CELLS // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = rng.integers(0, n, size=(rows, n), dtype=np.int32)
        means[start : start + rows] = values[picks].mean(axis=1)
    return means
