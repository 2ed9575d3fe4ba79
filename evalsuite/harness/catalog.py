"""Which tasks there are: our suites and YAML files, and by name whatever lm-eval's library has.

Reads YAML as text and data only, so listing needs no lm_eval and no data set. It must not build
tasks; what it returns says where a task is defined, and tasks.py builds it.
"""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from evalsuite.harness.definitions import leaves, read_yaml
from evalsuite.harness.library import library
from evalsuite.records import UserError

CAPABILITIES = ("commonsense", "qa", "math", "code", "language")
SUITES_FILE = "suites.yaml"
LIBRARY_PREFIX = "lm-eval:"


@dataclass(frozen=True)
class TaskSpec:
    """Where one asked-for name is defined.

    `origin` is "evalsuite" (a YAML of ours), "library" (lm-eval's own) or "file" (a YAML given by
    path). `kind` is "collection" for groups and tags, which hold several tasks; those of lm-eval's
    library have no `path`. `member` is true for one task of a file that defines several.
    `num_fewshot`, `primary` and `documents` (how many are drawn) are what a suite sets; None leaves
    the task's own.
    """

    name: str
    origin: Literal["evalsuite", "library", "file"]
    kind: Literal["task", "collection"] = "task"
    path: Path | None = None
    capability: str = "other"
    description: str = ""
    member: bool = False
    num_fewshot: int | None = None
    primary: str | None = None
    documents: int | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of tasks of ours, already expanded, as the suite sets them."""

    name: str
    description: str
    specs: tuple[TaskSpec, ...]
    documents: int | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.specs)


# ---- our own tasks and suites --------------------------------------------------------------------


def tasks_root() -> Path:
    """The folder of task files: inside an installed package, else the clone's `tasks/`."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "_tasks"
    return packaged if packaged.is_dir() else package.parent / "tasks"


@lru_cache(maxsize=4)
def _own_tasks(root: Path) -> Mapping[str, TaskSpec]:
    specs: dict[str, TaskSpec] = {}
    for path in sorted(root.glob("*/**/*.yaml")):
        # Prompts, presets and other data that is no task define none.
        for spec in specs_of(path, read_yaml(path), "evalsuite", root):
            if known := specs.get(spec.name):
                raise UserError(f"{path}: the task {spec.name} is defined in {known.path} already.")
            specs[spec.name] = spec
    return specs


@lru_cache(maxsize=4)
def data_capabilities(root: Path | None = None) -> Mapping[str, str]:
    """The capability of each data set that a task of ours reads, for other tasks that read it."""
    root = root or tasks_root()
    found: dict[str, str] = {}
    for spec in _own_tasks(root).values():
        if spec.path is None or spec.name.startswith("starter_"):
            continue
        for definition in leaves(read_yaml(spec.path)):
            if isinstance(source := definition.get("dataset_path"), str) and source != "json":
                found.setdefault(source, spec.capability)
    return found


def specs_of(
    path: Path,
    config: Mapping[str, Any],
    origin: Literal["evalsuite", "library", "file"],
    root: Path | None = None,
) -> list[TaskSpec]:
    """The tasks that a file offers by name: one, or each member of a group that has no result of
    its own (no `aggregate_metric_list`); a group that has one is a single line of a report."""
    if isinstance(group := config.get("group"), str):
        members = [item for item in leaves(config) if isinstance(item.get("task"), str)]
        if config.get("aggregate_metric_list") or origin == "file" or not members:
            spec = spec_of(group, path, config, origin, root)
            return [dataclasses.replace(spec, kind="collection")]
        return [
            dataclasses.replace(spec_of(item["task"], path, item, origin, root), member=True)
            for item in members
        ]
    name = config.get("task")
    return [spec_of(name, path, config, origin, root)] if isinstance(name, str) else []


def spec_of(
    name: str,
    path: Path,
    config: Mapping[str, Any],
    origin: Literal["evalsuite", "library", "file"],
    root: Path | None = None,
) -> TaskSpec:
    """A TaskSpec from a task's configuration; the capability is the metadata's or our folder's."""
    metadata = config.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    folder = path.relative_to(root).parts[0] if root else ""
    capability = metadata.get("capability", folder)
    return TaskSpec(
        name=name,
        origin=origin,
        path=path,
        capability=capability if capability in CAPABILITIES else "other",
        description=str(metadata.get("description", "")) or _opening_comment(path),
    )


