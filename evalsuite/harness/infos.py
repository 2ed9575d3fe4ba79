"""The line that a report has for each task: its name, capability, primary metric and source.

Knows what lm-eval's tasks and their definitions say of themselves; no documents, no results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalsuite.harness.catalog import CAPABILITIES, TaskSpec, data_capabilities
from evalsuite.harness.families import Family
from evalsuite.records import TaskInfo, UserError


def task_infos(
    tasks: Mapping[str, Any], lines: Mapping[str, Family], asked: Mapping[str, TaskSpec]
) -> dict[str, TaskInfo]:
    """The lines of a report in the tasks' order: a family stands where its first member does."""
    family_of = {member: family for family in lines.values() for member in family.members}
    infos: dict[str, TaskInfo] = {}
    for name, task in tasks.items():
        family = family_of.get(name)
        if family is None:
            infos[name] = _info(name, task, asked[name])
        elif family.name not in infos:
            infos[family.name] = _family_info(family, tasks, asked[name])
    return infos


def _info(name: str, task: Any, spec: TaskSpec) -> TaskInfo:
    config = task.config
    metadata = config.metadata if isinstance(config.metadata, Mapping) else {}
    return TaskInfo(
        name=name,
        capability=_capability(metadata, spec, task),
        version=str(task.VERSION),
        output_type=str(task.OUTPUT_TYPE),
        num_fewshot=int(config.num_fewshot or 0),
        primary=_primary(name, task, spec.primary or metadata.get("primary")),
        description=str(metadata.get("description", spec.description)),
        source=_data_source(config),
    )


def _family_info(family: Family, tasks: Mapping[str, Any], spec: TaskSpec) -> TaskInfo:
    members = [tasks[name] for name in family.members]
    first = members[0]
    declared = spec.primary or family.metadata.get("primary") or next(iter(family.metrics))
    if str(declared).partition(",")[0] not in family.metrics:
        raise UserError(
            f"The group {family.name} declares the primary metric {declared}, but aggregates "
            f"{', '.join(family.metrics)}."
        )
    return TaskInfo(
        name=family.name,
        capability=_capability(family.metadata, spec, first),
        version=family.version,
        output_type=str(first.OUTPUT_TYPE),
        num_fewshot=max(int(task.config.num_fewshot or 0) for task in members),
        primary=_primary(family.name, first, declared),
        description=str(family.metadata.get("description", spec.description)),
        source=", ".join(dict.fromkeys(str(t.config.dataset_path or "") for t in members)),
        members=family.members,
    )


def _capability(metadata: Mapping[str, Any], spec: TaskSpec, task: Any) -> str:
    """What the definition says, else our folder, else what our tasks on the same data are for."""
    capability = str(metadata.get("capability", spec.capability))
    if capability not in CAPABILITIES:
        capability = data_capabilities().get(str(getattr(task.config, "dataset_path", "")), "other")
    return capability


def _primary(name: str, task: Any, declared: object) -> str:
    """The metric that ranks: the one the metadata declares, else the first of the metric list."""
    metrics = list(_announced(task))
    if declared is not None and str(declared).partition(",")[0] not in metrics:
        raise UserError(
            f"The task {name} declares the primary metric {declared}, but has {', '.join(metrics)}."
        )
    metric, _, chosen = str(declared if declared is not None else metrics[0]).partition(",")
    return metric_name(metric, chosen or task._filters[0].name)


def _announced(task: Any) -> Iterator[str]:
    """The metrics that a task will report, as far as its definition tells."""
    kwargs = getattr(task, "_metric_fn_kwargs", {})
    for metric in task.aggregation():
        k = kwargs.get(metric, {}).get("k") if metric == "pass_at_k" else None
        yield from (f"pass@{n}" for n in k) if isinstance(k, list) else [metric]


def metric_name(metric: str, filter_name: str) -> str:
    """A metric's name in our records: lm-eval's, with the filter when it is not the plain one."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def _data_source(config: Any) -> str:
    files = (config.dataset_kwargs or {}).get("data_files")
    if files:
        per_split = files.values() if isinstance(files, Mapping) else [files]
        names = [n for item in per_split for n in ([item] if isinstance(item, str) else item)]
        return ", ".join(dict.fromkeys(Path(n).name for n in names))
    if not config.dataset_path:
        return ""
    suffix = f" ({config.dataset_name})" if config.dataset_name else ""
    return f"{config.dataset_path}{suffix}"
