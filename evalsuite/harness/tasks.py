"""From task specs to lm-eval's Task objects and their requests, as texts.

Prompts, few-shot examples and targets are lm-eval's own, for rank 0 of 1. It knows tasks and
documents; it must not know a model or a tokenizer, so one TaskSet serves every model of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalsuite.harness import code_eval, lmeval
from evalsuite.harness import datasets as data
from evalsuite.harness.catalog import CAPABILITIES, TaskSpec, data_capabilities
from evalsuite.harness.collector import resting
from evalsuite.harness.drawing import choose, notes
from evalsuite.harness.families import Family, families, load_own, prune
from evalsuite.harness.faults import task_errors
from evalsuite.harness.shots import check_shots, set_shots
from evalsuite.records import Failure, TaskInfo, UserError


@dataclass(frozen=True)
class CodePolicy:
    """What is done about tasks that run what the model wrote.

    `refused` gives why none of them may run, "" when they may; it is asked only when there are any.
    `bare`: also those may that run it themselves, out of reach of any sandbox.
    """

    refused: Callable[[], str] = str
    bare: bool = False


@dataclass(frozen=True)
class TaskSet:
    """Tasks that are ready to be asked.

    `instances` are lm-eval's requests by task, in its order; they are never answered themselves:
    `fresh()` makes the copies that one model's answers go into. `limit` is the number of documents
    a task that was asked for, `seed` that of the few-shot examples. `infos` are the lines of a
    report: a task each, or a family of tasks (`families`). `drawn` are the documents' indices by
    task where a suite draws them (then of all tasks, and `limit` is in them), else None. `code` are
    the tasks that run what the model wrote, `skipped` says of those left out for it why.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    infos: Mapping[str, TaskInfo]
    instances: Mapping[str, Sequence[Any]]
    warnings: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 1234
    code: frozenset[str] = frozenset()
    skipped: tuple[Failure, ...] = ()
    families: Mapping[str, Family] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[int]] | None = None

    def fresh(self) -> dict[str, list[Any]]:
        """Copies of all instances with no answers in them, by task."""
        from lm_eval.api.instance import Instance

        return {
            name: [Instance(i.request_type, i.doc, i.arguments, i.idx, i.metadata) for i in items]
            for name, items in self.instances.items()
        }

    def without(self, names: Collection[str]) -> TaskSet:
        """The set without some tasks, and without the families that they are members of."""
        broken = {f.name for f in self.families.values() if not set(names).isdisjoint(f.members)}
        gone = {*names, *(m for name in broken for m in self.families[name].members)}
        if not gone:
            return self
        return replace(
            self,
            tasks={name: task for name, task in self.tasks.items() if name not in gone},
            groups={
                name: group
                for name, group in self.groups.items()
                if gone.isdisjoint(task.task_name for task in group.get_all_tasks())
            },
            infos={name: info for name, info in self.infos.items() if name not in gone | broken},
            instances={name: its for name, its in self.instances.items() if name not in gone},
            families={name: f for name, f in self.families.items() if name not in broken},
        )

    def lost(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """`reasons` by task as reasons by line: a family's is that of its first such member."""
        owner = {member: f.name for f in self.families.values() for member in f.members}
        lost: dict[str, str] = {}
        for name, reason in reasons.items():
            lost.setdefault(owner.get(name, name), reason)
        return lost


def load_tasks(
    specs: Sequence[TaskSpec],
    *,
    data_dir: Path | str | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    seed: int = 1234,
    code: CodePolicy = CodePolicy(),
) -> TaskSet:
    """Load tasks and build their requests.

    `num_fewshot` overrides the tasks' own number of examples as lm-eval's option does, which leaves
    a task alone that sets 0 itself; that is said in `warnings`. `limit` takes the first documents
    of each task. With `data_dir` hub data sets come from that folder, never from the network.
    `code` says what is done about tasks that run what the model wrote; those that may not run are
    in `skipped`.

    Raises UserError when a data set is missing, a task's definition is faulty, it needs what is
    not offered (images, sound), or every task is skipped.
    """
    if limit is not None and limit < 1:  # lm-eval would take 0 for "all", 0.5 for a half
        raise UserError(f"--limit {limit}: must be 1 or more.")
    if num_fewshot is not None and num_fewshot < 0:
        raise UserError(f"--num-fewshot {num_fewshot}: must be 0 or more.")
    folder = Path(data_dir).expanduser().resolve() if data_dir is not None else None
    if folder is not None and not folder.is_dir():
        raise UserError(f"--data-dir {data_dir}: there is no such folder.")
    tasks: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    asked: dict[str, TaskSpec] = {}
    warnings: list[str] = []
    skipped: list[Failure] = []
    with resting(), lmeval.quiet() as log, lmeval.building() as place:
        for spec in specs:
            base = spec.path.parent if spec.path and spec.origin != "library" else None
            source = data.Source(folder, base, spec.name)
            with task_errors(spec.name, place), data.serving(source):
                loaded, reason = _load(spec, code)
            if reason:
                skipped.append(Failure("", spec.name, "plan", f"{spec.name} is skipped: {reason}"))
                continue
            for name, task in loaded["tasks"].items():
                if name in tasks:
                    raise UserError(f"The task {name} was asked for twice, once in {spec.name}.")
                tasks[name] = task
                asked[name] = spec
            groups.update(loaded["groups"])
        if not tasks:
            raise UserError("\n".join(failure.error for failure in skipped), exit_code=4)
        drawn = choose(tasks, asked, limit)
        if drawn is not None:
            tasks = {name: task for name, task in tasks.items() if name in drawn}
            for group in groups.values():
                prune(group, tasks)
            groups = {name: group for name, group in groups.items() if len(group)}
        for name, task in tasks.items():
            wanted = asked[name].num_fewshot if num_fewshot is None else num_fewshot
            warnings += set_shots(name, task, wanted)
            check_shots(name, task)
            task.set_fewshot_seed(seed=seed)
        for name, task in tasks.items():
            with task_errors(name, place), lmeval.examples_once(task):
                if drawn is None:
                    task.build_all_requests(limit=limit, rank=0, world_size=1)
                else:
                    task.build_all_requests(samples=drawn[name], rank=0, world_size=1)
    lines = families(groups)
    return TaskSet(
        tasks=tasks,
        groups=groups,
        infos=_infos(tasks, lines, asked),
        instances={name: tuple(task.instances) for name, task in tasks.items()},
        warnings=(*notes(specs), *warnings, *log.messages),
        limit=limit,
        seed=seed,
        code=frozenset(name for name, task in tasks.items() if code_eval.runs_code(task)),
        skipped=tuple(skipped),
        families=lines,
        drawn=drawn,
    )


# ---- loading -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _library_manager() -> Any:
    """lm-eval's manager with its whole library indexed, 7 s: only for its groups and tags."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load(spec: TaskSpec, code: CodePolicy) -> tuple[Any, str]:
    """What lm-eval makes of a spec, or why it is left out."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    manager = (
        _library_manager()
        if spec.kind == "collection" and spec.origin != "evalsuite"
        else TaskManager(include_defaults=False)  # complete YAMLs need no index
    )
    if spec.path is None and spec.name not in manager.task_index:
        raise UserError(f"{spec.name} holds no tasks.")
    definitions = _definitions(spec, manager.task_index)
    unsafe = any(config.get("unsafe_code") for _, config in definitions)
    if unsafe and (refused := code.refused()):
        return None, refused
    if spec.origin == "evalsuite" and (spec.member or spec.kind == "collection"):
        loaded = load_own(spec)
    else:
        loaded = manager.load([str(spec.path) if spec.path else spec.name])
    for name, task in loaded["tasks"].items():
        if getattr(task, "MULTIMODAL", False):
            raise UserError(f"The task {name} shows images or sound, which text models can't take.")
        # Only generations call a metric's function; lm-eval would go on without it.
        if type(task) is ConfigurableTask and task.OUTPUT_TYPE == "generate_until":
            gone = [metric for metric, function in task._metric_fn_list.items() if function is None]
            if gone and task.config.process_results is None:
                raise UserError(
                    f"The task {name}: the metric {gone[0]} can't be loaded from the evaluate "
                    "library: check its name and the network."
                )
        if code_eval.runs_code(task) and not code_eval.calls_code_eval(task) and not code.bare:
            return None, (
                f"{name} runs the model's code in a way of its own, which no sandbox here can hold "
                "(--unsafe-code-execution runs it as it is)"
            )
    if not loaded["tasks"]:
        raise UserError(f"{spec.name} holds no tasks.")
    return loaded, ""


