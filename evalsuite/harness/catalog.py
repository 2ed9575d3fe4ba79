"""Which tasks there are: our suites and YAML files, and by name whatever lm-eval's library has.

Reads YAML as text and data only, so listing needs no lm_eval and no data set. It must not build
tasks; what it returns says where a task is defined, and tasks.py builds it.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from evalsuite.records import UserError

CAPABILITIES = ("commonsense", "qa", "math", "code", "language")
SUITES_FILE = "suites.yaml"
LIBRARY_PREFIX = "lm-eval:"


@dataclass(frozen=True)
class TaskSpec:
    """Where one asked-for name is defined.

    `origin` is "evalsuite" (a YAML of ours), "library" (lm-eval's own) or "file" (a YAML given by
    path). `kind` is "collection" for lm-eval's groups and tags, which hold several tasks and have
    no `path`.
    """

    name: str
    origin: Literal["evalsuite", "library", "file"]
    kind: Literal["task", "collection"] = "task"
    path: Path | None = None
    capability: str = "other"
    description: str = ""


@dataclass(frozen=True)
class Suite:
    """A named list of tasks; `tasks` are names of ours, already expanded."""

    name: str
    description: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """lm-eval's names: `tasks` by the file that defines them; `collections` are groups and tags."""

    tasks: Mapping[str, Path]
    collections: frozenset[str]


# ---- reading YAML without running any of it ------------------------------------------------------


class _DataLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as data: lm-eval's `!function module.name` stays text, nothing is imported."""


