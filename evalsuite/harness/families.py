"""Tasks that come in a family: files that define several, and groups that have one result.

Builds lm-eval's tasks and groups out of one YAML, each member under its own name, and folds the
results of a group's members into one. It knows lm-eval's groups; it must not know documents,
prompts or engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.harness.catalog import TaskSpec
from evalsuite.harness.definitions import leaves
from evalsuite.records import MetricResult, TaskResult, UserError


@dataclass(frozen=True)
class Family:
    """A group of lm-eval's that is one line of a report: `members` are tasks, in its order.

    `metrics` are the aggregated ones with whether documents weigh alike (else members do).
    """

    name: str
    members: tuple[str, ...]
    metrics: Mapping[str, bool]
    version: str
    metadata: Mapping[str, Any]


def load_own(spec: TaskSpec) -> Any:
    """What lm-eval's manager.load returns for a file of several tasks, or for one member of it.

    lm-eval calls a group's inline members "group::member"; here they have the plain names, which
    are those of its own library.
    """
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    definition = load_yaml(spec.path, resolve_func=True)
    manager = TaskManager(include_defaults=False)
    _register(definition, manager.task_index)
    return manager.load([spec.name])


def _register(definition: Mapping[str, Any], index: Any) -> str:
    """Enters a definition and all below it, groups with their members by name; returns its name."""
    from lm_eval.tasks._index import Entry, Kind

    members = definition.get("task")
    if not isinstance(members, list):
        name = str(definition["task"])
        kind = Kind.PY_TASK if "class" in definition else Kind.TASK
        index[name] = Entry(name, kind, None, cfg=dict(definition))
        return name
    name = str(definition["group"])
    names = [m if isinstance(m, str) else _register(m, index) for m in members]
    index[name] = Entry(name, Kind.GROUP, None, cfg={**definition, "task": names})
    return name


def defines_members(definition: Mapping[str, Any]) -> bool:
    """Whether a file's definition is a group that holds its members' definitions itself."""
    return isinstance(definition.get("group"), str) and any(
        isinstance(leaf.get("task"), str) and leaf is not definition for leaf in leaves(definition)
    )


def families(groups: Mapping[str, Any]) -> dict[str, Family]:
    """The groups that are one line each: of every tree, the topmost that lm-eval aggregates."""
    below = {child.name for group in groups.values() for child in group.get_all_groups()}
    found: dict[str, Family] = {}
    for name, group in groups.items():
        if name not in below:
            for top in _aggregated(group):
                found[top.name] = _family(top)
    taken: dict[str, str] = {}
    for family in found.values():
        for member in family.members:
            if other := taken.setdefault(member, family.name) != family.name and taken[member]:
                raise UserError(
                    f"The task {member} belongs to both {other} and {family.name}: evaluate them "
                    "in separate runs."
                )
    return found


def _aggregated(group: Any) -> Iterator[Any]:
    if group.has_aggregation:
        yield group
        return
    for child in group.get_all_groups(recursive=False):
        yield from _aggregated(child)


def _family(group: Any) -> Family:
    metadata = dict(group.metadata or {})
    return Family(
        name=group.name,
        members=tuple(dict.fromkeys(task.task_name for task in group.get_all_tasks())),
        metrics={entry.metric: bool(entry.weight_by_size) for entry in group.aggregate_metric_list},
        version=str(metadata.get("version", "N/A")),
        metadata=metadata,
    )


def prune(group: Any, kept: Mapping[str, Any]) -> None:
    """Take the tasks that are not in `kept` out of a group, and groups that are empty then."""
    for child in list(group):
        if hasattr(child, "get_all_tasks"):
            prune(child, kept)
            if not len(child):
                group.pop(child.name)
        elif child.task_name not in kept:
            group.pop(child.task_name)


def fold(
    family: Family,
    info: Any,
    parts: Sequence[TaskResult],
    aggregated: Mapping[str, Any],
) -> TaskResult:
    """One result out of a family's members' results and lm-eval's numbers for the group.

    Without such numbers, because a member is missing, the documents that there are weigh alike.

    Documents weigh alike: the items are all members' together, and the value is their mean, which
    is lm-eval's. Members weigh alike: lm-eval's value and standard error, without items.
    """
    names = list(dict.fromkeys(metric.name for part in parts for metric in part.metrics))
    metrics = []
    for name in names:
        metric, _, chosen = name.partition(",")
        if metric not in family.metrics:
            continue
        its = [m for part in parts for m in part.metrics if m.name == name]
        key, error_key = f"{metric},{chosen or 'none'}", f"{metric}_stderr,{chosen or 'none'}"
        value, stderr = aggregated.get(key), aggregated.get(error_key)
        items = None
        whole = len(its) == len(parts) and all(m.items is not None for m in its)
        if family.metrics[metric] and whole:
            items = tuple(item for m in its for item in m.items or ())
            if any(part.errors for part in parts) or not aggregated:
                value = sum(items) / len(items)
        if not isinstance(value, int | float):
            continue
        metrics.append(
            MetricResult(
                name=name,
                value=float(value),
                stderr=float(stderr) if isinstance(stderr, int | float) else None,
                higher_is_better=its[0].higher_is_better,
                unit=its[0].unit if len({m.unit for m in its}) == 1 else metric,
                items=items,
            )
        )
    return TaskResult(
        model=parts[0].model,
        info=info,
        metrics=tuple(metrics),
        n=sum(part.n for part in parts),
        item_ids=tuple(id for part in parts for id in part.item_ids),
        truncated=sum(part.truncated for part in parts),
        errors=sum(part.errors for part in parts),
    )
