"""pass@k against counting every subset of the samples, and against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest

from evalsuite.stats import pass_at_k


@pytest.mark.parametrize("n", range(1, 9))
def test_equals_counting_every_subset(n: int) -> None:
    for correct in range(n + 1):
        right = [True] * correct + [False] * (n - correct)
        for k in range(1, n + 1):
            subsets = list(combinations(right, k))
            share = sum(map(any, subsets)) / len(subsets)
            assert pass_at_k(n, correct, k) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("n", "k"), [(200, 1), (200, 10), (200, 100), (100, 80), (1000, 500)])
def test_many_samples_lose_no_digits(n: int, k: int) -> None:
    for correct in (0, 1, 2, n // 3, n - k, n - 1, n):
        exact = 1 - Fraction(comb(n - correct, k), comb(n, k))
        assert pass_at_k(n, correct, k) == pytest.approx(float(exact), abs=1e-12)


def test_one_of_one_sample_is_its_share_right() -> None:
    assert [pass_at_k(8, c, 1) for c in (0, 2, 8)] == pytest.approx([0, 0.25, 1])


@pytest.mark.parametrize(("n", "correct", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_what_cannot_be_estimated_is_refused(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="can't be"):
        pass_at_k(n, correct, k)