def definitions(spec: TaskSpec) -> list[Mapping]:
    """The raw definitions of the tasks below a spec; nothing of theirs is run or imported."""
    index: Mapping[str, Any] = {}
    if spec.kind == "collection" and spec.origin != "evalsuite":
        index = _library_manager().task_index
    found = [definition for _, definition in _definitions(spec, index)]
    return [d for d in found if not spec.member or d.get("task") == spec.name]


def _definitions(spec: TaskSpec, index: Mapping[str, Any]) -> Iterator[tuple[str, Mapping]]:
    """The raw definitions below a spec, with their names; nothing of theirs is imported."""
    from lm_eval.tasks._yaml_loader import load_yaml

    waiting: list[Any] = [load_yaml(spec.path, resolve_func=False) if spec.path else spec.name]
    seen: set[str] = set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            entry = index.get(item)
            if entry is None or item in seen:
                continue
            seen.add(item)
            waiting += [entry.cfg] if entry.cfg is not None else sorted(entry.tags)
        elif isinstance(members := item.get("task"), list):
            waiting += members
        else:
            yield str(item.get("task") or item.get("group")), item
            if isinstance(name := item.get("task") or item.get("group"), str):
                waiting.append(name)


# ---- what a task is ------------------------------------------------------------------------------


def _infos(
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
