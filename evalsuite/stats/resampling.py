"""Paired comparisons over the same questions: differences of means, ratios of sums, their errors.

Pure functions on arrays; questions are resampled, not verdicts. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats.intervals import RESAMPLES, Interval


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """A value with its 95 % interval over `n` questions (or other clusters)."""

    value: float
    ci: Interval
    n: int


def mean_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> PairedEstimate:
    """Mean of a - b over paired items, with a percentile interval over resampled clusters.

    Raises:
        ValueError: samples that are empty, not finite, or not paired.
    """
    sums, counts = _clustered(np.stack(_pairs(a, b), axis=1), clusters)
    drawn = _drawn(sums, counts, seed, resamples)
    return _estimate(
        float((sums[:, 0] - sums[:, 1]).sum() / counts.sum()),
        (drawn[:, 0] - drawn[:, 1]) / drawn[:, 2],
        len(counts),
        level,
    )


def ratio_of_sums(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> PairedEstimate | None:
    """Sum of a over sum of b, with a percentile interval over resampled clusters.

    None when a sum of b, the whole one or a resampled one, is not above zero: a ratio to nothing
    has no value.

    Raises:
        ValueError: samples that are empty, not finite, or not paired.
    """
    sums, counts = _clustered(np.stack(_pairs(a, b), axis=1), clusters)
    drawn = _drawn(sums, counts, seed, resamples)
    if sums[:, 1].sum() <= 0 or drawn[:, 1].min() <= 0:
        return None
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    return _estimate(value, drawn[:, 0] / drawn[:, 1], len(counts), level)


def standard_error(values: ArrayLike, clusters: Sequence[Hashable] | None = None) -> float | None:
    """Cluster-robust standard error of a mean; with one item a cluster, sd / sqrt(n).

    None for a single cluster.
    """
    flat = np.asarray(values, dtype=np.float64)
    sums, counts = _clustered((flat - flat.mean())[:, None], clusters)
    if len(counts) < 2:
        return None
    scale = len(counts) / (len(counts) - 1)
    return float(np.sqrt(scale * (sums**2).sum()) / flat.size)


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours, theirs = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if ours.ndim != 1 or ours.shape != theirs.shape or not ours.size:
        raise ValueError("paired samples are flat, of one length, and not empty")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("paired samples are finite numbers")
    return ours, theirs


def _clustered(
    rows: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums [clusters, columns] and sizes [clusters]."""
    if clusters is None:
        return rows, np.ones(len(rows))
    if len(clusters) != len(rows):
        raise ValueError("there is one cluster an item")
    number: dict[Hashable, int] = {}
    group = [number.setdefault(name, len(number)) for name in clusters]
    sums = np.zeros((len(number), rows.shape[1]))
    np.add.at(sums, group, rows)
    return sums, np.bincount(group).astype(np.float64)


def _drawn(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int, resamples: int
) -> NDArray[np.float64]:
    """Resampled sums of the columns, and of the sizes. [resamples, columns + 1]"""
    n = len(counts)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.asarray(weights.astype(np.float64) @ np.column_stack([sums, counts]))


def _estimate(value: float, drawn: NDArray[np.float64], n: int, level: float) -> PairedEstimate:
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return PairedEstimate(value, (min(float(low), value), max(float(high), value)), n)
