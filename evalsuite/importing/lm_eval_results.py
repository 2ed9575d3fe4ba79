"""Reads what lm-eval wrote: results_<date>.json with samples beside it, one folder a model.

Numbers are taken as they stand; samples give the items by which models are paired. Knows lm-eval's
files and our catalogue of tasks; runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.harness.catalog import data_capabilities, list_tasks
from evalsuite.harness.evaluate import item_ids, unit_of
from evalsuite.harness.infos import metric_name
from evalsuite.importing.published import Published
from evalsuite.leaderboard import CAPABILITIES
from evalsuite.reading import parse_json, read_rows, read_text
from evalsuite.records import MetricResult, TaskInfo, TaskResult, UserError

# Which metric ranks when a task's file does not say: the first of these that it has.
_PRIMARY = ("exact_match", "acc_norm", "acc", "em", "f1")


def read_lm_eval(path: Path) -> Published:
    """The newest results of every folder below `path` (or of one file) as task results.

    Raises:
        UserError: no results, a damaged file, or two models of one name.
    """
    files = _newest(path)
    results: list[TaskResult] = []
    samples: dict[str, list[Path]] = {}
    notes: list[str] = []
    for file in files:
        content = _object(file)
        model = _model(content, file)
        if model in samples:
            raise UserError(f"{file}: results of {model} were read from another folder already")
        samples[model] = [file]
        for task in _leaves(content):
            found = _samples(file, task)
            if found is None:
                notes.append(f"{model}: no samples of {task}, so its items can't be paired")
            else:
                samples[model].append(found)
            result = _result(model, task, content, found, file)
            if result is None:
                notes.append(f"{model}: {task} has no metric with a number")
            else:
                results.append(result)
    if not results:
        raise UserError(f"{path}: no task with a number in lm-eval's results")
    sources = [file for its in samples.values() for file in its]
    return Published(
        models=tuple(samples),
        sources=tuple(sources),
        results=tuple(results),
        samples=samples,
        notes=tuple(notes),
    )


def _newest(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    by_folder: dict[Path, Path] = {}
    for file in sorted(path.glob("**/results_*.json")) if path.is_dir() else []:
        by_folder[file.parent] = file  # dates in the names sort
    if not by_folder:
        raise UserError(f"{path}: no results_<date>.json of lm-eval in it")
    return list(by_folder.values())


def _object(file: Path) -> dict[str, Any]:
    content = parse_json(read_text(file, "lm-eval's results"), str(file))
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise UserError(f"{file}: not results of lm-eval")
    return content


def _model(content: Mapping[str, Any], file: Path) -> str:
    return str(content.get("model_name") or file.parent.name)


def _leaves(content: Mapping[str, Any]) -> list[str]:
    """The tasks proper; a group's line is the mean of lines that are there themselves."""
    groups = {name for name, members in (content.get("group_subtasks") or {}).items() if members}
    return [task for task in content["results"] if task not in groups]


def _samples(file: Path, task: str) -> Path | None:
    """The samples of the same date; lm-eval dates the two files of a run alike."""
    date = file.name.removeprefix("results_").removesuffix(".json")
    found = file.with_name(f"samples_{task}_{date}.jsonl")
    return found if found.is_file() else None


def _result(
    model: str, task: str, content: Mapping[str, Any], samples: Path | None, file: Path
) -> TaskResult | None:
    config = (content.get("configs") or {}).get(task) or {}
    higher = (content.get("higher_is_better") or {}).get(task) or {}
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for where, sample in read_rows(samples, "samples") if samples is not None else ():
        if "doc_hash" not in sample:
            raise UserError(f"{where}: a sample without doc_hash; lm-eval 0.4.3 or newer writes it")
        by_filter.setdefault(str(sample.get("filter", "none")), []).append(sample)
    metrics = []
    for key, value in content["results"][task].items():
        name, comma, filter_name = key.rpartition(",")
        if not comma or name.endswith("_stderr") or not _is_number(value):
            continue
        items = _items(name, float(value), by_filter.get(filter_name, ()))
        stderr = content["results"][task].get(f"{name}_stderr,{filter_name}")
        metrics.append(
            MetricResult(
                name=metric_name(name, filter_name),
                value=float(value),
                stderr=float(stderr) if _is_number(stderr) else None,
                higher_is_better=higher.get(name) is not False,
                unit=unit_of(name, items),
                items=items,
            )
        )
    if not metrics:
        return None
    first = next(iter(by_filter.values()), [])
    asked = ((content.get("n-samples") or {}).get(task) or {}).get("effective")
    return TaskResult(
        model=model,
        info=_info(task, config, content, metrics, file),
        metrics=tuple(metrics),
        n=len(first) or int(asked or 0),
        item_ids=item_ids(first),
    )


def _info(
    task: str,
    config: Mapping[str, Any],
    content: Mapping[str, Any],
    metrics: Sequence[MetricResult],
    file: Path,
) -> TaskInfo:
    own = next((spec for spec in list_tasks() if spec.name == task), None)
    source = str(config.get("dataset_path") or "")
    capability = own.capability if own else data_capabilities().get(source, "other")
    names = [metric.name for metric in metrics]
    bare = {name.partition(",")[0]: name for name in reversed(names)}
    ranking = (config.get("metadata") or {}).get("primary")
    preferred = [ranking] if ranking in names else [bare[m] for m in _PRIMARY if m in bare]
    shots = (content.get("n-shot") or {}).get(task, config.get("num_fewshot"))
    return TaskInfo(
        name=task,
        capability=capability if capability in CAPABILITIES else "other",
        version=str((content.get("versions") or {}).get(task, "")),
        output_type=str(config.get("output_type") or ""),
        num_fewshot=int(shots or 0) if _is_number(shots) else 0,
        primary=preferred[0] if preferred else names[0],
        description=own.description if own else f"as lm-eval wrote it in {file.name}",
        source=source,
    )


def _items(
    metric: str, value: float, samples: Sequence[Mapping[str, Any]]
) -> tuple[float, ...] | None:
    """One number a document when the metric is their mean, else None."""
    found = [sample.get(metric) for sample in samples]
    if not found or not all(_is_number(one) for one in found):
        return None
    items = tuple(float(one) for one in found if one is not None)
    is_mean = math.isclose(value, math.fsum(items) / len(items), rel_tol=1e-6, abs_tol=1e-9)
    return items if is_mean else None


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)
