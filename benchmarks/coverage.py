"""How often 95 % intervals hold the truth, in simulated leagues with ties and question effects.

    python benchmarks/coverage.py --leagues 400 --seed 1

Each league: models of drawn strength, questions that suit some models more than others (which is
what makes verdicts on one question hang together), ties. The truth is where a league of endless
questions would settle. Prints one JSON line a setting, with the coverage of ratings, win rates,
pairs' win rates and length-controlled rates, each with its Monte-Carlo error; exit code 1 when one
of ratings and win rates over all settings lies outside 93 to 97 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalsuite.stats.length_league import in_league
from evalsuite.stats.ratings import Comparison, rate, win_rate_intervals, win_rates
from evalsuite.stats.strengths import fit_many

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """`effect` is the standard deviation of a question's taste for a model, `length` the judge's
    taste for one standard deviation of length, both on the logit scale."""

    strength: tuple[float, ...]
    questions: int
    effect: float = 0.8
    tie: float = 0.25
    length: float = 0.0


SETTINGS = (
    Setting((0.8, 0.2, -0.3, -0.7), 60),
    Setting((0.8, 0.2, -0.3, -0.7), 160, tie=0.4),
    Setting((0.3, -0.3), 80, effect=1.2),
    Setting((1.5, 0.5, 0.0, -0.5, -1.5), 80, effect=0.5),
    Setting((0.5, 0.0, -0.5), 80, length=1.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--leagues", type=int, default=400, help="of each setting")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    every: dict[str, list[float]] = {}
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng([options.seed, number])
        found = coverage(setting, rng, options.leagues, options.resamples)
        for name, its in found.items():
            every.setdefault(name, []).extend(its)
        print(json.dumps({"setting": vars(setting), "leagues": options.leagues, **_shares(found)}))
    print(json.dumps({"setting": "all", **_shares(every)}))
    inside = (0.93 <= float(np.mean(every[name])) <= 0.97 for name in ("rating", "win_rate"))
    return 0 if all(inside) else 1


def _shares(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Mean coverage and its Monte-Carlo error; a league's intervals hang together."""
    return {
        name: [round(float(np.mean(its)), 4), round(float(np.std(its)) / len(its) ** 0.5, 4)]
        for name, its in found.items()
    }


def coverage(
    setting: Setting, rng: np.random.Generator, leagues: int, resamples: int
) -> dict[str, list[float]]:
    """Share of each league's intervals that held the truth, by kind."""
    m = len(setting.strength)
    names = [f"m{k}" for k in range(m)]
    endless, at_equal_length = truth(setting)
    true_ratings = fit_many(endless[None], np.full(m, 1000.0))[0]
    true_rates, controlled = win_rates(endless), win_rates(at_equal_length)
    hits: dict[str, list[bool]] = {"rating": [], "win_rate": [], "pair": []}
    if setting.length:
        hits["length_controlled"] = []
    for seed in range(leagues):
        firsts, seconds, shares, differences, questions = play(setting, rng)
        comparisons = [
            Comparison(q, names[a], names[b], s)
            for q, a, b, s in zip(questions, firsts, seconds, shares, strict=True)
        ]
        for k, one in enumerate(rate(names, comparisons, seed, resamples)):
            hits["rating"].append(one.rating_ci[0] <= true_ratings[k] <= one.rating_ci[1])
            hits["win_rate"].append(one.win_rate_ci[0] <= true_rates[k] <= one.win_rate_ci[1])
        for a, b in itertools.combinations(range(m), 2):
            its = [c for c in comparisons if (c.a, c.b) == (names[a], names[b])]
            pair = win_rate_intervals([names[a], names[b]], its, seed, resamples)[0]
            assert pair is not None
            hits["pair"].append(pair[1][0] <= endless[a, b] <= pair[1][1])
        if setting.length:
            league = in_league(names, firsts, seconds, shares, differences, questions)
            for k, rated in enumerate(league):
                hits["length_controlled"].append(rated.ci[0] <= controlled[k] <= rated.ci[1])
    return {k: np.reshape(its, (leagues, -1)).mean(axis=1).tolist() for k, its in hits.items()}


def play(
    setting: Setting, rng: np.random.Generator
) -> tuple[list[int], list[int], list[float], list[float], list[int]]:
    """One league: places of the two models, the first one's share, its extra length, question."""
    m, n = len(setting.strength), setting.questions
    level = np.array(setting.strength) + rng.normal(0, setting.effect, (n, m))
    length = rng.normal(np.linspace(0.5, -0.5, m), 1.0, (n, m))
    rows: tuple[list[int], list[int], list[float], list[float], list[int]] = ([], [], [], [], [])
    for a, b in itertools.combinations(range(m), 2):
        delta = length[:, a] - length[:, b]
        taste = setting.length * np.tanh(delta / delta.std())
        chance = 1 / (1 + np.exp(level[:, b] - level[:, a] - taste))
        share = np.where(rng.random(n) < setting.tie, 0.5, rng.random(n) < chance)
        rows[0].extend([a] * n)
        rows[1].extend([b] * n)
        rows[2].extend(share.tolist())
        rows[3].extend(delta.tolist())
        rows[4].extend(range(n))
    return rows


def truth(setting: Setting) -> tuple[Array, Array]:
    """Win shares [m, m] that endless questions would give, as judged and at equal length."""
    rng = np.random.default_rng(0)
    m = len(setting.strength)
    shares = np.zeros((2, m, m))
    effects = rng.normal(0, setting.effect * math.sqrt(2), 200_000)
    lengths = rng.normal(0, math.sqrt(2), 200_000)
    means = np.linspace(0.5, -0.5, m)
    for a, b in itertools.permutations(range(m), 2):
        gap = setting.strength[a] - setting.strength[b] + effects
        taste = setting.length * np.tanh((lengths + means[a] - means[b]) / math.sqrt(2))
        for k, logit in enumerate((gap + taste, gap)):
            won = (1 / (1 + np.exp(-logit))).mean()
            shares[k, a, b] = setting.tie / 2 + (1 - setting.tie) * won
    # Both triangles estimate the same; together they add up to one exactly.
    shares = (shares + 1 - np.swapaxes(shares, 1, 2)) / 2
    shares[:, np.arange(m), np.arange(m)] = 0.0
    return shares[0], shares[1]


if __name__ == "__main__":
    raise SystemExit(main())
