"""Which of several paired differences are drops, without alarming more often than a fixed rate.

Pure functions: arrays in, arrays out, over any leading axes (simulations use one). Knows numpy and
scipy; knows nothing of tasks, models or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from evalsuite.stats.paired import Floats, PairedMeans

MEAN_LEVEL = 0.01  # chance of a false alarm that the mean over tasks may take
TASKS_LEVEL = 0.04  # and that which all tasks together may take
BOUND_LEVEL = 0.05  # one-sided, of the bound that "no drop beyond the margin" rests on
POWER = 0.8  # of the smallest visible drop


@dataclass(frozen=True, slots=True)
class Regression:
    """What a family of m tasks shows: fields of shape [..., m], those of the mean over them [...].

    `lower` is the one-sided 95 % bound of the difference. `visible` is the smallest drop that would
    have been found in 80 % of such runs. `dropped` says that a drop is certain, `within` that it is
    smaller than the margin for certain, and both may hold: `regressed` is the first without the
    second.
    """

    p_adjusted: Floats
    lower: Floats
    visible: Floats
    dropped: NDArray[np.bool_]
    within: NDArray[np.bool_]
    mean: Floats
    mean_stderr: Floats
    mean_p: Floats
    mean_lower: Floats
    mean_visible: Floats
    mean_dropped: NDArray[np.bool_]
    mean_within: NDArray[np.bool_]

    @property
    def regressed(self) -> NDArray[np.bool_]:
        return self.dropped & ~self.within

    @property
    def mean_regressed(self) -> NDArray[np.bool_]:
        return self.mean_dropped & ~self.mean_within


def find_regressions(
    pairs: PairedMeans,
    margins: ArrayLike,
    *,
    in_mean: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    families: int = 1,
) -> Regression:
    """Tests m paired differences (fields of `pairs`: [..., m]) and their mean for a drop.

    1 % for the mean, 4 % for the tasks by Holm: together at most 5 % of the comparisons without any
    change alarm. `margins` [m] are drops that are tolerated, nan where no margin applies; the mean
    is held to the smallest. `in_mean` [m] says which differences the mean is over, `weights` [m]
    how Holm divides the 4 % (equally by default). With several `families` (models) each gets its
    share of both levels.

    Raises:
        ValueError: no tasks, or no family.
    """
    mean = np.asarray(pairs.mean)
    m = mean.shape[-1] if mean.ndim else 0
    if m == 0 or families < 1:
        raise ValueError("a test for regressions needs one task and one family at least")
    margins = np.broadcast_to(np.asarray(margins, np.float64), (m,))
    share = np.ones(m) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    adjusted = holm(pairs.p_drop, share)
    with np.errstate(invalid="ignore"):
        lower = mean - special.stdtrit(pairs.df, 1 - BOUND_LEVEL) * pairs.careful
        within = lower > -margins
    visible = smallest_visible(pairs.careful, pairs.df, share * TASKS_LEVEL / families)

    which = np.ones(m, bool) if in_mean is None else np.asarray(in_mean, bool)
    k = int(which.sum())
    if k:
        parts = np.broadcast_to(pairs.careful, mean.shape)[..., which] ** 2
        dfs = np.broadcast_to(pairs.df, mean.shape)[..., which]
        whole = mean[..., which].mean(-1)
        stderr = np.sqrt(parts.sum(-1)) / k
        with np.errstate(invalid="ignore"):
            # Welch and Satterthwaite's degrees of freedom of a sum.
            df = np.nan_to_num(parts.sum(-1) ** 2 / (parts**2 / dfs).sum(-1), nan=1.0)
        p = special.stdtr(df, whole / stderr)
        mean_lower = whole - special.stdtrit(df, 1 - BOUND_LEVEL) * stderr
        margin = np.nanmin(margins[which]) if np.isfinite(margins[which]).any() else np.nan
        mean_visible = smallest_visible(stderr, df, MEAN_LEVEL / families)
    else:
        whole = stderr = p = mean_lower = mean_visible = np.full(mean.shape[:-1], np.nan)
        margin = np.nan
    return Regression(
        p_adjusted=adjusted,
        lower=lower,
        visible=visible,
        dropped=adjusted <= TASKS_LEVEL / families,
        within=within,
        mean=whole,
        mean_stderr=stderr,
        mean_p=p,
        mean_lower=mean_lower,
        mean_visible=mean_visible,
        mean_dropped=np.asarray(p <= MEAN_LEVEL / families),
        mean_within=np.asarray(mean_lower > -margin),
    )


def holm(p: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Holm's adjusted p values over the last axis: [..., m] in and out; weighted on request.

    Rejecting where the adjusted value is at most a level keeps the chance of any false rejection
    in the family at that level, however the tests depend on each other.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6 (1979), with its weighted form.
    """
    values = np.asarray(p, dtype=np.float64)
    share = np.broadcast_to(
        np.ones(values.shape[-1]) if weights is None else np.asarray(weights, np.float64),
        values.shape,
    )
    scaled = values / share
    order = np.argsort(scaled, axis=-1, kind="stable")
    sorted_share = np.take_along_axis(share, order, -1)
    # The weight that is left when the tests before have been rejected.
    left = np.cumsum(sorted_share[..., ::-1], axis=-1)[..., ::-1]
    steps = np.maximum.accumulate(np.take_along_axis(scaled, order, -1) * left, axis=-1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(steps, 1.0), -1)
    return adjusted


def smallest_visible(stderr: ArrayLike, df: ArrayLike, level: ArrayLike) -> Floats:
    """The minimum detectable drop of a one-sided t test at `level`, found with a power of 80 %.

    Source: H. Bloom, Minimum detectable effects, Evaluation Review 19 (1995).
    """
    df = np.asarray(df, np.float64)
    reach = special.stdtrit(df, 1 - np.asarray(level, np.float64)) + special.stdtrit(df, POWER)
    return np.asarray(reach * np.asarray(stderr, np.float64))
