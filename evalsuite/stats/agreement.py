"""How far two raters agree: raw agreement and Cohen's kappa, with question-clustered intervals.

Pure functions on labels; knows nothing of judges, people or files.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.stats.intervals import RESAMPLES, Interval
from evalsuite.stats.shares import Share, share_of


@dataclass(frozen=True, slots=True)
class Agreement:
    """`raw` is the share of equal labels; `kappa` None where chance alone agrees."""

    raw: Share
    kappa: float | None
    kappa_ci: Interval | None


def agreement(
    ours: Sequence[Hashable],
    theirs: Sequence[Hashable],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Agreement:
    """Raw agreement and Cohen's kappa of two raters' labels of the same items.

    `clusters` name the items that hang together (verdicts on one question); they are resampled
    whole for kappa's percentile interval. Resamples in which kappa has no value are left out.

    Source: J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20 (1960).

    Raises:
        ValueError: no items, or not one label each.
    """
    n = len(ours)
    if not n or len(theirs) != n or (clusters is not None and len(clusters) != n):
        raise ValueError(
            "agreement needs one label of each rater for every item, one item at least"
        )
    raw = share_of([a == b for a, b in zip(ours, theirs, strict=True)], clusters, level)
    place = {label: k for k, label in enumerate(dict.fromkeys([*ours, *theirs]))}
    group = {name: k for k, name in enumerate(dict.fromkeys(clusters or range(n)))}
    tables = np.zeros((len(group), len(place), len(place)))  # one contingency table a cluster
    for item, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        tables[group[clusters[item] if clusters else item], place[a], place[b]] += 1
    kappa = float(_kappa(tables.sum(axis=0)))
    if np.isnan(kappa):
        return Agreement(raw, None, None)
    rng = np.random.default_rng(seed)
    count = len(group)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    drawn = _kappa(np.tensordot(weights.astype(np.float64), tables, axes=1))
    low, high = np.nanquantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Agreement(raw, kappa, (min(float(low), kappa), max(float(high), kappa)))


def _kappa(tables: np.ndarray) -> np.ndarray:
    """Kappa of contingency tables [..., k, k]; nan where chance alone gives full agreement."""
    total = tables.sum(axis=(-2, -1))
    seen = np.trace(tables, axis1=-2, axis2=-1) / total
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)
