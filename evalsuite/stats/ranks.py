"""Rank ranges: which places in the order the data can't tell apart.

Pure functions: arrays in, tuples out. Knows numpy; knows nothing of tasks, models or files. The
same seed and the same arrays give the same ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalsuite.stats.intervals import RESAMPLES

_CELLS = 4_000_000  # most numbers held at once while resampling (32 MB)


@dataclass(frozen=True, slots=True)
class Paired:
    """A stratum whose items all models answered: `scores` has shape [n, models], in 0..1.

    `weight` is the stratum's share in the overall score.
    """

    weight: float
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A stratum of which only each model's value and standard error are known, shape [models]."""

    weight: float
    values: NDArray[np.float64]
    stderrs: NDArray[np.float64]


def rank_ranges(
    strata: Sequence[Paired | Unpaired],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> tuple[tuple[int, int], ...]:
    """The places (best, worst) that each model can have, 1 is first; one pair a model.

    Models answer the same items, and a hard item is hard for all of them. So the items are
    resampled, stratum by stratum, with one draw for all models, and a model is called better than
    another only when the interval of the paired difference in overall score excludes 0. A model's
    range goes from 1 + (models surely better) to models - (models surely worse): its width is the
    number of models that it can't be told from. Each pair is judged at `level` by itself, without
    a correction for the number of pairs.

    Each paired stratum gets two made-up items, one that only the first of a pair has right and one
    that only the second has, so that three right answers against three wrong ones are not proof.

    Sources: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and
    13; D. Bonett and R. Price, Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, Journal of Educational and Behavioral Statistics 37 (2012),
    for the two items; H. Goldstein and D. Spiegelhalter, League tables and their limitations,
    Journal of the Royal Statistical Society A 159 (1996), for ranks with intervals.

    Raises:
        ValueError: no strata, or strata with different numbers of models.
    """
    widths = {_models(stratum) for stratum in strata}
    if len(widths) != 1:
        raise ValueError("ranks need one stratum at least, each with the same models")
    models = widths.pop()
    overall = np.zeros((resamples, models))
    doubt = np.zeros(resamples)  # the made-up items: the same shift for every pair
    for index, stratum in enumerate(strata):
        rng = np.random.default_rng([seed, index])
        if isinstance(stratum, Paired):
            means, extra = _resample(stratum.scores, rng, resamples)
            overall += stratum.weight * means
            doubt += stratum.weight * extra
        else:
            draws = rng.standard_normal((resamples, models))
            overall += stratum.weight * (stratum.values + draws * stratum.stderrs)

    tails = [0.5 - level / 2, 0.5 + level / 2]
    better = np.zeros((models, models), dtype=bool)  # better[i, j]: i is surely better than j
    for i in range(models - 1):
        others = overall[:, i + 1 :]
        low, high = np.quantile(overall[:, [i]] - others + doubt[:, None], tails, axis=0)
        better[i, i + 1 :] = low > 0
        better[i + 1 :, i] = high < 0
    worse_than = better.sum(axis=0)  # how many are surely better than this one
    better_than = better.sum(axis=1)
    return tuple(
        (1 + int(above), models - int(below))
        for above, below in zip(worse_than, better_than, strict=True)
    )


def _models(stratum: Paired | Unpaired) -> int:
    if isinstance(stratum, Unpaired):
        return len(stratum.values)
    if stratum.scores.ndim != 2 or len(stratum.scores) == 0:
        raise ValueError("a paired stratum has shape [n, models] with one item at least")
    return stratum.scores.shape[1]


def _resample(
    scores: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of resampled items [resamples, models], and the shift of the made-up pair [resamples].

    Items with equal scores are one category of a multinomial draw: the same distribution as
    drawing them one by one, at a cost that no longer grows with n.
    """
    n = len(scores)
    rows, counts = np.unique(scores, axis=0, return_counts=True)  # [k, models], [k]
    chances = np.append(counts, [1, 1]) / (n + 2)
    means = np.empty((resamples, scores.shape[1]))
    extra = np.empty(resamples)
    step = max(1, _CELLS // len(chances))
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = rng.multinomial(n + 2, chances, size=part.stop - part.start)  # [part, k + 2]
        means[part] = drawn[:, :-2] @ rows / (n + 2)
        extra[part] = (drawn[:, -2] - drawn[:, -1]) / (n + 2)
    return means, extra
