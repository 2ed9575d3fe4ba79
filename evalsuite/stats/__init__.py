"""Statistics as pure functions: arrays in, tuples out; knows numpy and scipy only."""

from evalsuite.stats.intervals import Interval, bootstrap_mean, mean_of_estimates, normal, wilson
from evalsuite.stats.power import TYPICAL_DISCORDANCE, smallest_difference
from evalsuite.stats.ranks import Paired, Unpaired, rank_ranges
from evalsuite.stats.sampling import pass_at_k

__all__ = [
    "TYPICAL_DISCORDANCE",
    "Interval",
    "Paired",
    "Unpaired",
    "bootstrap_mean",
    "mean_of_estimates",
    "normal",
    "pass_at_k",
    "rank_ranges",
    "smallest_difference",
    "wilson",
]