def _opening_comment(path: Path) -> str:
    """The first sentence of the comment that a task file opens with."""
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return first.lstrip("# ").partition(". ")[0].rstrip(".") if first.startswith("#") else ""


def list_tasks(root: Path | None = None) -> list[TaskSpec]:
    """Our tasks by capability and name. Imports neither lm_eval nor datasets."""
    order = {capability: place for place, capability in enumerate(CAPABILITIES)}
    specs = _own_tasks(root or tasks_root()).values()
    return sorted(specs, key=lambda spec: (order.get(spec.capability, len(order)), spec.name))


def list_suites(root: Path | None = None) -> list[Suite]:
    """Our suites in the order of suites.yaml, their folder patterns expanded to tasks.

    Raises UserError when suites.yaml is not valid or names a task that is not there.
    """
    root = root or tasks_root()
    file, suites = root / SUITES_FILE, dict[str, Suite]()
    for name, entry in read_yaml(file).items():
        if not isinstance(entry, Mapping):
            raise UserError(f"{file}: suite {name} needs a list called `tasks`.")
        documents = entry.get("documents")
        like = entry.get("like")
        if like is not None and like not in suites:
            raise UserError(f"{file}: suite {name}: there is no suite {like} above it.")
        specs = list(suites[like].specs) if like is not None else _suite_specs(name, entry, root)
        specs = [dataclasses.replace(spec, documents=documents) for spec in specs]
        description = str(entry.get("description", ""))
        suites[str(name)] = Suite(str(name), description, tuple(specs), documents)
    return list(suites.values())


def _suite_specs(name: str, entry: Mapping[str, Any], root: Path) -> list[TaskSpec]:
    own, file = _own_tasks(root), root / SUITES_FILE
    if not isinstance(entry.get("tasks"), list):
        raise UserError(f"{file}: suite {name} needs a list called `tasks`.")
    specs: dict[str, TaskSpec] = {}
    for item in entry["tasks"]:
        settings: dict[str, Any] = dict(item) if isinstance(item, Mapping) else {"task": str(item)}
        task = str(settings.pop("task", ""))
        if unknown := settings.keys() - {"num_fewshot", "primary"}:
            raise UserError(f"{file}: suite {name}, {task}: no setting {', '.join(unknown)}.")
        if "/" in task:  # a pattern of files, e.g. starter/*.yaml
            files = set(root.glob(task))
            found = sorted((s for s in own.values() if s.path in files), key=lambda s: s.name)
        elif task in own:
            found = [own[task]]
        else:
            raise UserError(f"{file}: suite {name}: there is no task {task}.")
        for spec in found:
            specs.setdefault(spec.name, dataclasses.replace(spec, **settings))
    return list(specs.values())


def describe(root: Path | None = None) -> str:
    """Suites and tasks as the lines that `evalsuite tasks` prints."""
    root = root or tasks_root()
    lines = ["Suites"]
    for suite in list_suites(root):
        lines.append(f"  {suite.name:22} {suite.description}")
        if suite.documents:
            lines.append(f"  {'':22} {visible(suite.documents)}")
        lines += textwrap.wrap(
            " ".join(suite.tasks), 100, initial_indent=" " * 25, subsequent_indent=" " * 25
        )
    heading = ""
    for spec in list_tasks(root):
        if spec.capability != heading:
            heading = spec.capability
            lines += ["", heading.capitalize() if heading != "qa" else "Question answering"]
        lines.append(f"  {spec.name:26} {spec.description}")
    lines += ["", f"And every task of lm-eval's library by its name, or as {LIBRARY_PREFIX}NAME."]
    return "\n".join(lines)


def visible(documents: int) -> str:
    """The smallest difference between two models that this many documents show, in a sentence."""
    from evalsuite.stats import TYPICAL_DISCORDANCE, smallest_difference

    apart = 100 * smallest_difference(documents)
    paired = 100 * smallest_difference(documents, discordant=TYPICAL_DISCORDANCE)
    return (
        f"{documents} documents show a difference of {apart:.0f} points between two models, "
        f"{paired:.0f} where both answered the same ones (80 % of the time, at 5 %)."
    )


