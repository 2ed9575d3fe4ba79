"""What chosen games are worth: intervals and their coverage, against random games of that number.

    python benchmarks/matchmaking.py --leagues 200 --seed 1

Each league: models of drawn strength, questions that suit some models more than others, ties. The
same league is played three times with a share of its games: chosen by matchmaking, drawn at random,
and every pair alike. Prints one JSON line a setting: mean width of the rating intervals, their
coverage of the ratings that endless questions would give, and the root mean square error. Exit code
1 when chosen games over all settings are no narrower than random ones, or cover less than 93 or
more than 97 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.judge.calls import Call
from evalsuite.judge.matches import make_matches
from evalsuite.judge.matchmaking import Matchmaking
from evalsuite.judge.records import Match, Question
from evalsuite.records import Game, Verdict
from evalsuite.stats.ratings import Comparison, rate
from evalsuite.stats.strengths import fit_many
from evalsuite.store import Store

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """`spread` is the standard deviation of the models' strengths, `effect` that of a question's
    taste for a model, both on the logit scale; `share` is how many of all games are played. `tie`
    of the decisions between equals are ties: fewer the further two are apart, or with `flat` as
    many everywhere, which no Bradley-Terry league has."""

    models: int
    questions: int
    spread: float
    effect: float = 0.8
    tie: float = 0.25
    share: float = 0.3
    flat: bool = False


SETTINGS = (
    Setting(8, 80, 1.0),
    Setting(8, 80, 2.0),
    Setting(8, 80, 0.3),
    Setting(12, 60, 1.5, share=0.15),
    Setting(8, 80, 1.0, flat=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--leagues", type=int, default=200, help="of each setting")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", type=int, nargs="*", default=range(len(SETTINGS)))
    options = parser.parse_args()
    every: dict[str, list[tuple[float, float, float]]] = {}
    for number in options.settings:
        setting = SETTINGS[number]
        rng = np.random.default_rng([options.seed, number])
        found = simulate(setting, rng, options.leagues, options.resamples)
        print(json.dumps({**vars(setting), "leagues": options.leagues, **_means(found)}))
        for kind, rows in found.items():
            every.setdefault(kind, []).extend(rows)
    means = _means(every)
    print(json.dumps({"setting": "all", **means}))
    chosen = means["chosen"]
    narrower = chosen["width"] < means["random"]["width"]
    return 0 if narrower and 0.93 <= chosen["coverage"] <= 0.97 else 1


def _means(found: dict[str, list[tuple[float, float, float]]]) -> dict[str, dict[str, float]]:
    out = {}
    for kind, rows in found.items():
        width, coverage, square = np.array(rows).mean(axis=0)
        out[kind] = {
            "width": round(width, 1),
            "coverage": round(coverage, 4),
            "coverage_error": round(float(np.std([row[1] for row in rows])) / len(rows) ** 0.5, 4),
            "error": round(square**0.5, 1),
        }
    return out


def simulate(
    setting: Setting, rng: np.random.Generator, leagues: int, resamples: int
) -> dict[str, list[tuple[float, float, float]]]:
    """(mean width, coverage, mean squared error) of the ratings, a row a league, by way of play."""
    m, n = setting.models, setting.questions
    names = [f"m{k:02}" for k in range(m)]
    questions = [Question(str(k), f"c{k % 8}", ("?",)) for k in range(n)]
    matches = make_matches(questions, names)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(leagues):
        strength = rng.normal(0, setting.spread, m)
        level = strength + rng.normal(0, setting.effect, (n, m))
        verdicts = play(setting, level, rng)
        truth = endless(setting, strength)
        budget = round(setting.share * len(matches))
        units = [(a, b, q) for q in range(n) for a, b in itertools.combinations(range(m), 2)]
        by_pair = sorted(units, key=lambda u: (u[:2], rng.random()))
        place = {unit: k % n for k, unit in enumerate(by_pair)}
        ways = {
            "chosen": chosen_units(matches, verdicts, names, budget, seed),
            "random": [units[k] for k in rng.choice(len(units), budget // 2, replace=False)],
            "alike": sorted(units, key=lambda u: (place[u], rng.random()))[: budget // 2],
        }
        for kind, its in ways.items():
            comparisons = [Comparison(q, names[a], names[b], verdicts[q, a, b]) for a, b, q in its]
            ratings = rate(names, comparisons, seed, resamples)
            found.setdefault(kind, []).append(
                (
                    float(np.mean([one.rating_ci[1] - one.rating_ci[0] for one in ratings])),
                    float(
                        np.mean(
                            [
                                one.rating_ci[0] <= truth[k] <= one.rating_ci[1]
                                for k, one in enumerate(ratings)
                            ]
                        )
                    ),
                    float(np.mean([(one.rating - truth[k]) ** 2 for k, one in enumerate(ratings)])),
                )
            )
    return found


def chosen_units(
    matches: Sequence[Match], verdicts: Array, names: Sequence[str], budget: int, seed: int
) -> list[tuple[int, int, int]]:
    """What the judging room's own matchmaking plays, told each round's verdicts."""
    place = {name: k for k, name in enumerate(names)}
    calls = [Call(match.question, 0, ("",), ("",), b"") for match in matches]
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        making = Matchmaking(matches, calls, budget, seed, store, "run")
        games: list[Game] = []
        while making.choose(games):
            games = [_game(match, verdicts, place) for match in making.chosen]
        units = {
            (*sorted((place[match.first], place[match.second])), int(match.question.question_id))
            for match in making.chosen
        }
    return sorted(units)  # type: ignore[arg-type]


def _game(match: Match, verdicts: Array, place: dict[str, int]) -> Game:
    a, b = place[match.first], place[match.second]
    score = verdicts[int(match.question.question_id), min(a, b), max(a, b)]
    share = score if a < b else 1 - score
    verdict: Verdict = "tie" if share == 0.5 else "first" if share == 1 else "second"
    winner = {"first": match.first, "second": match.second}.get(verdict)
    return Game(
        question_id=match.question.question_id,
        category=match.question.category,
        turn=1,
        first=match.first,
        second=match.second,
        repeat=1,
        judge="j",
        preset="p",
        verdict=verdict,
        winner=winner,
        scores=None,
        raw_reply=None,
        tokens={},
        cost=None,
        key="",
        lengths=(1, 1),
    )


def play(setting: Setting, level: Array, rng: np.random.Generator) -> Array:
    """Every pair's share on every question, a before b by place. [questions, m, m]"""
    gap = level[:, :, None] - level[:, None, :]
    ties, wins = chances(setting, gap)
    drawn = rng.random(gap.shape)
    return np.where(drawn < ties, 0.5, np.where(drawn < ties + wins, 1.0, 0.0))


def chances(setting: Setting, gap: Array) -> tuple[Array, Array]:
    """Chances of a tie and of a win at a gap on the logit scale."""
    better = 1 / (1 + np.exp(-gap))
    if setting.flat:
        return np.full_like(gap, setting.tie), (1 - setting.tie) * better
    ties = 4 * setting.tie * better * (1 - better)
    return ties, better - ties / 2


def endless(setting: Setting, strength: Array) -> Array:
    """Ratings that the full league of endless questions would settle at. [m]"""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    taste = nodes * setting.effect * 2**0.5
    gap = strength[:, None] - strength[None, :]
    ties, wins = chances(setting, gap[..., None] + taste)
    shares = (ties / 2 + wins) @ (weights / weights.sum())
    np.fill_diagonal(shares, 0.0)
    return fit_many(shares[None], np.full(len(strength), 1000.0))[0]


if __name__ == "__main__":
    raise SystemExit(main())
