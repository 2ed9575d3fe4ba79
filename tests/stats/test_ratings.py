"""Ratings: an independent maximum-likelihood fit, perfect records, broken leagues, coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from evalsuite.stats.ratings import (
    Comparison,
    DisconnectedError,
    bradley_terry,
    rate,
    win_counts,
    win_rates,
)
from evalsuite.stats.strengths import HALF_TIE, fit_many

SCALE = 400 / math.log(10)


def maximum_likelihood(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratings by a general optimiser on the log-likelihood: nothing of the code under test."""
    met = (wins + wins.T) > 0
    counts = wins + 0.25 * met

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = np.append(free, 0.0)
        gap = logs[:, None] - logs[None, :]
        chance = 1 / (1 + np.exp(-gap))
        gradient = -(counts * (1 - chance)).sum(1) + (counts * (1 - chance)).sum(0)
        return float((counts * np.logaddexp(0, -gap)).sum()), gradient[:-1]

    found = minimize(
        loss, np.zeros(len(wins) - 1), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    logs = np.append(found.x, 0.0)
    # BFGS stops a little early where rounding hides the loss; finish on the gradient.
    for _ in range(20):
        gap = logs[:, None] - logs[None, :]
        chance = 1 / (1 + np.exp(-gap))
        games = counts + counts.T
        gradient = counts.sum(1) - (games * chance).sum(1)
        information = -games * chance * (1 - chance)
        np.fill_diagonal(information, -information.sum(1) + np.diag(information))
        logs[:-1] += np.linalg.solve(information[:-1, :-1], gradient[:-1])
    return 1000 + SCALE * (logs - logs.mean())


def league(rng: np.random.Generator, models: int, questions: int) -> list[Comparison]:
    strength = rng.normal(0, 1, models)
    found = []
    for q in range(questions):
        for i in range(models):
            for j in range(i + 1, models):
                chance = 1 / (1 + math.exp(strength[j] - strength[i]))
                score = 0.5 if rng.random() < 0.2 else float(rng.random() < chance)
                found.append(Comparison(q, f"m{i}", f"m{j}", score))
    return found


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_ratings_equal_an_independent_maximum_likelihood_fit(
    seed: int, models: int, questions: int
) -> None:
    comparisons = league(np.random.default_rng(seed), models, questions)
    names = [f"m{i}" for i in range(models)]
    wins = win_counts(names, comparisons)
    wanted = maximum_likelihood(wins)
    found = bradley_terry(names, wins)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    smooth = wins + HALF_TIE * (wins + wins.T > 0)
    many = fit_many(np.stack([smooth, smooth]), np.full(models, 1000.0))
    np.testing.assert_allclose(many, np.stack([wanted, wanted]), rtol=0, atol=1e-6)


def test_a_chain_of_pairs_is_connected_and_fits() -> None:
    names = ["a", "b", "c", "d"]
    comparisons = [
        Comparison(q, x, y, score)
        for q, score in enumerate([1, 1, 0, 0.5, 1])
        for x, y in itertools.pairwise(names)
    ]
    wins = win_counts(names, comparisons)
    np.testing.assert_allclose(bradley_terry(names, wins), maximum_likelihood(wins), atol=1e-6)


def test_one_model_that_wins_everything_has_a_finite_rating_above_all() -> None:
    names = ["b", "champion", "c"]
    comparisons = [
        Comparison(q, "champion", other, 1.0) for q in range(10) for other in ("b", "c")
    ] + [Comparison(q, "b", "c", float(q < 6)) for q in range(10)]
    b, champion, c = rate(names, comparisons, seed=0)
    assert math.isfinite(champion.rating)
    assert champion.rating > b.rating > c.rating
    assert champion.win_rate == 1.0
    assert champion.rank == (1, 1)
    low, high = champion.win_rate_ci
    assert 0.7 < low < 0.95 < high == 1.0  # ten questions don't prove a perfect record
    assert champion.rating_ci[1] - champion.rating_ci[0] > 100


def test_ten_to_nothing_between_two_is_the_gap_of_the_stated_half_tie() -> None:
    wins = win_counts(["a", "b"], [Comparison(q, "a", "b", 1.0) for q in range(10)])
    a, b = bradley_terry(["a", "b"], wins)
    assert a - b == pytest.approx(SCALE * math.log(10.25 / 0.25), abs=1e-6)
    assert (a + b) / 2 == pytest.approx(1000)


def test_groups_that_never_met_are_refused_by_name() -> None:
    comparisons = [Comparison(0, "a", "b", 1.0), Comparison(0, "c", "d", 0.0)]
    with pytest.raises(DisconnectedError, match=r"never compared, .*: a, b \| c, d"):
        rate(["a", "b", "c", "d"], comparisons, seed=0)
    with pytest.raises(DisconnectedError, match=r"a, b \| left out"):
        rate(["a", "b", "left out"], comparisons[:1], seed=0)


def test_what_is_no_comparison_is_refused() -> None:
    with pytest.raises(ValueError, match="one comparison at least"):
        rate(["a", "b"], [], seed=0)
    with pytest.raises(ValueError, match="'a' against 'a'"):
        win_counts(["a", "b"], [Comparison(0, "a", "a", 1.0)])
    with pytest.raises(ValueError, match="no share"):
        win_counts(["a", "b"], [Comparison(0, "a", "b", 1.5)])


def test_ties_count_half_and_order_within_a_comparison_does_not_matter() -> None:
    comparisons = [Comparison(0, "a", "b", 1.0), Comparison(1, "b", "a", 0.5)]
    wins = win_counts(["a", "b"], comparisons)
    assert win_rates(wins).tolist() == [0.75, 0.25]
    turned = [Comparison(c.question, c.b, c.a, 1 - c.score) for c in comparisons]
    assert rate(["a", "b"], comparisons, 1) == rate(["a", "b"], turned, 1)


def test_equal_models_share_their_places() -> None:
    comparisons = [Comparison(q, "a", "b", [1.0, 0.0, 0.5][q % 3]) for q in range(60)]
    a, b = rate(["a", "b"], comparisons, seed=3)
    assert a.rank == b.rank == (1, 2)
    assert a.rating_ci[0] < 1000 < a.rating_ci[1]


def test_repeats_of_a_question_do_not_narrow_the_interval() -> None:
    """Four repeats that all say the same are one question's evidence, not four."""
    rng = np.random.default_rng(5)
    once = [Comparison(q, "a", "b", float(rng.random() < 0.6)) for q in range(60)]
    one, four = (rate(["a", "b"], once * times, seed=1)[0].win_rate_ci for times in (1, 4))
    assert four[1] - four[0] == pytest.approx(one[1] - one[0], rel=0.1)


def simulate(seed: int, questions: int) -> tuple[int, int]:
    """Intervals that hold the truth, of how many, in leagues with ties and question effects."""
    strength = np.array([0.8, 0.2, -0.3, -0.7])
    names = [f"m{i}" for i in range(4)]
    effect, tie = 0.8, 0.25
    # The truth under question effects is where a league of endless questions would settle.
    rng = np.random.default_rng(0)
    gaps = rng.normal(0, effect * math.sqrt(2), 100_000)
    endless = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            if i != j:
                chance = 1 / (1 + np.exp(strength[j] - strength[i] + gaps))
                endless[i, j] = tie / 2 + (1 - tie) * chance.mean()
    endless = (endless + (1 - endless.T)) / 2
    np.fill_diagonal(endless, 0)
    true_ratings = fit_many(endless[None], np.full(4, 1000.0))[0]
    true_rates = win_rates(endless)

    hits = total = 0
    rng = np.random.default_rng(seed)
    for number in range(80):
        comparisons = []
        for q in range(questions):
            level = strength + rng.normal(0, effect, 4)
            for i in range(4):
                for j in range(i + 1, 4):
                    chance = 1 / (1 + math.exp(level[j] - level[i]))
                    score = 0.5 if rng.random() < tie else float(rng.random() < chance)
                    comparisons.append(Comparison(q, names[i], names[j], score))
        for k, found in enumerate(rate(names, comparisons, seed=number, resamples=300)):
            hits += found.rating_ci[0] <= true_ratings[k] <= found.rating_ci[1]
            hits += found.win_rate_ci[0] <= true_rates[k] <= found.win_rate_ci[1]
            total += 2
    return hits, total


def test_intervals_cover_the_truth_in_leagues_with_ties_and_question_effects() -> None:
    hits, total = simulate(seed=11, questions=60)
    assert 0.92 <= hits / total <= 0.98
