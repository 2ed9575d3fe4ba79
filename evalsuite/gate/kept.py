"""A run's items kept beside its samples, so that a comparison need not read every text again.

`items.json` holds what leaderboard/items.py makes of each task's samples, and the SHA-256 of the
files that this was made of. Where a file, or what leaderboard and manifest say of the task, has
changed since, the samples count. Knows a run on disk; knows no other run and no tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evalsuite import __version__
from evalsuite.files import write_atomically
from evalsuite.gate.packing import packed, unpacked
from evalsuite.leaderboard import Run
from evalsuite.leaderboard.items import Items, items_basis, task_items
from evalsuite.records import TaskScore

FILE = "items.json"
FORMAT = "evalsuite items"
SCHEMA = 1

# By model and task. A text says why a task's items can't be compared one by one.
RunItems = Mapping[tuple[str, str], Items | str]


def run_items(run: Run) -> RunItems:
    """The items of every model and task: the kept ones where they still hold, else the samples'.

    Raises:
        UserError: a damaged samples file.
    """
    kept = _kept_items(run)
    return {
        (model, task): kept.get((model, task)) or task_items(run, model, task, score)
        for model, task, score in _parts(run)
    }


def keep_items(run: Run) -> None:
    """Writes a finished run's items.json; a run without samples gets none.

    Whoever changes samples need not call it again: what has changed is read from them.

    Raises:
        UserError: a damaged samples file, or items.json can't be written.
    """
    models: dict[str, dict[str, Any]] = {}
    digests = _digests(run)
    found = run_items(run)
    for model, task, score in _parts(run):
        if not digests[model, task]:
            continue
        items = found[model, task]
        models.setdefault(model, {})[task] = {
            "files": digests[model, task],
            "basis": items_basis(run, task, score),
            **({"untested": items} if isinstance(items, str) else {"items": packed(items)}),
        }
    if models:
        content = {"format": FORMAT, "schema": SCHEMA, "evalsuite": __version__, "models": models}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomically(run.path / FILE, text)


def _kept_items(run: Run) -> RunItems:
    """What items.json holds and is still true. Damaged or of another version it holds nothing."""
    entries = _read(run.path / FILE)
    if not entries:
        return {}
    digests = _digests(run)
    found: dict[tuple[str, str], Items | str] = {}
    for model, task, score in _parts(run):
        try:
            entry = entries[model][task]
            if entry["files"] != digests[model, task] or not digests[model, task]:
                continue
            if entry["basis"] != items_basis(run, task, score):
                continue
            why = entry.get("untested")
            found[model, task] = str(why) if why else unpacked(entry["items"])
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error):
            continue
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    head = {"format": FORMAT, "schema": SCHEMA, "evalsuite": __version__}
    if not isinstance(content, dict) or any(content.get(k) != v for k, v in head.items()):
        return {}
    models = content.get("models")
    return models if isinstance(models, dict) else {}


def _parts(run: Run) -> Iterator[tuple[str, str, TaskScore]]:
    for model in run.leaderboard.models:
        for task, score in model.tasks.items():
            yield model.name, task, score


def _digests(run: Run) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """The SHA-256 of each task's samples files by their place in the run's folder."""
    files = {
        (model, task): [path for _, path in run.samples_files(model, task)]
        for model, task, _ in _parts(run)
    }
    every = list(dict.fromkeys(path for paths in files.values() for path in paths))
    # Hashing lets other threads run; one a core is as fast as memory and disk are.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        hashes = dict(zip(every, pool.map(_sha256, every), strict=True))
    return {
        part: {Path(os.path.relpath(path, run.path)).as_posix(): hashes[path] for path in paths}
        for part, paths in files.items()
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
