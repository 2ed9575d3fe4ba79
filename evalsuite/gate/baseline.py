"""A baseline as one small file: item keys and scores, no texts, for a repository to hold.

Knows the file's format and the gate's records. The same run gives the same bytes; 100,000 items
take about a megabyte.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from evalsuite.files import write_atomically
from evalsuite.gate.packing import packed, unpacked
from evalsuite.gate.records import ModelSide, Side
from evalsuite.records import Failure, UserError

FORMAT = "evalsuite baseline"
SCHEMA = 1
_HEAD = 4096  # bytes in which a baseline says that it is one


def write_baseline(side: Side, path: Path) -> None:
    """Writes a side as a baseline file.

    Raises:
        UserError: `path` is a folder or another's file, the side holds nothing to compare with, or
            the file can't be written.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file for the baseline")
    if not any(model.tasks or model.games for model in side.models):
        raise UserError(f"{side.label}: no task or game to compare later runs with")
    try:
        # A damaged baseline may be written again: its first lines say what it was meant to be.
        head = path.read_bytes()[:_HEAD] if path.exists() else b""
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from error
    if head and FORMAT.encode() not in head:
        raise UserError(f"{path} is there and no baseline; name another file")
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "label": side.label,
        "runs": side.runs,
        "settings": dict(side.settings),
        "models": [
            {
                "name": model.name,
                "tasks": {task: packed(items) for task, items in model.tasks.items()},
                "games": {
                    judge: {name: packed(items) for name, items in opponents.items()}
                    for judge, opponents in model.games.items()
                },
                "untested": dict(model.untested),
            }
            for model in side.models
        ],
        # What an error says may hold any text; that something failed is all a baseline needs.
        "failed": [[f.model, f.task, f.stage] for f in side.failed],
    }
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_baseline(path: Path) -> Side:
    """A baseline file as a side.

    Raises:
        UserError: it can't be read, is no baseline, or one of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise UserError(f"{path}: can't be read as a baseline (nested too deeply)") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as a baseline ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path}: neither the folder of a run nor a baseline (`evalsuite baseline RUN FILE` "
            "writes one)"
        )
    if content.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: baseline of schema {content.get('schema')!r}, this version of evalsuite "
            f"reads {SCHEMA}; write it again"
        )
    try:
        models = tuple(_model(entry) for entry in content["models"])
        failed = tuple(Failure(m, t, s, "failed") for m, t, s in content["failed"])
        settings = {str(k): str(v) for k, v in content["settings"].items()}
        runs = content["runs"]
        if not isinstance(runs, int) or runs < 1:
            raise ValueError(f"of {runs!r} runs")
        if len({model.name for model in models}) < len(models):
            raise ValueError("a model stands in it twice")
        return Side(str(content["label"]), models, settings, failed, runs)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, zlib.error) as error:
        raise UserError(f"{path}: a damaged baseline ({error!r}); write it again") from error


def _model(entry: Any) -> ModelSide:
    return ModelSide(
        str(entry["name"]),
        {task: unpacked(its) for task, its in entry["tasks"].items()},
        {
            judge: {name: unpacked(its) for name, its in opponents.items()}
            for judge, opponents in entry["games"].items()
        },
        {str(task): str(why) for task, why in entry["untested"].items()},
    )
