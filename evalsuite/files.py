"""Files that are whole or not there, names that are safe as files, things that `with` closes.

Knows no run and no task.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from evalsuite.records import UserError

# File systems allow 255 bytes; a name stands between "samples_" and "_<date>.jsonl".
LONGEST_NAME = 150


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Writes a whole text file or nothing: into a neighbour first, renamed once it is on disk.

    A lone surrogate, which a model's tokens can leave behind, becomes "?".

    Raises:
        UserError: the file can't be written: a full disk, no permission.
    """
    try:
        _write_beside(path, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", exit_code=4) from error


def _write_beside(path: Path, text: str | Iterable[str]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    neighbour = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        neighbour.chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide a report from colleagues
        neighbour.replace(path)
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise


def safe_name(name: str) -> str:
    """A model's or task's name as one file or folder name, lm-eval's form where that is safe.

    Names that would leave the folder, hide, or be too long are changed; cut ones get a hash.
    """
    safe = re.sub(r"[\"<>:/|\\?*\[\]\x00-\x1f\x7f]+", "__", name).strip()
    if not safe.strip("."):
        safe = "_" * max(len(safe), 1)
    if safe.startswith("."):
        safe = "_" + safe[1:]
    if len(safe.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        safe = safe.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + "-" + digest
    return safe


class Closing(ABC):
    """What has a `close` and is used by `with`."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
