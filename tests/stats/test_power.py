"""The smallest visible difference, against statsmodels' power of a test of two means."""

from __future__ import annotations

import math

import pytest

from evalsuite.stats import smallest_difference


@pytest.mark.parametrize(("n", "share"), [(200, 0.5), (1319, 0.65), (50, 0.2)])
def test_unpaired_equals_statsmodels(n: int, share: float) -> None:
    from statsmodels.stats.power import NormalIndPower

    effect = NormalIndPower().solve_power(nobs1=n, alpha=0.05, power=0.8, ratio=1)
    expected = effect * math.sqrt(share * (1 - share))
    assert smallest_difference(n, share=share) == pytest.approx(expected, rel=1e-4)


def test_paired_equals_statsmodels() -> None:
    from statsmodels.stats.power import NormalIndPower

    # One sample of differences of -1, 0 and 1 whose variance is the share of disagreements.
    effect = NormalIndPower().solve_power(nobs1=200, alpha=0.05, power=0.8, ratio=0)
    expected = effect * math.sqrt(0.2)
    assert smallest_difference(200, discordant=0.2) == pytest.approx(expected, rel=1e-4)


def test_nonsense_is_refused() -> None:
    for options in ({"n": 0}, {"n": 5, "share": 1.5}, {"n": 5, "discordant": -0.1}):
        with pytest.raises(ValueError, match="needs one item"):
            smallest_difference(**options)  # type: ignore[arg-type]