# ---- names to specs ------------------------------------------------------------------------------


def resolve(names: Iterable[str], root: Path | None = None) -> list[TaskSpec]:
    """Turn what a person typed into specs, each once, in the order of asking.

    A name is a suite, one of our tasks, `lm-eval:NAME`, the path of a YAML file, or any task, group
    or tag of lm-eval's library. Raises UserError with the nearest names when it is none of these,
    and when one task name would come from two places.
    """
    root = root or tasks_root()
    own, suites = _own_tasks(root), {suite.name: suite for suite in list_suites(root)}
    specs: dict[str, TaskSpec] = {}
    for name in names:
        for spec in _resolve_one(name, own, suites):
            known = specs.setdefault(spec.name, spec)
            if known != spec:
                raise UserError(
                    f"Two tasks called {spec.name} were asked for: {_place(known, spec)} and "
                    f"{_place(spec, known)}. Evaluate them in separate runs."
                )
    if not specs:
        raise UserError("No task to evaluate: name a suite or a task (see `evalsuite tasks`).")
    return list(specs.values())


def _resolve_one(
    name: str, own: Mapping[str, TaskSpec], suites: Mapping[str, Suite]
) -> list[TaskSpec]:
    if not name.removeprefix(LIBRARY_PREFIX).strip():
        raise UserError("An empty task name: name a suite or a task (see `evalsuite tasks`).")
    if name in suites:
        if not suites[name].specs:
            raise UserError(f"The suite {name} has no tasks in this installation.")
        return list(suites[name].specs)
    if name in own:
        return [own[name]]
    if name.startswith(LIBRARY_PREFIX):
        wanted = name.removeprefix(LIBRARY_PREFIX)
        spec = _library_spec(wanted)
        if spec is None:
            raise _unknown(name, (LIBRARY_PREFIX + n for n in _library_names()))
        return [spec]
    if is_file(name):
        path = Path(name).expanduser()
        return [spec for spec in own.values() if spec.path == path.resolve()] or [_file_spec(path)]
    spec = _library_spec(name)
    if spec is None:
        raise _unknown(name, {*own, *suites, *_library_names()})
    return [spec]


def is_file(name: str) -> bool:
    """Whether what a person typed is the path of a YAML file."""
    return not name.startswith(LIBRARY_PREFIX) and (name.endswith((".yaml", ".yml")) or "/" in name)


def _library_names() -> set[str]:
    return {*library().tasks, *library().collections}


def _library_spec(name: str) -> TaskSpec | None:
    if path := library().tasks.get(name):
        return TaskSpec(name, "library", "task", path)
    if name in library().collections:
        return TaskSpec(name, "library", "collection")
    return None


def _file_spec(path: Path) -> TaskSpec:
    if not path.is_file():
        raise UserError(f"There is no task file {path}.")
    path = path.resolve()
    config = read_yaml(path)
    specs = specs_of(path, config, "file")
    if not specs:
        raise UserError(f"{path}: not a task: a line `task: NAME` is missing.")
    return specs[0]


def _place(spec: TaskSpec, other: TaskSpec) -> str:
    place = {
        "evalsuite": "our own",
        "library": f"{LIBRARY_PREFIX}{spec.name}",
        "file": str(spec.path),
    }[spec.origin]
    if spec.origin != other.origin:
        return place
    settings = {"shots": spec.num_fewshot, "metric": spec.primary, "documents": spec.documents}
    others = (other.num_fewshot, other.primary, other.documents)
    told = [
        f"{key} {value or 'of its own' if value != 0 else 0}"
        for (key, value), its in zip(settings.items(), others, strict=True)
        if value != its
    ]
    return f"{place} with {', '.join(told)}" if told else place


def _unknown(name: str, known: Iterable[str]) -> UserError:
    near = difflib.get_close_matches(name, sorted(known), n=4, cutoff=0.6)
    hint = f"Nearest: {', '.join(near)}." if near else "`evalsuite tasks` lists what there is."
    return UserError(f"There is no task or suite {name!r}. {hint}")
