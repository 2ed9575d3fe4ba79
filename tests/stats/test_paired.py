"""Paired tests against scipy's and statsmodels' own, and their behaviour where nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from evalsuite.stats.paired import (
    EXACT_BELOW,
    PairedMeans,
    mcnemar_midp,
    paired_counts,
    paired_difference,
    two_sided,
    weighted_sum,
)


def test_t_is_scipys_paired_t() -> None:
    rng = np.random.default_rng(1)
    old = rng.normal(size=400)
    new = old - 0.05 + rng.normal(scale=0.5, size=400)
    found = paired_difference(new - old)
    oracle = stats.ttest_rel(new, old, alternative="less")
    assert found.p_drop == pytest.approx(oracle.pvalue, rel=1e-10)
    assert found.df == oracle.df
    assert found.stderr == pytest.approx((new - old).std(ddof=1) / 20, rel=1e-12)


def test_cluster_robust_error_is_statsmodels() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(120), rng.integers(1, 9, size=120))
    differences = rng.normal(size=120)[clusters] + rng.normal(size=clusters.size)
    found = paired_difference(differences, clusters)
    fit = sm.OLS(differences, np.ones(clusters.size)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    assert found.mean == pytest.approx(fit.params[0])
    assert found.stderr == pytest.approx(fit.bse[0], rel=1e-10)
    assert found.df == 119
    one_sided = stats.t.cdf(fit.tvalues[0], 119)
    assert found.p_drop == pytest.approx(one_sided, rel=1e-8)
    # That is the point of it: items that go together know less.
    assert found.stderr > 1.3 * paired_difference(differences).stderr


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 5), (5, 0), (7, 19), (24, 25)])
def test_mid_p_is_the_exact_test_with_half_of_what_was_seen(better: int, worse: int) -> None:
    exact = 0.5 if better + worse == 0 else None
    if exact is None:
        at_least = stats.binomtest(worse, better + worse, alternative="greater").pvalue
        more = stats.binom.sf(worse, better + worse, 0.5)
        exact = (at_least + more) / 2
    assert mcnemar_midp(better, worse) == pytest.approx(exact, rel=1e-12)
    n = 200
    items = np.r_[np.ones(better), -np.ones(worse), np.zeros(n - better - worse)]
    assert better + worse < EXACT_BELOW
    assert paired_difference(items).p_drop == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("n", "better", "worse"), [(100, 3, 9), (1319, 100, 160), (50, 0, 0)])
def test_counts_and_items_agree(n: int, better: int, worse: int) -> None:
    items = np.r_[np.ones(better), -np.ones(worse), np.zeros(n - better - worse)]
    one, other = paired_difference(items), paired_counts(n, better, worse)
    for name in ("mean", "stderr", "careful", "df", "p_drop"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9), name


def test_nothing_changed_in_five_items_proves_little_and_in_thousands_much() -> None:
    few, many = paired_difference(np.zeros(5)), paired_difference(np.zeros(5000))
    assert few.stderr == many.stderr == 0
    assert few.p_drop == many.p_drop == 0.5
    assert few.careful > 0.2
    assert many.careful < 0.0003


def test_one_cluster_says_nothing() -> None:
    found = paired_difference([-1.0, -1.0, -1.0], ["a", "a", "a"])
    assert found.p_drop == 0.5
    assert found.careful == np.inf


def test_a_few_items_that_all_drop_by_a_fraction_are_no_proof() -> None:
    # Without a spread a plain t test would be certain after two items.
    assert paired_difference([-0.5, -0.5]).p_drop > 0.1


@pytest.mark.parametrize("bad", [[], [[0.0]], [np.nan], [np.inf]])
def test_bad_samples_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="paired difference"):
        paired_difference(bad)
    with pytest.raises(ValueError, match="clusters"):
        paired_difference([0.0, 1.0], [1])
    with pytest.raises(ValueError, match="changes"):
        paired_counts(10, 6, 5)


def test_two_sided_is_scipys_and_its_interval_is_a_little_wider() -> None:
    rng = np.random.default_rng(5)
    old = rng.normal(size=500)
    new = old + 0.06 + rng.normal(scale=0.5, size=500)
    found = two_sided(paired_difference(new - old))
    oracle = stats.ttest_rel(new, old)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    low, high = oracle.confidence_interval(0.95)
    assert found.low <= low < found.mean < high <= found.high
    assert found.high - found.low == pytest.approx(high - low, rel=0.02)
    turned = two_sided(paired_difference(old - new))
    assert (turned.p, turned.low) == (pytest.approx(found.p), pytest.approx(-found.high))
    # Few changes: twice the mid-p of the likelier direction.
    few = two_sided(paired_difference([1.0] * 9 + [-1.0] * 2 + [0.0] * 50))
    assert few.p == pytest.approx(2 * mcnemar_midp(2, 9))
    assert two_sided(paired_difference([0.0] * 50)).p == 1


def test_a_weighted_sum_covers_its_truth() -> None:
    """Two tasks of unequal size and weight: 95 % of the intervals hold the true sum."""
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(600):
        parts = [rng.normal(0.1, 1.0, size=40), rng.normal(-0.2, 2.0, size=25)]
        whole = two_sided(
            weighted_sum(PairedMeans.stack([paired_difference(p) for p in parts]), [0.7, 0.3])
        )
        inside += bool(whole.low <= 0.7 * 0.1 - 0.3 * 0.2 <= whole.high)
    assert 0.93 < inside / 600 < 0.98
