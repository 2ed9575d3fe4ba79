"""Text files that people give: read as UTF-8, as JSON, as lines of JSON, with the place of a fault.

Knows files and JSON; must not know what is in them. What can't be read is a UserError of one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalsuite.records import UserError

_SHOWN = 40  # characters of a line that is not what it should be


def read_text(path: Path, what: str) -> str:
    """A UTF-8 file's text, without the mark that some editors begin it with.

    Raises:
        UserError: it can't be read; `what` says what it should have been.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what} {path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text; a lone surrogate in it, which no file takes, becomes "?".

    Raises:
        UserError: it is none, or nested too deeply to be read; `where` says which.
    """
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})") from error
    except RecursionError as error:
        raise UserError(f"{where}: nested too deeply") from error
    return _whole(loaded) if "\\ud" in text or "\\uD" in text else loaded


def read_rows(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON lines file, each with where it stands ("FILE, line 3").

    Empty lines are skipped.

    Raises:
        UserError: it can't be read, or a line is no JSON object.
    """
    # Split at \n alone: U+2028 may stand unescaped inside a JSON string.
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise UserError(
                f"{where}: a JSON object is wanted in {what}, not {line.strip()[:_SHOWN]}"
            )
        yield where, row


def read_entries(path: Path, what: str) -> list[tuple[str, dict[str, Any]]] | None:
    """The objects of a file that is one JSON list, each with its place, counted from 0.

    None for a file that is no list, which may be JSON lines.

    Raises:
        UserError: it can't be read, is no JSON, or an entry is no object.
    """
    text = read_text(path, what)
    if not text.lstrip().startswith("["):
        return None
    found = []
    for number, entry in enumerate(parse_json(text, f"{what} {path}")):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict):
            raise UserError(f"{where}: a JSON object is wanted in {what}")
        found.append((where, entry))
    return found


def _whole(value: Any) -> Any:
    """The value with every lone surrogate in its texts and names replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return value
