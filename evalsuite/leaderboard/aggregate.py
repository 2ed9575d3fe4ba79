"""Task results in, a leaderboard out: values with their intervals, capabilities, overall, ranks.

Knows the records and stats; knows no file, no engine, no lm-eval. What can't be computed is None
here, and `explain` (explain.py) says why in words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evalsuite.records import (
    Estimate,
    Failure,
    Leaderboard,
    MetricResult,
    MetricScore,
    ModelScore,
    TaskInfo,
    TaskResult,
    TaskScore,
)
from evalsuite.stats import (
    Interval,
    Paired,
    Unpaired,
    bootstrap_mean,
    mean_of_estimates,
    normal,
    rank_ranges,
    wilson,
)

CAPABILITIES = ("commonsense", "qa", "math", "code", "language", "other")
_NOTHING = Estimate(None, None)

Results = Mapping[str, TaskResult]  # of one model, by task


def aggregate(
    results: Sequence[TaskResult],
    failures: Sequence[Failure],
    models: Sequence[str],
    *,
    seed: int = 0,
    times: Mapping[str, object] | None = None,
) -> Leaderboard:
    """The leaderboard of `models` (in the order they were asked for), best first.

    A capability is the mean of its tasks' primary metrics, overall the mean of the capabilities;
    both are None for a model that lacks a task which another has. A capability with a primary
    metric that is no share of 0..1, or is better when lower, is None for every model, and overall
    is the mean of the others. Intervals are 95 %. Ranks depend on `results` and `seed` only, not
    on the order of `models`. Models without an overall come last, in the order asked for.

    Raises:
        ValueError: two results for one model and task, or a result for a model not in `models`.
    """
    tasks: dict[str, TaskInfo] = {}
    by_model: dict[str, dict[str, TaskResult]] = {name: {} for name in models}
    for result in results:
        if result.model not in by_model:
            raise ValueError(f"a result of {result.model!r}, which is not among the models")
        if result.info.name in by_model[result.model]:
            raise ValueError(f"two results of {result.model!r} for {result.info.name!r}")
        by_model[result.model][result.info.name] = result
        tasks.setdefault(result.info.name, result.info)

    groups = capability_tasks({name: info.capability for name, info in tasks.items()})
    usable = {
        capability: members
        for capability, members in groups.items()
        if all(_can_rank(by_model[model], task) for model in models for task in members)
    }
    scores = [_model_score(name, by_model[name], groups, usable, seed) for name in models]
    ranked = sorted(score.name for score in scores if score.overall.value is not None)
    ranks = _ranks([by_model[name] for name in ranked], usable, seed)
    places = dict(zip(ranked, ranks, strict=True)) if ranks else {}
    scores = [replace(score, rank=places.get(score.name)) for score in scores]
    scores.sort(key=lambda s: math.inf if s.overall.value is None else -s.overall.value)
    return Leaderboard(models=tuple(scores), failed=tuple(failures), times=dict(times or {}))


def capability_tasks(capability_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Tasks by capability; the known capabilities first, in their usual order."""
    found = dict.fromkeys(capability_of.values())
    order = [c for c in CAPABILITIES if c in found] + sorted(set(found) - set(CAPABILITIES))
    return {c: [task for task, its in capability_of.items() if its == c] for c in order}


def enters_a_mean(unit: str, higher_is_better: bool) -> bool:
    """Whether a metric may be averaged with others: shares of 1 where more is better.

    The one place that decides it, for the numbers and for the words that explain them.
    """
    return unit == "share" and higher_is_better


# ---- one model ----------------------------------------------------------------------------------


def _model_score(
    name: str,
    results: Results,
    groups: Mapping[str, Sequence[str]],
    usable: Mapping[str, Sequence[str]],
    seed: int,
) -> ModelScore:
    tasks = {task: _task_score(result, seed) for task, result in results.items()}
    capabilities = {
        capability: _mean(
            [_primary_estimate(tasks[task]) if task in tasks else _NOTHING for task in members]
        )
        if capability in usable
        else _NOTHING
        for capability, members in groups.items()
    }
    overall = _mean([capabilities[capability] for capability in usable])
    return ModelScore(name, None, overall, capabilities, tasks)


def _task_score(result: TaskResult, seed: int) -> TaskScore:
    primary = result.info.primary
    first = sorted(result.metrics, key=lambda metric: (metric.name != primary, metric.name))
    metrics = {metric.name: _metric_score(metric, result.n, seed) for metric in first}
    return TaskScore(primary, metrics, result.truncated, result.errors)


