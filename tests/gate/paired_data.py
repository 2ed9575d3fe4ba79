"""What the paired data of two runs say, worked out from the samples files alone.

An oracle for the gate: it shares no code with it. Documents are paired by their number, each task
is tested by scipy's paired t test or an exact McNemar mid-p in rational numbers, Holm's procedure
is stepped through as its paper does, and the bounds come from samples with two more items written
out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MEAN_LEVEL, TASKS_LEVEL, BOUND_LEVEL, POWER = 0.01, 0.04, 0.05, 0.8
FEW = 50  # changed items: fewer are tested exactly


@dataclass(frozen=True)
class Said:
    """`dropped` are the tasks with a certain drop, `difference` the mean's in points."""

    verdict: str
    difference: float
    mean_p: float
    dropped: tuple[str, ...]
    changed: tuple[int, int]  # items that got better and worse, in all tasks


def differences(before: Path, after: Path) -> dict[str, NDArray[np.float64]]:
    """{task: run minus baseline of each document's score} from two runs' samples files."""
    old, new = _scores(before), _scores(after)
    assert old.keys() == new.keys()
    found = {}
    for task, scores in old.items():
        assert scores.keys() == new[task].keys(), task
        assert all(scores[doc][0] == new[task][doc][0] for doc in scores), task  # same documents
        found[task] = np.array([new[task][doc][1] - scores[doc][1] for doc in sorted(scores)])
    return found


def _scores(run: Path) -> dict[str, dict[int, tuple[str, float]]]:
    """{task: {doc_id: (the document, its score)}} of a run of one model."""
    found: dict[str, dict[int, tuple[str, float]]] = {}
    for path in sorted(run.glob("*/samples_*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        metrics = {row["metrics"][0] for row in rows}
        assert len(metrics) == len({row["filter"] for row in rows}) == 1, path
        scores = {
            row["doc_id"]: (json.dumps(row["doc"], sort_keys=True), float(row[row["metrics"][0]]))
            for row in rows
        }
        assert len(scores) == len(rows), path
        found[path.name.removeprefix("samples_").rpartition("_")[0]] = scores
    return found


def what_they_say(before: Path, after: Path, margin: float = 1.0) -> Said:
    """The verdict that docs/gate.md describes, for runs of one model on right or wrong."""
    by_task = differences(before, after)
    assert all(np.isin(its, (-1, 0, 1)).all() for its in by_task.values())
    dropped = _holm({task: _p_drop(its) for task, its in by_task.items()})
    # The same items and two more, one for the better and one for the worse.
    errors, freedom = [], []
    certain = []
    for task, its in by_task.items():
        wider = np.append(its, (1, -1))
        errors.append(wider.std(ddof=1) / math.sqrt(len(wider)))
        freedom.append(len(its) - 1)
        bound = its.mean() - stats.t.isf(BOUND_LEVEL, freedom[-1]) * errors[-1]
        if task in dropped and 100 * bound <= -margin:
            certain.append(task)
    k = len(by_task)
    mean = sum(its.mean() for its in by_task.values()) / k
    variances = [error**2 for error in errors]
    stderr = math.sqrt(sum(variances)) / k
    df = sum(variances) ** 2 / sum(v**2 / n for v, n in zip(variances, freedom, strict=True))
    p = float(stats.t(df, scale=stderr).cdf(mean))
    bound = mean + stats.t(df, scale=stderr).ppf(BOUND_LEVEL)
    held = 100 * bound > -margin
    visible = stderr * (stats.t.isf(MEAN_LEVEL, df) + stats.t.ppf(POWER, df))
    if certain or (p <= MEAN_LEVEL and not held):
        verdict = "regressed"
    elif held:
        verdict = "no drop beyond the margin"
    else:
        seen = 100 * visible <= margin
        verdict = "not shown" if seen else "could not have been seen"
    every = np.concatenate(list(by_task.values()))
    changed = int((every > 0).sum()), int((every < 0).sum())
    return Said(verdict, 100 * mean, p, tuple(sorted(certain)), changed)


def _p_drop(its: NDArray[np.float64]) -> float:
    better, worse = int((its == 1).sum()), int((its == -1).sum())
    n = better + worse
    if n >= FEW:
        return float(stats.ttest_1samp(its, 0, alternative="less").pvalue)
    # Of n fair coins: more than `worse` heads, and half of exactly so many.
    ways = 2 * sum(math.comb(n, i) for i in range(worse + 1, n + 1)) + math.comb(n, worse)
    return float(Fraction(ways, 2 ** (n + 1)))


def _holm(p: dict[str, float]) -> set[str]:
    """The tasks that Holm's procedure rejects at the tasks' level, the smallest p first."""
    rejected: set[str] = set()
    for left, (task, value) in zip(
        range(len(p), 0, -1), sorted(p.items(), key=lambda one: one[1]), strict=True
    ):
        if value > TASKS_LEVEL / left:
            break
        rejected.add(task)
    return rejected


def sign_flips(before: Path, after: Path, draws: int = 20_000, seed: int = 0) -> float:
    """The chance of a mean this low when each changed item is as likely better as worse.

    A permutation test of the mean over tasks: it assumes nothing of how differences are spread.
    """
    rng = np.random.default_rng(seed)
    seen, drawn = 0.0, np.zeros(draws)
    for its in differences(before, after).values():
        worse, n = int((its < 0).sum()), int((its != 0).sum())
        seen += (n - 2 * worse) / len(its)
        drawn += (n - 2 * rng.binomial(n, 0.5, draws)) / len(its)
    return float(((drawn <= seen + 1e-12).sum() + 1) / (draws + 1))
