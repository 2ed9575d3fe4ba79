"""The shares of a judge's audit: whether it keeps its verdict, what it favours beside quality.

Pure functions on verdicts by position; each gives a share with its interval and how many cases it
is of. Knows nothing of records, prompts or files. A share of nothing is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.stats.intervals import Interval, wilson

Clusters = Sequence[Hashable] | None


@dataclass(frozen=True, slots=True)
class Share:
    """`value` of `n` cases, with its 95 % interval; all None without cases."""

    value: float | None
    ci: Interval | None
    n: int


def share_of(
    hits: Sequence[bool] | Sequence[float], clusters: Clusters = None, level: float = 0.95
) -> Share:
    """The share of cases that hit, with Wilson's interval at the effective number of cases.

    Cases of one cluster (games on one question) are not independent: the number of cases is
    divided by the design effect, the ratio of the clustered to the independent variance, where
    that is above 1; there are never taken to be fewer cases than clusters. Hits between 0 and 1
    (a tie is half) are allowed.

    Source: E. Korn and B. Graubard, Survey Methodology 24 (1998), with Wilson's in place of the
    exact interval.

    Raises:
        ValueError: a hit outside 0..1, or not one cluster a case.
    """
    values = np.asarray(hits, dtype=np.float64)
    n = values.size
    if n == 0:
        return Share(None, None, 0)
    if values.min() < 0 or values.max() > 1:
        raise ValueError("a hit is 0, 1 or between")
    mean = float(values.mean())
    effective = float(n)
    if clusters is not None:
        if len(clusters) != n:
            raise ValueError("there is one cluster a case")
        number: dict[Hashable, int] = {}
        group = [number.setdefault(name, len(number)) for name in clusters]
        count = len(number)
        independent = float(((values - mean) ** 2).sum()) / n**2
        if count > 1 and independent > 0:
            sums = np.bincount(group, values - mean, count)
            clustered = float((sums**2).sum()) / n**2 * count / (count - 1)
            effective = min(n, max(n * independent / clustered, count)) if clustered else n
        else:
            effective = float(count)  # nothing varies: as many cases as there are clusters
    size = max(1, round(effective))
    return Share(mean, wilson(min(mean * size, size), size, level), n)


def swap_agreement(
    winners: Sequence[Hashable], swapped: Sequence[Hashable], clusters: Clusters = None
) -> Share:
    """Pairs judged in both orders whose two verdicts name the same winner (or both a tie).

    `winners` are names, not positions, in one order and in the other.
    """
    if len(winners) != len(swapped):
        raise ValueError("a pair has a verdict in each order")
    return share_of([a == b for a, b in zip(winners, swapped, strict=True)], clusters)


def first_place_share(verdicts: Sequence[str], clusters: Clusters = None) -> Share:
    """Decisive verdicts ("first", "second") that went to the answer shown first."""
    keep = [k for k, verdict in enumerate(verdicts) if verdict in ("first", "second")]
    return share_of([verdicts[k] == "first" for k in keep], _only(clusters, keep))


def longer_share(
    verdicts: Sequence[str], lengths: Sequence[tuple[int, int]], clusters: Clusters = None
) -> Share:
    """Decisive verdicts between answers of different length that went to the longer one."""
    keep = [
        k
        for k, verdict in enumerate(verdicts)
        if verdict in ("first", "second") and lengths[k][0] != lengths[k][1]
    ]
    hits = [(lengths[k][0] > lengths[k][1]) == (verdicts[k] == "first") for k in keep]
    return share_of(hits, _only(clusters, keep))


def invalid_share(verdicts: Sequence[str], clusters: Clusters = None) -> Share:
    """Games without a verdict."""
    return share_of([verdict == "invalid" for verdict in verdicts], clusters)


def repeat_agreement(groups: Sequence[Sequence[Hashable]], clusters: Clusters = None) -> Share:
    """The chance that two repeats of one game agree: over games, the share of equal pairs.

    `groups` are each game's verdicts, one a repeat; games played once are left out. 1 less this
    share is the spread over repeats.
    """
    keep = [k for k, group in enumerate(groups) if len(group) > 1]
    hits = []
    for k in keep:
        size = len(groups[k])
        equal = sum(c * (c - 1) for c in Counter(groups[k]).values())
        hits.append(equal / (size * (size - 1)))
    return share_of(hits, _only(clusters, keep))


def win_rate_spread(rates: Sequence[float]) -> float | None:
    """Standard deviation of a model's win rate over repeats of the whole set; None for one."""
    return float(np.std(rates, ddof=1)) if len(rates) > 1 else None


def family_share(
    points: Sequence[float], own: Sequence[bool], clusters: Clusters = None
) -> tuple[Share, Share]:
    """What the judge's own family won of its comparisons with others, beside what others won.

    `points` are the share of the win that a model got (a tie is half), `own` whether it is of the
    judge's family; a comparison gives one entry, from the side of its family member or, between
    two others, from either side. Favour shows only against another judge's or people's share of
    the same comparisons: a family may simply be better.
    """
    if len(points) != len(own):
        raise ValueError("there is one mark a comparison")
    ours = [k for k, is_own in enumerate(own) if is_own]
    others = [k for k, is_own in enumerate(own) if not is_own]
    return (
        share_of([points[k] for k in ours], _only(clusters, ours)),
        share_of([points[k] for k in others], _only(clusters, others)),
    )


def family_favour(
    points: Sequence[float], reference: Sequence[float], clusters: Clusters = None, seed: int = 0
) -> tuple[float, Interval] | None:
    """How much more the judge gave its own family than a reference did on the same comparisons.

    `points` and `reference` are the family member's share of each win, by the judge and by others
    (people, gold labels, another judge). The mean paired difference, -1 to 1, with its bootstrap
    interval over clusters; None without comparisons.

    Raises:
        ValueError: not one reference a comparison.
    """
    from evalsuite.stats.resampling import mean_difference

    if not points:
        return None
    found = mean_difference(points, reference, clusters, seed)
    return found.value, found.ci


def _only(clusters: Clusters, keep: Sequence[int]) -> Clusters:
    return None if clusters is None else [clusters[k] for k in keep]
