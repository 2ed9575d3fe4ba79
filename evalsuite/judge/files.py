"""Where the judging room's own files lie: questions, prompts, presets, prices.

Knows the folder and how YAML and JSON lines are read; must not know what the files mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalsuite.records import UserError


def judge_folder() -> Path:
    """tasks/judge: inside an installed package, else in the clone."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "_tasks"
    return (packaged if packaged.is_dir() else package.parent / "tasks") / "judge"


def read_text(path: Path, what: str) -> str:
    """A UTF-8 file's text.

    Raises:
        UserError: it can't be read; `what` says what it should have been.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what} {path} is not UTF-8 text (byte {error.start})") from error


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: it can't be read, is not YAML, or holds something else.
    """
    import yaml

    try:
        loaded = yaml.safe_load(read_text(path, what))
    except yaml.YAMLError as error:
        raise UserError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{what} {path} must be a mapping")
    return loaded


def read_rows(path: Path, what: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a JSON lines file, each with where it stands ("FILE, line 3").

    Raises:
        UserError: it can't be read, or a line is no JSON object.
    """
    rows = []
    # Split at \n alone: U+2028 may stand unescaped inside a JSON string.
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: a JSON object is wanted, not {line.strip()[:40]}")
        rows.append((where, row))
    return rows
