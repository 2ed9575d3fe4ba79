"""Which pairs to compare next, so that ratings become as sure as so many comparisons can make them.

Pure functions on arrays. A comparison tells most between models of like strength that are not well
placed yet; lopsided ones tell little. Knows numpy; knows nothing of judges, questions or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalsuite.stats.strengths import (
    HALF_TIE,
    MEAN_RATING,
    Counts,
    fit_many,
    inverse_laplacian,
)

# What every pair that may meet is taken to know beforehand. So small that a pair of groups that
# never met comes first, so large that the inverse stays exact.
_PRIOR = 1e-3
# Gains that differ by less are equal, whatever the last bits say.
_DIGITS = 9


def information(wins: Counts, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """What one comparison of each pair tells: p (1 - p) by Bradley-Terry. [pairs]

    `wins` is [m, m], wins[i, j] those of i against j. The fit has half a tie more for every pair
    that may meet, so that a few lopsided games at the beginning do not seem sure.
    """
    smooth = wins.copy()
    for i, j in pairs:
        smooth[i, j] += HALF_TIE
        smooth[j, i] += HALF_TIE
    ratings = fit_many(smooth[None], np.full(len(wins), MEAN_RATING))[0]
    first, second = np.array(pairs).T
    # On Elo's scale a gap of 400 is ten to one.
    expected = 1 / (1 + 10 ** ((ratings[second] - ratings[first]) / 400))
    return np.asarray(expected * (1 - expected))


def choose_pairs(
    wins: Counts,
    pairs: Sequence[tuple[int, int]],
    capacity: Sequence[int],
    count: int,
) -> list[int]:
    """The next `count` comparisons as places in `pairs`, the most telling first.

    Each is the one that lowers the sum of the variances of all rating differences most, given
    those before it (A-optimal design, built greedily). `wins` [m, m] are all comparisons so far,
    `capacity` says how many more each pair can have. Without comparisons all pairs are alike and
    are taken in turn. Fewer are chosen when the pairs have no more.

    Source: A. Atkinson, A. Donev and R. Tobias, Optimum Experimental Designs, with SAS (2007),
    chapters 10 and 11; the update of the inverse is J. Sherman's and W. Morrison's (1950).
    """
    m = len(wins)
    first, second = np.array(pairs).T
    tells = information(wins, pairs)  # [pairs]
    met = (wins + wins.T)[first, second] + _PRIOR
    known = np.zeros((m, m))
    known[first, second] = known[second, first] = met * tells
    variance = inverse_laplacian(known)  # [m, m], of centred log strengths
    left = np.array(capacity)
    chosen: list[int] = []
    while len(chosen) < count and left.any():
        spread = variance[:, first] - variance[:, second]  # [m, pairs]: variance @ (e_i - e_j)
        own = spread[first, np.arange(len(pairs))] - spread[second, np.arange(len(pairs))]
        gain = tells * (spread**2).sum(axis=0) / (1 + tells * own)
        gain[left == 0] = -1.0
        best = int(np.argmax(np.round(gain / gain.max(), _DIGITS)))
        variance = variance - tells[best] * np.outer(spread[:, best], spread[:, best]) / (
            1 + tells[best] * own[best]
        )
        left[best] -= 1
        chosen.append(best)
    return chosen


def round_sizes(count: int, rounds: int, first: float) -> list[int]:
    """`count` comparisons in so many rounds: a share `first` in the first, the rest evenly."""
    begin = max(1, round(count * first)) if rounds > 1 else count
    rest = count - begin
    later = [rest * k // max(rounds - 1, 1) for k in range(rounds)]
    return [n for n in (begin, *(b - a for a, b in itertools.pairwise(later))) if n]
