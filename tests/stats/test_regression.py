"""Holm against statsmodels, visible drops against statsmodels' power, levels and margins."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from evalsuite.stats.paired import PairedMeans, paired_counts
from evalsuite.stats.regression import find_regressions, holm, smallest_visible


def test_holm_is_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    # statsmodels collects garbage in each call: a second where torch and others are loaded too.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    rng = np.random.default_rng(3)
    p = rng.uniform(size=(50, 17)) ** 3
    p[0, :5] = p[0, 5]  # ties
    for row, found in zip(p, holm(p), strict=True):
        np.testing.assert_allclose(found, multipletests(row, method="holm")[1])


def test_weighted_holm_by_hand_and_with_equal_weights() -> None:
    p = np.array([0.01, 0.02, 0.5])
    np.testing.assert_allclose(holm(p, [1 / 3] * 3), holm(p))
    # p / weight: 0.02, 0.08, 2; the weight left: 1, 0.5, 0.25.
    np.testing.assert_allclose(holm(p, [0.5, 0.25, 0.25]), [0.02, 0.04, 0.5])


def test_weighted_holm_keeps_its_level() -> None:
    rng = np.random.default_rng(4)
    adjusted = holm(rng.uniform(size=(40_000, 6)), np.array([3, 3, 1, 1, 1, 1]) / 10)
    assert (adjusted <= 0.04).any(-1).mean() == pytest.approx(0.04, abs=0.003)


def test_visible_drop_is_found_in_80_percent_by_statsmodels() -> None:
    n, spread = 500, 0.4
    drop = smallest_visible(spread / np.sqrt(n), n - 1, 0.01)
    power = TTestPower().power(drop / spread, n, 0.01, alternative="larger")
    assert power == pytest.approx(0.8, abs=0.003)


def test_a_certain_drop_within_the_margin_is_no_regression() -> None:
    pairs = paired_counts([100_000], [1000], [1300])  # -0.3 points, beyond doubt
    found = find_regressions(pairs, 0.01)
    assert found.dropped.all()
    assert found.within.all()
    assert not found.regressed.any()
    assert find_regressions(pairs, 0.001).regressed.all()


def test_where_no_margin_applies_every_certain_drop_counts() -> None:
    found = find_regressions(paired_counts([100_000], [1000], [1300]), [np.nan], in_mean=[False])
    assert found.regressed.all()
    assert np.isnan(found.mean)
    assert not found.mean_regressed


def test_the_mean_is_the_mean_with_the_error_of_independent_tasks() -> None:
    pairs = paired_counts([1000, 2000], [50, 100], [90, 100])
    found = find_regressions(pairs, 0.01)
    assert found.mean == pytest.approx(-0.02)
    assert found.mean_stderr == pytest.approx(np.hypot(*pairs.careful) / 2)
    assert found.mean_p == pytest.approx(stats.norm.cdf(-0.02 / found.mean_stderr), rel=0.05)


def test_families_share_the_levels() -> None:
    pairs = PairedMeans.stack([paired_counts(1000, 0, 10)])
    (p,) = find_regressions(pairs, 0.0).p_adjusted
    assert 0.0001 < p < 0.04 / 40
    assert find_regressions(pairs, 0.0).dropped.all()
    assert not find_regressions(pairs, 0.0, families=100).dropped.any()
