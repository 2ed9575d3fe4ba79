"""Rank ranges: hand-made cases, pairing, and how often equal models are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from evalsuite.stats import Paired, Unpaired, rank_ranges


def test_clearly_apart() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((400, 3)) < [0.3, 0.9, 0.6]).astype(float)
    assert rank_ranges([Paired(1.0, scores)], seed=1) == ((3, 3), (1, 1), (2, 2))


def test_equal_answers_are_a_tie() -> None:
    scores = np.repeat((np.random.default_rng(0).random((200, 1)) < 0.5), 3, axis=1).astype(float)
    assert rank_ranges([Paired(1.0, scores)], seed=1) == ((1, 3),) * 3


def test_pairing_finds_what_separate_intervals_hide() -> None:
    """One model is right on 14 items more and wrong on none: 70 % and 77 % of 200 overlap."""
    first = np.zeros(200)
    first[:140] = 1
    second = first.copy()
    second[140:154] = 1
    assert ttest_rel(second, first).pvalue < 0.001
    assert rank_ranges([Paired(1.0, np.stack([first, second], 1))], 0) == ((2, 2), (1, 1))


def test_a_middle_model_may_tie_with_both_ends() -> None:
    rng = np.random.default_rng(5)
    scores = (rng.random((150, 3)) < [0.62, 0.55, 0.45]).astype(float)
    ranges = rank_ranges([Paired(1.0, scores)], seed=0)
    assert ranges[0][0] == 1
    assert ranges[2][1] == 3
    assert ranges[1] == (1, 3)


def test_few_items_prove_nothing() -> None:
    for n in (1, 2, 3, 4):
        scores = np.tile([1.0, 0.0], (n, 1))
        assert rank_ranges([Paired(1.0, scores)], seed=0) == ((1, 2), (1, 2))
    assert rank_ranges([Paired(1.0, np.tile([1.0, 0.0], (8, 1)))], seed=0) == ((1, 1), (2, 2))


def test_weights_decide() -> None:
    """Better on the stratum that counts three times as much."""
    rng = np.random.default_rng(2)
    up = (rng.random((300, 2)) < [0.8, 0.4]).astype(float)
    ranges = rank_ranges([Paired(0.75, up), Paired(0.25, up[:, ::-1])], seed=0)
    assert ranges == ((1, 1), (2, 2))


def test_unpaired_by_standard_errors() -> None:
    near = Unpaired(1.0, np.array([0.50, 0.53]), np.array([0.02, 0.02]))
    far = Unpaired(1.0, np.array([0.50, 0.60]), np.array([0.02, 0.02]))
    assert rank_ranges([near], seed=0) == ((1, 2), (1, 2))
    assert rank_ranges([far], seed=0) == ((2, 2), (1, 1))


def test_same_seed_same_ranks_and_one_model_is_first() -> None:
    scores = np.random.default_rng(1).random((60, 5))
    strata = [Paired(1.0, scores)]
    assert rank_ranges(strata, seed=4) == rank_ranges(strata, seed=4)
    assert rank_ranges([Paired(1.0, scores[:, :1])], seed=4) == ((1, 1),)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="one stratum"):
        rank_ranges([], seed=0)
    with pytest.raises(ValueError, match="same models"):
        rank_ranges([Paired(1, np.ones((3, 2))), Paired(1, np.ones((3, 4)))], seed=0)
    with pytest.raises(ValueError, match="shape"):
        rank_ranges([Paired(1, np.ones((0, 2)))], seed=0)


def test_equal_models_are_seldom_told_apart() -> None:
    """False alarms of the paired 95 % interval, two strata of 100 items: about 5 %."""
    rng = np.random.default_rng(8)
    alarms = 0
    for seed in range(400):
        hard = rng.random((2, 100, 1)) * 0.6 + 0.2  # a chance for each item, the same for both
        scores = (rng.random((2, 100, 2)) < hard).astype(float)
        strata = [Paired(0.5, scores[0]), Paired(0.5, scores[1])]
        alarms += rank_ranges(strata, seed, resamples=500) != ((1, 2), (1, 2))
    assert 0.02 <= alarms / 400 <= 0.08
