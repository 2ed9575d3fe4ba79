"""The names in lm-eval's library, read from its files' lines without running any of it.

Knows how lm-eval's YAML files spell tasks, groups and tags; it must not know ours, nor build tasks.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evalsuite.records import UserError


@dataclass(frozen=True)
class Library:
    """lm-eval's names: `tasks` by the file that defines them; `collections` are groups and tags."""

    tasks: Mapping[str, Path]
    collections: frozenset[str]


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
