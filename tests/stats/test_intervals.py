"""Intervals against statsmodels and scipy, and their coverage in a small simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from evalsuite.stats import bootstrap_mean, mean_of_estimates, normal, wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200, deadline=None)
def test_wilson_equals_statsmodels(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    expected = proportion_confint(successes, n, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


def test_wilson_by_hand() -> None:
    # 8 of 10 at 95 %: centre (0.8 + 3.8415/20) / 1.38415, half-width by the formula.
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(50, 100, level=0.99)[0] < wilson(50, 100)[0]


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 4), (math.nan, 4)])
def test_wilson_refuses_what_is_no_share(successes: float, n: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(successes, n)


def test_normal_equals_scipy() -> None:
    assert normal(3.5, 0.25) == pytest.approx(norm.interval(0.95, 3.5, 0.25))
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match="standard error"):
            normal(0.5, bad)
    with pytest.raises(ValueError, match="between 0 and 1"):
        normal(0.5, 0.1, level=95)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_bootstrap_equals_scipys_bca(scale: float) -> None:
    items = np.random.default_rng(3).exponential(scale, 80)
    low, high = bootstrap_mean(items, seed=1, resamples=20_000)
    expected = scipy_bootstrap(
        (items,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.012 * scale)


def test_bootstrap_depends_on_the_seed_alone() -> None:
    items = np.random.default_rng(0).random(50)
    assert bootstrap_mean(items, seed=5) == bootstrap_mean(list(items), seed=5)
    assert bootstrap_mean(items, seed=5) != bootstrap_mean(items, seed=6)


def test_constant_samples() -> None:
    assert bootstrap_mean([3.5] * 20, seed=0) == (3.5, 3.5)
    assert bootstrap_mean([0.5] * 20, seed=0, share=True) == wilson(10, 20)
    assert bootstrap_mean([1.0], seed=0, share=True) == wilson(1, 1)


@pytest.mark.parametrize("items", [[], [math.nan, 1.0], [math.inf], [[1.0], [2.0]]])
def test_bootstrap_refuses(items: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        bootstrap_mean(items, seed=0)


def test_a_share_outside_its_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_mean([0.5, 1.5], seed=0, share=True)


def test_many_items_stay_within_memory() -> None:
    items = np.random.default_rng(0).random(100_000)
    low, high = bootstrap_mean(items, seed=0, resamples=200)
    assert high - low == pytest.approx(2 * 1.96 * items.std() / math.sqrt(100_000), rel=0.25)


def test_mean_of_estimates_by_hand() -> None:
    low, high = mean_of_estimates([0.5, 0.9], [(0.4, 0.6), (0.6, 1.0)])
    assert low == pytest.approx(0.7 - math.hypot(0.1, 0.3) / 2)
    assert high == pytest.approx(0.7 + math.hypot(0.1, 0.1) / 2)
    assert mean_of_estimates([0.3], [(0.2, 0.45)]) == pytest.approx((0.2, 0.45))
    assert mean_of_estimates([1.0, 1.0], [wilson(9, 9), wilson(4, 4)])[1] == 1.0
    with pytest.raises(ValueError, match="one interval for each"):
        mean_of_estimates([0.5], [])


def test_coverage() -> None:
    """Of 95 % intervals about 95 % hold the truth; also for the mean over small, easy tasks."""
    rng = np.random.default_rng(11)
    repeats = 1500
    counts = rng.binomial(40, 0.9, size=repeats)
    hits = [low <= 0.9 <= high for low, high in (wilson(int(k), 40) for k in counts)]
    assert 0.93 <= np.mean(hits) <= 0.985

    truths, sizes = [0.97, 0.6, 0.85], [30, 50, 40]
    draws = rng.binomial(sizes, truths, size=(repeats, 3))
    hits = []
    for row in draws:
        values = [k / n for k, n in zip(row, sizes, strict=True)]
        low, high = mean_of_estimates(
            values, [wilson(int(k), n) for k, n in zip(row, sizes, strict=True)]
        )
        hits.append(low <= np.mean(truths) <= high)
    assert 0.93 <= np.mean(hits) <= 0.985

    samples = rng.exponential(1.0, size=(400, 40))
    hits = [low <= 1.0 <= high for low, high in (bootstrap_mean(s, 7, 500) for s in samples)]
    assert 0.90 <= np.mean(hits) <= 0.98
