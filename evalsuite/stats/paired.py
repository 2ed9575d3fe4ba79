"""Paired differences of two measurements of the same items, and the chance that there is no drop.

Pure functions: arrays in, arrays out. Knows numpy and scipy; nothing of tasks, models or runs.
Differences are run minus baseline, so a drop is below 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

# With fewer items that changed than this, t is a poor approximation: McNemar's exact test then.
EXACT_BELOW = 50


@dataclass(frozen=True, slots=True)
class PairedMeans:
    """Mean differences, each field an array of one shape: one entry a task, or a run and a task.

    `stderr` is the usual (with clusters: cluster-robust) standard error. `careful` is that of the
    same items and two more that changed, one for the better and one for the worse: it doesn't
    vanish when nothing changed, so bounds made of it don't claim more than n items can say.
    `df` are degrees of freedom, `p_drop` the one-sided p value against "no drop".
    """

    mean: Floats
    stderr: Floats
    careful: Floats
    df: Floats
    p_drop: Floats

    @classmethod
    def stack(cls, parts: list[PairedMeans]) -> PairedMeans:
        """Several single ones as one of shape [len(parts)]."""
        return cls(
            *(
                np.array([float(getattr(part, name)) for part in parts])
                for name in ("mean", "stderr", "careful", "df", "p_drop")
            )
        )


def paired_difference(differences: ArrayLike, clusters: ArrayLike | None = None) -> PairedMeans:
    """The mean of one sample of differences [n]; `clusters` [n] names each item's group.

    Items of one cluster may depend on each other (questions on one passage). Their differences are
    summed before they are squared: the cluster-robust error with the G / (G - 1) correction, and
    G - 1 degrees of freedom. Differences that are all -1, 0 or 1, without clusters and with fewer
    than EXACT_BELOW changes, are tested by McNemar's mid-p; few changes otherwise by t with the
    careful error.

    Sources: K.-Y. Liang and S. Zeger, Longitudinal data analysis using generalized linear models,
    Biometrika 73 (1986); D. Bonett and R. Price, Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data, Journal of Educational and Behavioral Statistics
    37 (2012), for the two more items.

    Raises:
        ValueError: no items, one that is not finite, or not one cluster for each.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("a paired difference needs a flat sample of finite numbers, one at least")
    worse, better = float((values == -1).sum()), float((values == 1).sum())
    changed = float((values != 0).sum())
    n = values.size
    mean = values.mean()
    residuals = values - mean
    if clusters is not None:
        groups = np.unique(np.asarray(clusters), return_inverse=True)[1].ravel()
        if groups.size != n:
            raise ValueError(f"{groups.size} clusters for {n} items")
        residuals = np.bincount(groups, weights=residuals)
    count = residuals.size
    squares = float((residuals**2).sum())
    stderr = np.sqrt(squares * count / max(count - 1, 1)) / n
    careful = np.sqrt((squares + 2) * (count + 2) / (count + 1)) / (n + 2)
    few = changed < EXACT_BELOW
    if few and count == n and changed == worse + better:
        p_drop = mcnemar_midp(better, worse)
    else:
        p_drop = _p_drop(mean, careful if few else stderr, max(count - 1, 1))
    # With a single cluster nothing is known of how clusters differ.
    df = float(max(count - 1, 1))
    if count == 1:
        stderr = careful = np.inf
        p_drop = np.float64(0.5)
    return PairedMeans(*(np.asarray(x, np.float64) for x in (mean, stderr, careful, df, p_drop)))


def paired_counts(n: ArrayLike, better: ArrayLike, worse: ArrayLike) -> PairedMeans:
    """paired_difference for items that are right or wrong, out of counts; any one shape.

    `better` items are right in the run only, `worse` ones in the baseline only, of `n`.

    Raises:
        ValueError: fewer than two items, or more changes than items.
    """
    n, better, worse = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (n, better, worse)))
    if (n < 2).any() or (better < 0).any() or (worse < 0).any() or (better + worse > n).any():
        raise ValueError("counts need two items at least, and no more changes than items")
    mean = (better - worse) / n
    squares = better + worse - n * mean**2
    stderr = np.sqrt(squares / (n * (n - 1)))
    careful = np.sqrt((squares + 2) * (n + 2) / (n + 1)) / (n + 2)
    few = better + worse < EXACT_BELOW
    p_drop = np.where(few, mcnemar_midp(better, worse), _p_drop(mean, stderr, n - 1))
    return PairedMeans(mean, stderr, careful, n - 1, p_drop)


def mcnemar_midp(better: ArrayLike, worse: ArrayLike) -> Any:
    """One-sided mid-p value that `worse` outweighs `better` by chance: counts, any one shape.

    Without a change each item that differs is as likely worse as better. The mid-p counts what was
    seen half: the exact test without it is far too careful with few changes.

    Source: M. Fagerland, S. Lydersen and P. Laake, The McNemar test for binary matched-pairs data:
    mid-p and asymptotic are better than exact conditional, BMC Medical Research Methodology 13
    (2013).
    """
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    both = better + worse
    # P(more) and P(as many or more), halfway. scipy.stats says the same ten times slower.
    return (special.bdtrc(worse, both, 0.5) + special.bdtrc(worse - 1, both, 0.5)) / 2


def _p_drop(mean: Any, stderr: Any, df: Any) -> Any:
    """P(T <= mean / stderr); without any spread 0, 0.5 or 1 by the sign of the mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(stderr > 0, mean / stderr, np.where(mean == 0, 0.0, np.sign(mean) * np.inf))
    return special.stdtr(df, t)


@dataclass(frozen=True, slots=True)
class TwoSided:
    """Differences with their intervals and two-sided p values; fields of one shape."""

    mean: Floats
    low: Floats
    high: Floats
    p: Floats


def two_sided(means: PairedMeans, level: float = 0.95) -> TwoSided:
    """What paired differences say when neither side was expected to be the better one.

    Intervals are mean ± t * the careful error, or the usual one where that is larger (differences
    beyond 1); a p value is twice that of the likelier direction. With a single cluster nothing is
    known, and the interval is infinite.
    """
    error = np.maximum(means.careful, means.stderr)
    half = special.stdtrit(means.df, 0.5 + level / 2) * error
    p = 2 * np.minimum(means.p_drop, 1 - means.p_drop)
    return TwoSided(means.mean, means.mean - half, means.mean + half, np.asarray(p))


def weighted_sum(means: PairedMeans, weights: ArrayLike) -> PairedMeans:
    """The weighted sum of independent differences [..., m] over their last axis.

    Its degrees of freedom are Welch and Satterthwaite's. Its p value is t's with the careful error:
    the sum of tests that are exact each has no exact test of its own.
    """
    share = np.asarray(weights, np.float64)
    mean = (means.mean * share).sum(-1)
    variances = (means.stderr * share) ** 2
    parts = (np.maximum(means.careful, means.stderr) * share) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.nan_to_num(parts.sum(-1) ** 2 / (parts**2 / means.df).sum(-1), nan=1.0)
        careful = np.sqrt(parts.sum(-1))
        p_drop = np.where(np.isfinite(careful), special.stdtr(df, mean / careful), 0.5)
    return PairedMeans(mean, np.sqrt(variances.sum(-1)), careful, df, np.asarray(p_drop))
