"""From task specs to lm-eval's Task objects and their requests, as texts.

Prompts, few-shot examples and targets are lm-eval's own, for rank 0 of 1. It knows tasks and
documents; it must not know a model or a tokenizer, so one TaskSet serves every model of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from evalsuite.harness import datasets as data
from evalsuite.harness import lmeval
from evalsuite.harness.catalog import CAPABILITIES, TaskSpec
from evalsuite.records import TaskInfo, UserError

# What a task's own definition can raise, whose author is the one to mend it.
_TASK_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    jinja2.TemplateError,
    yaml.YAMLError,
)


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt format of conversations: its name, its text, and whether few-shots are turns."""

    template: str
    source: str
    turns: bool = True


@dataclass(frozen=True)
class TaskSet:
    """Tasks that are ready to be asked.

    `instances` are lm-eval's requests by task, in its order; they are never answered themselves:
    `fresh()` makes the copies that one model's answers go into. `limit` is the number of documents
    a task that was asked for, `seed` that of the few-shot examples. `chat` is the format when the
    requests are conversations.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    infos: Mapping[str, TaskInfo]
    instances: Mapping[str, Sequence[Any]]
    warnings: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 1234
    chat: Chat | None = None

    def only(self, names: Iterable[str]) -> TaskSet:
        """These tasks alone; groups, which need all of theirs, go when one is left out."""
        kept = [name for name in self.tasks if name in set(names)]
        return replace(
            self,
            tasks={name: self.tasks[name] for name in kept},
            groups=self.groups if len(kept) == len(self.tasks) else {},
            infos={name: self.infos[name] for name in kept},
            instances={name: self.instances[name] for name in kept},
        )

    def fresh(self) -> dict[str, list[Any]]:
        """Copies of all instances with no answers in them, by task."""
        from lm_eval.api.instance import Instance

        return {
            name: [Instance(i.request_type, i.doc, i.arguments, i.idx, i.metadata) for i in items]
            for name, items in self.instances.items()
        }


def load_tasks(
    specs: Sequence[TaskSpec],
    *,
    data_dir: Path | str | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    seed: int = 1234,
) -> TaskSet:
    """Load tasks and build their requests.

    `num_fewshot` overrides the tasks' own number of examples as lm-eval's option does, which leaves
    a task alone that sets 0 itself; that is said in `warnings`. `limit` takes the first documents
    of each task. With `data_dir` hub data sets come from that folder, never from the network.

    Raises UserError when a data set is missing, a task's definition is faulty, or it needs what is
    not offered (images, sound, running the model's code).
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
    capabilities: dict[str, tuple[str, str]] = {}
    warnings: list[str] = []
    with lmeval.quiet() as log, lmeval.building() as place:
        for spec in specs:
            base = spec.path.parent if spec.path and spec.origin != "library" else None
            with task_errors(spec.name, place), data.serving(data.Source(folder, base)):
                loaded = _load(spec)
            for name, task in loaded["tasks"].items():
                if name in tasks:
                    raise UserError(f"The task {name} was asked for twice, once in {spec.name}.")
                tasks[name] = task
                capabilities[name] = (spec.capability, spec.description)
            groups.update(loaded["groups"])
        for name, task in tasks.items():
            warnings += _set_shots(name, task, num_fewshot)
            _check_shots(name, task)
            task.set_fewshot_seed(seed=seed)
        for name, task in tasks.items():
            with task_errors(name, place):
                task.build_all_requests(limit=limit, rank=0, world_size=1)
    return TaskSet(
        tasks=tasks,
        groups=groups,
        infos={name: _info(name, task, *capabilities[name]) for name, task in tasks.items()},
        instances={name: tuple(task.instances) for name, task in tasks.items()},
        warnings=(*warnings, *log.messages),
        limit=limit,
        seed=seed,
    )


# ---- loading -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _library_manager() -> Any:
    """lm-eval's manager with its whole library indexed, 7 s: only for its groups and tags."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load(spec: TaskSpec) -> Any:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    manager = (
        _library_manager()
        if spec.kind == "collection"
        else TaskManager(include_defaults=False)  # complete YAMLs need no index
    )
    if spec.path is None and spec.name not in manager.task_index:
        raise UserError(f"{spec.name} holds no tasks.")
    for name, config in _definitions(spec, manager.task_index):
        if config.get("unsafe_code"):
            raise UserError(
                f"The task {name} runs code that the model wrote, which is not offered yet."
            )
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
    if not loaded["tasks"]:
        raise UserError(f"{spec.name} holds no tasks.")
    return loaded


def _definitions(spec: TaskSpec, index: Mapping[str, Any]) -> Iterator[tuple[str, Mapping]]:
    """The raw definitions below a spec: read first, since some tasks run code on being imported."""
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


@contextmanager
def task_errors(name: str, place: lmeval.Place) -> Iterator[None]:
    """What goes wrong in a task's own definition, as one line that names the task."""
    vars(place).update(vars(lmeval.Place()), splits=place.splits)
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        missing = f"the Python package {error.name}" if error.name else _one_line(error)
        raise UserError(f"The task {name} needs what is not installed: {missing}") from error
    except lmeval.NoDocumentsError as error:
        raise UserError(
            f"The task {name} can't be prepared: its data holds no documents."
        ) from error
    except _TASK_ERRORS as error:
        raise UserError(f"The task {name} can't be prepared: {_reason(error, place)}") from error


def _reason(error: BaseException, place: lmeval.Place) -> str:
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if place.formatted is None and key in place.splits:
        return f"its data set has no split {key!r}."
    if isinstance(error, IndexError) and place.target_out_of_range():
        return (
            f"{place.describe(error)}doc_to_target is {place.target}, but the choices are "
            f"{len(place.choices)}, counted from 0."
        )
    return f"{place.describe(error)}{type(error).__name__}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _set_shots(name: str, task: Any, wanted: int | None) -> list[str]:
    """The number of few-shot examples by simple_evaluate's rules; what it would only log, said."""
    own = task.get_config("num_fewshot")
    if wanted is None:
        if own is None:
            task.set_config(key="num_fewshot", value=0)
        return []
    if own == 0:
        if wanted == 0:
            return []
        return [f"{name} sets 0 few-shot examples itself: --num-fewshot {wanted} is not applied."]
    task.set_config(key="num_fewshot", value=wanted)
    return []


def _check_shots(name: str, task: Any) -> None:
    """Raise UserError when a task's few-shot split has fewer examples than are to be shown."""
    from lm_eval.api.samplers import ContextSampler, FirstNSampler

    shots = task.config.num_fewshot or 0
    sampler: Any = getattr(task, "sampler", None)
    if not shots or getattr(type(sampler), "sample", None) not in (
        ContextSampler.sample,
        FirstNSampler.sample,
    ):
        return  # a sampler of the task's own knows itself what it has
    has = len(sampler.fewshot_indices or sampler.df)
    # lm-eval keeps the question itself out of its examples where both come from one split; its
    # default sampler draws one more for that, also where neither split is set.
    split = task.fewshot_cfg.split
    aside = split == task.config.test_split and (
        split is not None or type(sampler).sample is ContextSampler.sample
    )
    if shots > (most := max(has - aside, 0)):
        raise UserError(
            f"The task {name}: its few-shot split has {has} example{'s' * (has != 1)}"
            f"{', one of them kept aside for the question' if aside and has else ''}: "
            f"--num-fewshot must be at most {most}, not {shots}."
        )


# ---- what a task is ------------------------------------------------------------------------------


def _info(name: str, task: Any, capability: str, description: str) -> TaskInfo:
    config = task.config
    metadata = config.metadata if isinstance(config.metadata, Mapping) else {}
    declared = str(metadata.get("capability", capability))
    return TaskInfo(
        name=name,
        capability=declared if declared in CAPABILITIES else "other",
        version=str(task.VERSION),
        output_type=str(task.OUTPUT_TYPE),
        num_fewshot=int(config.num_fewshot or 0),
        primary=_primary(name, task, metadata.get("primary")),
        description=str(metadata.get("description", description)),
        source=_data_source(config),
    )


def _primary(name: str, task: Any, declared: object) -> str:
    """The metric that ranks: the one the metadata declares, else the first of the metric list."""
    metrics = list(task.aggregation())
    if declared is not None and str(declared).partition(",")[0] not in metrics:
        raise UserError(
            f"The task {name} declares the primary metric {declared}, but has {', '.join(metrics)}."
        )
    metric, _, chosen = str(declared if declared is not None else metrics[0]).partition(",")
    return metric_name(metric, chosen or task._filters[0].name)


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