def _metric_score(metric: MetricResult, n: int, seed: int) -> MetricScore:
    return MetricScore(
        value=metric.value,
        ci=_interval(metric, seed),
        n=n if metric.items is None else len(metric.items),
        stderr=metric.stderr,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
    )


def _interval(metric: MetricResult, seed: int) -> Interval | None:
    items = np.asarray(metric.items or (), dtype=np.float64)
    if not math.isfinite(metric.value) or not np.isfinite(items).all():
        return None
    if items.size == 0:
        known = metric.stderr is not None and math.isfinite(metric.stderr)
        return normal(metric.value, float(metric.stderr or 0.0)) if known else None
    if metric.unit == "share" and np.isin(items, (0.0, 1.0)).all():
        return wilson(float(items.sum()), items.size)
    within = metric.unit == "share" and items.min() >= 0 and items.max() <= 1
    return bootstrap_mean(items, seed, share=bool(within))


def _primary_estimate(task: TaskScore) -> Estimate:
    metric = task.metrics[task.primary]
    return Estimate(metric.value, metric.ci)


def _mean(parts: Sequence[Estimate]) -> Estimate:
    """The mean of estimates; nothing if one of them is missing, no interval if one has none."""
    values = [part.value for part in parts if part.value is not None]
    if not parts or len(values) < len(parts):
        return _NOTHING
    intervals = [part.ci for part in parts if part.ci is not None]
    value = math.fsum(values) / len(values)
    if len(intervals) < len(parts):
        return Estimate(value, None)
    return Estimate(value, mean_of_estimates(values, intervals))


def _can_rank(results: Results, task: str) -> bool:
    """Whether the task may enter its capability: a task not measured is another matter (None)."""
    if task not in results:
        return True
    metric = _primary(results[task])
    return (
        metric is not None
        and enters_a_mean(metric.unit, metric.higher_is_better)
        and math.isfinite(metric.value)
    )


def _primary(result: TaskResult) -> MetricResult | None:
    return next((m for m in result.metrics if m.name == result.info.primary), None)


# ---- ranks --------------------------------------------------------------------------------------


def _ranks(
    models: Sequence[Results], usable: Mapping[str, Sequence[str]], seed: int
) -> tuple[tuple[int, int], ...] | None:
    """One range a model, in the order of `models`; None when some task's spread is unknown."""
    if not models:
        return None
    strata: list[Paired | Unpaired] = []
    for members in usable.values():
        weight = 1 / (len(usable) * len(members))
        for task in sorted(members):
            stratum = _stratum([results[task] for results in models], weight)
            if stratum is None:
                return None
            strata.append(stratum)
    return rank_ranges(strata, seed)


def _stratum(results: Sequence[TaskResult], weight: float) -> Paired | Unpaired | None:
    metrics = [metric for result in results if (metric := _primary(result)) is not None]
    scores = _paired_scores(results, metrics)
    if scores is not None:
        return Paired(weight, scores)
    stderrs = [_stderr(metric) for metric in metrics]
    known = [stderr for stderr in stderrs if stderr is not None and math.isfinite(stderr)]
    if len(known) < len(metrics):
        return None
    return Unpaired(weight, np.array([metric.value for metric in metrics]), np.array(known))


def _paired_scores(
    results: Sequence[TaskResult], metrics: Sequence[MetricResult]
) -> NDArray[np.float64] | None:
    """Scores [n, models] of the items that every model has; None without any."""
    columns: list[dict[tuple[str, int], float]] = []
    for result, metric in zip(results, metrics, strict=True):
        if not metric.items or len(metric.items) != len(result.item_ids):
            return None
        columns.append(dict(zip(_keys(result.item_ids), metric.items, strict=True)))
    shared = [key for key in columns[0] if all(key in column for column in columns[1:])]
    if not shared:
        return None
    scores = np.array([[column[key] for column in columns] for key in shared], dtype=np.float64)
    return scores if np.isfinite(scores).all() else None


def _keys(item_ids: Iterable[str]) -> list[tuple[str, int]]:
    """Item ids made unique: a data set may hold the same document twice."""
    seen: Counter[str] = Counter()
    keys = []
    for item in item_ids:
        keys.append((item, seen[item]))
        seen[item] += 1
    return keys


def _stderr(metric: MetricResult) -> float | None:
    if metric.stderr is None and metric.items is not None and len(metric.items) > 1:
        return float(np.std(metric.items, ddof=1) / math.sqrt(len(metric.items)))
    return metric.stderr
