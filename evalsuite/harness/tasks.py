"""From task specs to lm-eval's Task objects and their requests, as texts.

Prompts, few-shot examples and targets are lm-eval's own, for rank 0 of 1. It knows tasks and
documents; it must not know a model or a tokenizer, so one TaskSet serves every model of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalsuite.harness import code_eval, lmeval
from evalsuite.harness import datasets as data
from evalsuite.harness.catalog import TaskSpec
from evalsuite.harness.collector import resting
from evalsuite.harness.drawing import choose, documents, notes
from evalsuite.harness.families import families, load_own, prune
from evalsuite.harness.faults import task_errors
from evalsuite.harness.infos import task_infos
from evalsuite.harness.shots import check_shots, set_shots
from evalsuite.harness.task_set import TaskSet
from evalsuite.records import Failure, UserError


@dataclass(frozen=True)
class CodePolicy:
    """What is done about tasks that run what the model wrote.

    `refused` gives why none of them may run, "" when they may; it is asked only when there are any.
    `bare`: also those may that run it themselves, out of reach of any sandbox.
    """

    refused: Callable[[], str] = str
    bare: bool = False


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
        if skipped and not tasks:
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
                task.build_all_requests(**documents(limit, drawn, name), rank=0, world_size=1)
    lines = families(groups)
    return TaskSet(
        tasks=tasks,
        groups=groups,
        infos=task_infos(tasks, lines, asked),
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
