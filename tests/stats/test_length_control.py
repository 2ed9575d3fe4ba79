"""Length control: published figures, planted tastes for length, and what must be refused."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import spearmanr

from evalsuite.stats.length_control import (
    UncontrolledError,
    against_baseline,
    predicted_rates,
)
from evalsuite.stats.length_league import in_league

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
Array = NDArray[np.float64]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def published(test_data: Path) -> tuple[list[str], Array, Array, Array, Array]:
    """Models, preferences, length differences, difficulties, and the published rates in points."""
    folder = test_data / "judge" / "alpaca_eval"
    wanted = {
        row["model"]: float(row["published_length_controlled_win_rate"])
        for row in table(folder / "published_length_controlled.csv")
    }
    models = sorted(wanted)
    preferences = np.full((len(models), 805), np.nan)
    differences = np.full_like(preferences, np.nan)
    with gzip.open(folder / "preferences.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["judge"] == JUDGE and row["pref"]:
                place = models.index(row["model"]), int(row["i"])
                value = float(row["pref"])
                preferences[place] = 0.5 if value == 0 else value - 1
                differences[place] = int(row["l2"]) - int(row["l1"])
    difficulty = np.zeros(805)
    for row in table(folder / "instruction_difficulty.csv"):
        difficulty[int(row["index"])] = float(row["instruction_difficulty"])
    return models, preferences, differences, difficulty, np.array([wanted[m] for m in models])


Published = tuple[list[str], Array, Array, Array, Array]


def test_published_rates_follow_from_the_published_weights(test_data: Path) -> None:
    folder = test_data / "judge" / "alpaca_eval"
    difficulty = np.zeros(805)
    for row in table(folder / "instruction_difficulty.csv"):
        difficulty[int(row["index"])] = float(row["instruction_difficulty"])
    rows = table(folder / "length_control_weights.csv")
    found = 100 * predicted_rates(
        np.array([float(row["model"]) for row in rows]),
        np.array([float(row["difficulty"]) for row in rows]),
        difficulty,
    )
    wanted = np.array([float(row["published_length_controlled_win_rate"]) for row in rows])
    assert len(rows) == 100
    assert (np.abs(found - wanted) < 0.001).sum() >= 94


def test_raw_preferences_and_lengths_alone_come_near_the_published_rates(
    published: Published,
) -> None:
    models, preferences, differences, _, wanted = published
    found = against_baseline(models, preferences, differences)
    rates = np.array([100 * one.win_rate for one in found])
    raw = 100 * np.nanmean(preferences, axis=1)
    assert np.abs(raw - wanted).mean() > 5  # so there is something to undo
    assert np.abs(rates - wanted).mean() <= 1.1
    assert spearmanr(rates, wanted)[0] >= 0.99
    held = [100 * o.ci[0] <= w <= 100 * o.ci[1] for o, w in zip(found, wanted, strict=True)]
    assert np.mean(held) >= 0.9


def test_with_the_published_difficulties_little_remains(published: Published) -> None:
    models, preferences, differences, difficulty, wanted = published
    found = against_baseline(models, preferences, differences, difficulties=difficulty)
    error = np.abs(np.array([100 * one.win_rate for one in found]) - wanted)
    assert error.mean() <= 0.7


def star(
    rng: np.random.Generator, skill: Array, slope: float, n: int, spread: float = 600.0
) -> tuple[Array, Array]:
    """Verdicts of models against a baseline with a planted taste for length; more skill writes
    longer answers."""
    differences = rng.normal(200 * skill[:, None], spread, (len(skill), n))
    scale = differences.std(axis=1, ddof=1, keepdims=True)
    chance = expit(skill[:, None] + slope * np.tanh(differences / scale) + rng.normal(0, 1, n))
    return (rng.random(chance.shape) < chance).astype(float), differences


def test_the_fit_of_one_model_is_the_maximum_of_its_likelihood() -> None:
    """Without pooling and difficulties the fit is a logistic regression; scipy finds the same."""
    rng = np.random.default_rng(4)
    y, delta = star(rng, np.array([0.5]), 1.5, 300)
    x = np.tanh(delta[0] / delta[0].std(ddof=1))

    def loss(free: Array) -> float:
        logits = free[0] + free[1] * x
        half_tie = 0.5 * np.logaddexp(0, free[0]) - 0.25 * free[0]
        fit = (np.logaddexp(0, logits) - y[0] * logits).sum()
        return float(fit + half_tie + free[1] ** 2 / (2 * 10.0**2))

    wanted = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    (found,) = against_baseline(["m"], y, delta)
    assert found.slope == pytest.approx(wanted[1], abs=1e-5)
    assert found.win_rate == pytest.approx(expit(wanted[0]), abs=1e-6)


def test_intervals_cover_the_rate_at_equal_length() -> None:
    skill = np.linspace(-1.0, 1.0, 10)
    grid = np.random.default_rng(0).normal(0, 1, 200_000)
    truth = np.array([expit(s + grid).mean() for s in skill])
    hits = total = 0
    for seed in range(40):
        y, delta = star(np.random.default_rng(seed), skill, 1.2, 300)
        models = [f"m{k}" for k in range(len(skill))]
        for one, value in zip(against_baseline(models, y, delta), truth, strict=True):
            hits += one.ci[0] <= value <= one.ci[1]
            total += 1
    assert 0.91 <= hits / total <= 0.99


@pytest.mark.parametrize("seed", range(8))
def test_a_judge_that_takes_the_longer_one_is_undone_for_equal_models(seed: int) -> None:
    rng = np.random.default_rng(seed)
    delta = rng.normal(250, 300, 80)  # the first model is the wordier one
    shares = (delta > 0).astype(float)
    assert shares.mean() > 0.65
    first, second = in_league(["wordy", "terse"], [0] * 80, [1] * 80, shares, delta, range(80))
    assert first.ci[0] <= 0.5 <= first.ci[1]
    assert abs(first.win_rate - 0.5) < abs(shares.mean() - 0.5)
    assert first.win_rate + second.win_rate == pytest.approx(1)
    assert first.slope > 1


def test_a_judge_that_does_not_mind_length_keeps_its_win_rates() -> None:
    rng = np.random.default_rng(1)
    a, b = np.repeat([0, 0, 1], 400), np.repeat([1, 2, 2], 400)
    skill = np.array([0.7, 0.0, -0.7])
    shares = (rng.random(1200) < expit(skill[a] - skill[b])).astype(float)
    questions = np.tile(np.arange(400), 3).tolist()
    found = in_league(["x", "y", "z"], a, b, shares, rng.normal(0, 300, 1200), questions)
    for k, one in enumerate(found):
        raw = np.concatenate([shares[a == k], 1 - shares[b == k]]).mean()
        assert one.win_rate == pytest.approx(raw, abs=0.02)
        assert one.ci[1] - one.ci[0] < 0.1
    assert [one.win_rate for one in found] == sorted((o.win_rate for o in found), reverse=True)


def test_four_repeats_of_a_question_are_one_question_s_evidence() -> None:
    rng = np.random.default_rng(2)
    delta, shares = rng.normal(0, 300, 60), (rng.random(60) < 0.6).astype(float)
    widths = []
    for times in (1, 4):
        (one, _) = in_league(
            ["a", "b"],
            [0] * 60 * times,
            [1] * 60 * times,
            np.tile(shares, times).tolist(),
            np.tile(delta, times).tolist(),
            list(range(60)) * times,
        )
        widths.append(one.ci[1] - one.ci[0])
    assert widths[1] > 0.85 * widths[0]


def test_what_can_t_be_computed_is_refused_with_its_reason() -> None:
    rng = np.random.default_rng(0)
    y, delta = star(rng, np.array([0.0, 0.5]), 1.0, 50)
    with pytest.raises(UncontrolledError, match="b differ from the baseline's by the same length"):
        against_baseline(["a", "b"], y, np.stack([delta[0], np.full(50, 7.0)]))
    holes = y.copy()
    holes[1, :25] = np.nan
    with pytest.raises(UncontrolledError, match=r"b has verdicts on 50 % .* different ones"):
        against_baseline(["a", "b"], holes, delta)
    unknown = delta.copy()
    unknown[0, 3] = np.nan
    with pytest.raises(UncontrolledError, match="not known"):
        against_baseline(["a", "b"], y, unknown)
    with pytest.raises(UncontrolledError, match="no verdict"):
        against_baseline(["a", "b"], np.full_like(y, np.nan), delta)
    with pytest.raises(UncontrolledError, match="can't be told apart"):
        in_league(["a", "b"], [0, 1], [1, 0], [1.0, 0.0], [5.0, -5.0], [0, 1])
    with pytest.raises(UncontrolledError, match="no comparison with a verdict for c"):
        in_league(["a", "b", "c"], [0, 0], [1, 1], [1.0, 0.0], [5.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match="between 0 and 1"):
        against_baseline(["a", "b"], y * 3, delta)
