"""Any two models of a page against each other: paired differences by task and overall.

The same items, pairing and arithmetic as the gate's, but two-sided: nobody is the baseline here.
Knows runs on disk, the leaderboard's capabilities and stats; knows no HTML.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalsuite.leaderboard.aggregate import enters_a_mean
from evalsuite.leaderboard.items import Items, task_items
from evalsuite.leaderboard.merge import Origin
from evalsuite.records import Leaderboard
from evalsuite.stats.paired import (
    Floats,
    PairedMeans,
    paired_difference,
    two_sided,
    weighted_sum,
)
from evalsuite.stats.regression import holm

# Of more models only the best are compared: 24 make 276 pairs, which take a second to test.
MOST_MODELS = 24
_ASKED = {
    "metric version": "another version of the metric",
    "examples": "another number of examples",
    "prompts": "other prompts",
    "targets": "other targets",
    "decoding": "other decoding settings",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """A task of a pair: means of both and their difference on the items that both have."""

    task: int
    n: int
    first: float
    second: float
    better: int  # items on which the first model is the better one
    worse: int
    means: PairedMeans
    asked: str


def compare_models(
    board: Leaderboard,
    origins: Mapping[str, Origin],
    groups: Mapping[str, Sequence[str]],
    tasks: Sequence[str],
) -> Mapping[str, Any] | None:
    """What the page's script shows of each pair of models; None for one model or without tasks.

    {"units": a unit a task, "down": the tasks where less is better, "pairs": {"0/1": {"overall":
    [difference, low, high, p] or null, "tasks": {"3": [n, value, value, difference, low, high, p,
    items better, items worse, what was asked otherwise]}, "without": {"4": why}}}, "left": models
    that are not compared}. Models and tasks are numbers in the page's order; a difference above 0
    means that the first is better; p values of tasks are Holm's over the pair's.

    Raises:
        UserError: a damaged samples file.
    """
    models = board.models[:MOST_MODELS]
    if len(models) < 2 or not tasks:
        return None
    units: dict[str, tuple[str, bool]] = {}
    found: list[dict[str, Items | str]] = []
    for model in models:
        origin = origins[model.name]
        its: dict[str, Items | str] = {}
        for task, score in model.tasks.items():
            metric = score.metrics[score.primary]
            units.setdefault(task, (metric.unit, metric.higher_is_better))
            its[task] = task_items(origin.run, origin.name, task, score)
        found.append(its)
    ranked = {
        capability: [task for task in members if task in units]
        for capability, members in groups.items()
        if all(enters_a_mean(*units[task]) for task in members if task in units)
    }
    weights = {
        task: 1 / (len(ranked) * len(members)) for members in ranked.values() for task in members
    }
    return {
        "units": [units[task][0] if task in units else "" for task in tasks],
        "down": [i for i, task in enumerate(tasks) if task in units and not units[task][1]],
        "pairs": {
            f"{a}/{b}": _pair(found[a], found[b], tasks, weights)
            for a, b in itertools.combinations(range(len(models)), 2)
        },
        "left": len(board.models) - len(models),
    }


def _pair(
    first: Mapping[str, Items | str],
    second: Mapping[str, Items | str],
    tasks: Sequence[str],
    weights: Mapping[str, float],
) -> dict[str, Any]:
    lines: list[_Line] = []
    without: dict[int, str] = {}
    for number, task in enumerate(tasks):
        line = _line(number, first.get(task), second.get(task))
        if isinstance(line, _Line):
            lines.append(line)
        elif line:
            without[number] = line
    if not lines:
        return {"overall": None, "tasks": {}, "without": without}
    means = PairedMeans.stack([line.means for line in lines])
    said = two_sided(means)
    adjusted = holm(said.p)
    rows = {
        line.task: [
            line.n,
            *_rounded(line.first, line.second, said.mean[i], said.low[i], said.high[i]),
            _small(adjusted[i]),
            line.better,
            line.worse,
            line.asked,
        ]
        for i, line in enumerate(lines)
    }
    inside = [i for i, line in enumerate(lines) if tasks[line.task] in weights]
    overall = None
    # A mean over some of the tasks would be another number than the leaderboard's.
    if inside and len(inside) == len(weights):
        part = PairedMeans.stack([lines[i].means for i in inside])
        whole = two_sided(weighted_sum(part, [weights[tasks[lines[i].task]] for i in inside]))
        overall = [*_rounded(whole.mean, whole.low, whole.high), _small(whole.p)]
    return {"overall": overall, "tasks": rows, "without": without}


def _line(number: int, first: Items | str | None, second: Items | str | None) -> _Line | str:
    """A task's line, or in words why there is none."""
    if first is None or second is None:
        return "measured for one of the two only"
    for one in (first, second):
        if isinstance(one, str):
            return one
    assert isinstance(first, Items)
    assert isinstance(second, Items)
    if first.asked.get("metric") != second.asked.get("metric"):
        return "another metric"
    a, b, groups = _shared(first, second)
    known = ~(np.isnan(a) | np.isnan(b))
    n = int(known.sum())
    if not n:
        return "no item has a result of both"
    a, b = a[known], b[known]
    differences = a - b if first.higher_is_better else b - a
    if groups is not None:
        groups = groups[known]
        groups = None if np.unique(groups).size == n else groups
    asked = [said for name, said in _ASKED.items() if _differs(first, second, name)]
    return _Line(
        number,
        n,
        float(a.mean()),
        float(b.mean()),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        paired_difference(differences, groups),
        ", ".join(asked),
    )


def _shared(first: Items, second: Items) -> tuple[Floats, Floats, Any]:
    """Both models' scores on the items that both have, and the first one's groups of these."""
    if np.array_equal(first.keys, second.keys):
        return first.scores, second.scores, first.groups
    _, one, two = np.intersect1d(first.keys, second.keys, assume_unique=True, return_indices=True)
    groups = None if first.groups is None else first.groups[one]
    return first.scores[one], second.scores[two], groups


def _differs(first: Items, second: Items, name: str) -> bool:
    if not np.array_equal(first.keys, second.keys) and name in ("prompts", "targets", "decoding"):
        return False  # digests are over all items: of other items they say nothing
    one, two = first.asked.get(name, ""), second.asked.get(name, "")
    return bool(one and two and one != two)


def _rounded(*values: Any) -> list[float | None]:
    """Six significant digits; nothing for what is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _small(p: Any) -> float:
    return float(f"{p:.3g}")
