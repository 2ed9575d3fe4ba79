"""Statistics as pure functions: arrays in, tuples out; knows numpy and scipy only."""

from evalsuite.stats.intervals import Interval, bootstrap_mean, mean_of_estimates, normal, wilson
from evalsuite.stats.paired import PairedMeans, mcnemar_midp, paired_counts, paired_difference
from evalsuite.stats.power import TYPICAL_DISCORDANCE, smallest_difference
from evalsuite.stats.ranks import Paired, Unpaired, rank_ranges
from evalsuite.stats.regression import Regression, find_regressions, holm, smallest_visible
from evalsuite.stats.sampling import pass_at_k

__all__ = [
    "TYPICAL_DISCORDANCE",
    "Interval",
    "Paired",
    "PairedMeans",
    "Regression",
    "Unpaired",
    "bootstrap_mean",
    "find_regressions",
    "holm",
    "mcnemar_midp",
    "mean_of_estimates",
    "normal",
    "paired_counts",
    "paired_difference",
    "pass_at_k",
    "rank_ranges",
    "smallest_difference",
    "smallest_visible",
    "wilson",
]