def _tag_as_text(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_DataLoader.add_multi_constructor("!", _tag_as_text)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, with `!function` values as text.

    Raises UserError, naming file and line, when it can't be read or is no mapping.
    """
    try:
        data = yaml.load(path.read_bytes(), Loader=_DataLoader)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a UTF-8 text file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path}{where}: not valid YAML: {problem}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a task: expected `key: value` lines at the top level.")
    return data


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
        config = read_yaml(path)
        name = config.get("task")
        if not isinstance(name, str):
            continue  # prompts, presets and other data that is no task
        if name in specs:
            raise UserError(f"{path}: the task {name} is defined in {specs[name].path} already.")
        specs[name] = spec_of(name, path, config, "evalsuite", root)
    return specs


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
    """Our suites in the order of suites.yaml, their folder patterns expanded to task names.

    Raises UserError when suites.yaml is not valid or names a task that is not there.
    """
    root = root or tasks_root()
    own = _own_tasks(root)
    by_path = {spec.path: name for name, spec in own.items()}
    suites = []
    for name, entry in read_yaml(root / SUITES_FILE).items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("tasks"), list):
            raise UserError(f"{root / SUITES_FILE}: suite {name} needs a list called `tasks`.")
        tasks: dict[str, None] = {}
        for item in map(str, entry["tasks"]):
            if "/" in item:  # a pattern of files, e.g. starter/*.yaml
                found = [by_path[path] for path in sorted(root.glob(item)) if path in by_path]
            elif item in own:
                found = [item]
            else:
                raise UserError(f"{root / SUITES_FILE}: suite {name}: there is no task {item}.")
            tasks.update(dict.fromkeys(found))
        suites.append(Suite(str(name), str(entry.get("description", "")), tuple(tasks)))
    return suites


def describe(root: Path | None = None) -> str:
    """Suites and tasks as the lines that `evalsuite tasks` prints."""
    root = root or tasks_root()
    lines = ["Suites"]
    for suite in list_suites(root):
        lines += [f"  {suite.name:22} {suite.description}", f"  {'':22} {' '.join(suite.tasks)}"]
    heading = ""
    for spec in list_tasks(root):
        if spec.capability != heading:
            heading = spec.capability
            lines += ["", heading.capitalize() if heading != "qa" else "Question answering"]
        lines.append(f"  {spec.name:22} {spec.description}")
    lines += ["", f"And every task of lm-eval's library by its name, or as {LIBRARY_PREFIX}NAME."]
    return "\n".join(lines)


# ---- lm-eval's library ---------------------------------------------------------------------------

_NAME = r"""["']?([^\s"'#\[\]{},]+)["']?"""
_TASK_LINE = re.compile(rf"^[\"']?task[\"']?[ \t]*:[ \t]*{_NAME}", re.MULTILINE)
_GROUP_LINE = re.compile(rf"^[\"']?group[\"']?[ \t]*:[ \t]*{_NAME}", re.MULTILINE)
_CLASS_LINE = re.compile(r"^class[ \t]*:", re.MULTILINE)
_TAG_BLOCK = re.compile(
    r"^[\"']?tag[\"']?[ \t]*:[ \t]*([^\n#]*)((?:\n[ \t]*-[ \t]*[^\n]*)*)", re.MULTILINE
)
_TAG_NAME = re.compile(r"[^\s\"'\[\],]+")


@lru_cache(maxsize=1)
def library() -> Library:
    """lm-eval's names, from the `task:`, `group:` and `tag:` lines of its 14,000 YAML files.

    Reading the lines takes 1 to 2 s where lm-eval's own index, which parses every file, takes 7;
    only the groups and tags need that index, and only when they are loaded. Done once a process.
    """
    spec = importlib.util.find_spec("lm_eval")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise UserError("lm-eval is not installed: pip install lm-eval==0.4.13")
    root = Path(next(iter(spec.submodule_search_locations))) / "tasks"
    tasks: dict[str, Path] = {}
    collections: set[str] = set()
    # Sorted, since lm-eval lets the first of two files that define one name win.
    for path in sorted(_definition_files(root), key=lambda p: p.as_posix()):
        text = path.read_text(encoding="utf-8", errors="replace")
        for inline, items in _TAG_BLOCK.findall(text):
            found = _TAG_NAME.findall(inline) + _TAG_NAME.findall(items)
            collections.update(name for name in found if name != "-")
        if path.suffix != ".yaml":
            continue  # a template for others: its tags count, it is no task itself
        task, group = _TASK_LINE.search(text), _GROUP_LINE.search(text)
        if group and not _CLASS_LINE.search(text):  # a class makes it a task, as in lm-eval
            collections.add(group[1])
        elif task and task[1] != "-":
            tasks.setdefault(task[1], path)
    return Library(tasks, frozenset(collections - tasks.keys()))


def _definition_files(root: Path) -> Iterator[Path]:
    """YAML files, and the templates that they include, whose names end in anything or nothing."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith("yaml") or "." not in name:
                yield Path(folder, name)


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
                    f"Two tasks called {spec.name} were asked for: {_place(known)} and "
                    f"{_place(spec)}. Evaluate them in separate runs."
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
        tasks = suites[name].tasks
        if not tasks:
            raise UserError(f"The suite {name} has no tasks in this installation.")
        return [own[task] for task in tasks]
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
        return [
            next((o for o in own.values() if o.path == path.resolve()), None) or _file_spec(path)
        ]
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
    if isinstance(group := config.get("group"), str):
        return TaskSpec(group, "file", "collection", path)
    name = config.get("task")
    if not isinstance(name, str):
        raise UserError(f"{path}: not a task: a line `task: NAME` is missing.")
    return spec_of(name, path, config, "file")


def _place(spec: TaskSpec) -> str:
    return {
        "evalsuite": "our own",
        "library": f"{LIBRARY_PREFIX}{spec.name}",
        "file": str(spec.path),
    }[spec.origin]


def _unknown(name: str, known: Iterable[str]) -> UserError:
    near = difflib.get_close_matches(name, sorted(known), n=4, cutoff=0.6)
    hint = f"Nearest: {', '.join(near)}." if near else "`evalsuite tasks` lists what there is."
    return UserError(f"There is no task or suite {name!r}. {hint}")
