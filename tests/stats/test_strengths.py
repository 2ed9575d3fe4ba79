"""Bias-reduced fits against a general optimiser, the jackknife against its definition, coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from evalsuite.stats.ratings import Comparison, rate
from evalsuite.stats.strengths import (
    SCALE,
    fit_many,
    gap_variances,
    inverse_laplacian,
    jackknife,
    made_up_wins,
)

Array = NDArray[np.float64]


def penalised(wins: Array) -> Array:
    """Ratings at the maximum of Firth's penalised likelihood, by a general optimiser."""
    games = wins + wins.T

    def loss(free: Array) -> float:
        logs = np.append(free, 0.0)
        gap = logs[:, None] - logs[None, :]
        chance = 1 / (1 + np.exp(-gap))
        weights = games * chance * (1 - chance)
        information = np.diag(weights.sum(1)) - weights
        half_log_det = 0.5 * np.linalg.slogdet(information[:-1, :-1])[1]
        return float((wins * np.logaddexp(0, -gap)).sum() - half_log_det)

    found = minimize(loss, np.zeros(len(wins) - 1), method="BFGS", options={"gtol": 1e-9})
    logs = np.append(found.x, 0.0)
    return np.asarray(1000 + SCALE * (logs - logs.mean()))


def question_wins(rng: np.random.Generator, models: int, questions: int) -> Array:
    """Leagues in which about half of the pairs meet on a question, all on the first. [n, m, m]"""
    strength = rng.normal(0, 1.5, models)
    wins = np.zeros((questions, models, models))
    for q, (i, j) in itertools.product(range(questions), itertools.combinations(range(models), 2)):
        if q and rng.random() < 0.5:
            continue
        chance = 1 / (1 + math.exp(strength[j] - strength[i]))
        wins[q, i, j] = 0.5 if rng.random() < 0.2 else float(rng.random() < chance)
        wins[q, j, i] = 1 - wins[q, i, j]
    return wins


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_made_up_wins_give_the_maximum_of_the_penalised_likelihood(
    seed: int, models: int, questions: int
) -> None:
    tables = question_wins(np.random.default_rng(seed), models, questions)
    wins = tables.sum(0)
    start = np.full(models, 1000.0)
    made_up = made_up_wins(wins, wins + wins.T, start)
    assert made_up.sum() == pytest.approx(models - 1)  # leverages add up to what is estimated
    found = fit_many((wins + made_up)[None], start)[0]
    np.testing.assert_allclose(found, penalised(wins), rtol=0, atol=0.02)


def test_the_jackknife_is_its_definition_where_nothing_is_near_perfect() -> None:
    tables = question_wins(np.random.default_rng(3), 4, 40)
    start = np.full(4, 1000.0)
    ratings, covariance = jackknife(tables, start)
    wins = tables.sum(0)
    made_up = made_up_wins(wins, wins + wins.T, start)
    without = np.array(
        [fit_many((wins - one + made_up)[None], start)[0] for one in tables]
    )  # [n, m]
    away = without - without.mean(0)
    real = 39 / 40 * (away[:, :, None] * away[:, None, :]).sum(0)
    np.testing.assert_allclose(ratings, fit_many((wins + made_up)[None], start)[0], atol=1e-6)
    more = np.diag(covariance) - np.diag(real)
    assert (more > 0).all()  # the made-up ones' share
    assert (more < 0.1 * np.diag(real)).all()


def test_a_perfect_record_is_no_proof() -> None:
    won = np.array([[0.0, 1.0], [0.0, 0.0]])
    ratings, covariance = jackknife(np.stack([won] * 10), np.full(2, 1000.0))
    gap, error = (ratings[0] - ratings[1]) / SCALE, gap_variances(covariance)[0, 1] ** 0.5 / SCALE
    assert gap == pytest.approx(math.log(10.5 / 0.5), abs=1e-6)
    worst = 1 / (1 + math.exp(2.262 * error - gap))  # Student's t of 9
    assert 0.6 < worst < 0.8  # Clopper and Pearson: ten of ten is at least 0.69


def test_repeats_of_questions_do_not_make_ratings_surer() -> None:
    tables = question_wins(np.random.default_rng(1), 3, 20)
    start = np.full(3, 1000.0)
    for one, four in zip(jackknife(tables, start), jackknife(4 * tables, start), strict=True):
        np.testing.assert_allclose(one, four, rtol=1e-6)


@pytest.mark.parametrize("models", [2, 7, 40])
def test_the_inverse_is_the_pseudoinverse_and_knows_no_common_level(models: int) -> None:
    for seed in range(50):
        weights = np.random.default_rng(seed).uniform(0.1, 20, (models, models))
        weights = np.triu(weights, 1) + np.triu(weights, 1).T
        found = inverse_laplacian(weights)
        laplacian = np.diag(weights.sum(1)) - weights
        np.testing.assert_allclose(found @ laplacian, np.eye(models) - 1 / models, atol=1e-10)
        np.testing.assert_allclose(found.sum(0), 0, atol=1e-10)


def test_intervals_cover_the_truth_where_pairs_have_few_games_and_models_are_far_apart() -> None:
    """Ten of 60 questions a pair: half ties alone draw such a league to its middle."""
    models, questions = 10, 60
    strength = np.linspace(-2.2, 2.2, models)
    pairs = np.array(list(itertools.combinations(range(models), 2)))
    true = 1000 + SCALE * (strength - strength.mean())
    names = [f"m{k}" for k in range(models)]
    rng = np.random.default_rng(4)
    hits: list[bool] = []
    for seed in range(60):
        comparisons = []
        for i, j in pairs:
            chance = 1 / (1 + math.exp(strength[j] - strength[i]))
            for q in rng.choice(questions, 10, replace=False):
                comparisons.append(
                    Comparison(int(q), names[i], names[j], float(rng.random() < chance))
                )
        its = rate(names, comparisons, seed, resamples=20)
        hits += [r.rating_ci[0] <= true[k] <= r.rating_ci[1] for k, r in enumerate(its)]
    assert 0.93 <= np.mean(hits) <= 0.98
