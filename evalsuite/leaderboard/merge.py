"""Several runs as one leaderboard: for models that were measured at different times.

Knows runs on disk and aggregation. Items come back from the runs' samples, so that models of
different runs are compared on the items that they share, as models of one run are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalsuite.leaderboard.aggregate import aggregate
from evalsuite.leaderboard.files import Run
from evalsuite.records import Leaderboard, MetricResult, TaskInfo, TaskResult, TaskScore


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model of a merged leaderboard comes from: its run, and its name there."""

    run: Run
    name: str


def merge_runs(runs: Sequence[Run]) -> tuple[Leaderboard, dict[str, Origin]]:
    """One leaderboard of all models of `runs`, and each model's origin by its name in it.

    A name that stands in several runs gets its run folder's name appended. One run comes back as
    it is. Of several, capabilities and overall are computed again over all tasks: a task that a
    model's run did not measure is missing for it.
    """
    if len(runs) == 1:
        board = runs[0].leaderboard
        return board, {model.name: Origin(runs[0], model.name) for model in board.models}
    origins = _names(runs)
    labels = {(id(origin.run), origin.name): label for label, origin in origins.items()}
    results = [
        _result(label, origin, task, score)
        for label, origin in origins.items()
        for model in origin.run.leaderboard.models
        if model.name == origin.name
        for task, score in model.tasks.items()
    ]
    failures = [
        replace(failure, model=labels.get((id(run), failure.model), failure.model))
        for run in runs
        for failure in run.leaderboard.failed
    ]
    seed = next((s for run in runs if isinstance(s := run.manifest.get("seed"), int)), 0)
    board = aggregate(results, failures, list(origins), seed=seed)
    # A value, its interval and its n stay what the run itself reported.
    models = []
    for model in board.models:
        origin = origins[model.name]
        own = next(m for m in origin.run.leaderboard.models if m.name == origin.name)
        models.append(replace(model, tasks=own.tasks, judges=own.judges))
    held = [run.leaderboard.code_execution for run in runs if run.leaderboard.code_execution]
    weakest = "unsafe" if "unsafe" in held else next(iter(held), None)
    return replace(board, models=tuple(models), code_execution=weakest), origins


def _names(runs: Sequence[Run]) -> dict[str, Origin]:
    uses = Counter(model.name for run in runs for model in run.leaderboard.models)
    origins: dict[str, Origin] = {}
    for run in runs:
        for model in run.leaderboard.models:
            label = model.name
            if uses[label] > 1:
                label = f"{model.name} ({run.path.resolve().name})"
            free, number = label, 2
            while free in origins:
                free, number = f"{label} {number}", number + 1
            origins[free] = Origin(run, model.name)
    return origins


def _result(label: str, origin: Origin, task: str, score: TaskScore) -> TaskResult:
    known = (origin.run.manifest.get("tasks") or {}).get(task) or {}
    info = TaskInfo(
        name=task,
        capability=known.get("capability", "other"),
        version=str(known.get("version", "")),
        output_type=known.get("output_type", ""),
        num_fewshot=int(known.get("num_fewshot") or 0),
        primary=score.primary,
    )
    ids, items = _items(origin.run.samples(origin.name, task), score.primary)
    metrics = tuple(
        MetricResult(
            name=name,
            value=metric.value,
            stderr=metric.stderr,
            higher_is_better=metric.higher_is_better,
            unit=metric.unit,
            items=items if name == score.primary and _is_mean(metric.value, items) else None,
        )
        for name, metric in score.metrics.items()
    )
    n = max((metric.n for metric in score.metrics.values()), default=0)
    return TaskResult(label, info, metrics, n, ids, score.truncated, score.errors)


def _items(samples: Iterable[Mapping[str, Any]], primary: str) -> tuple[tuple[str, ...], Any]:
    """Ids and numbers of a task's items under its main metric; None if some have no number."""
    metric, _, wanted = primary.partition(",")
    ids: list[str] = []
    items: list[float] = []
    for sample in samples:
        if str(sample.get("filter", "none")) != (wanted or "none"):
            continue
        value = sample.get(metric)
        if not isinstance(value, bool | int | float):
            return (), None
        ids.append(str(sample.get("doc_hash", sample.get("doc_id"))))
        items.append(float(value))
    return tuple(ids), tuple(items) or None


def _is_mean(value: float, items: Sequence[float] | None) -> bool:
    """Whether the value is the items' mean: not so for metrics that lm-eval computes otherwise."""
    return bool(items) and math.isclose(
        value, math.fsum(items or ()) / len(items or (0,)), rel_tol=1e-9, abs_tol=1e-9
    )
