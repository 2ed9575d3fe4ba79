"""How small a difference a number of items can show: pure functions of counts and shares.

Knows the normal approximation only; knows nothing of tasks, models or runs.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The share of items that exactly one of two similar models gets right, seen between models of one
# family on multiple-choice tasks; 0.5 would be two models that have nothing in common.
TYPICAL_DISCORDANCE = 0.2


def smallest_difference(
    n: int,
    *,
    share: float = 0.5,
    discordant: float | None = None,
    level: float = 0.05,
    power: float = 0.8,
) -> float:
    """The minimum detectable difference of two shares of `n` items each, two-sided.

    Without `discordant` the two are measured on different items (variance of a share of `share`);
    with it on the same ones, `discordant` being the share of items on which exactly one is right
    (McNemar's test; Connor 1987, to first order).

    Raises:
        ValueError: no items, or a share outside 0..1.
    """
    if n < 1 or not 0 <= share <= 1 or not 0 <= (discordant or 0) <= 1:
        raise ValueError("needs one item or more, and shares of 0 to 1")
    variance = 2 * share * (1 - share) if discordant is None else discordant
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
    return min(1.0, reach * math.sqrt(variance / n))
