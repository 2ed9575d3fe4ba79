"""The folder of a run: a new one, or an unfinished one to go on with; and its manifest.

Decides what is resumed and what must not be written over. Knows no task and no model.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalsuite.files import Closing, write_atomically
from evalsuite.records import UserError
from evalsuite.store.lock import FileLock

MANIFEST = "manifest.json"
_LOCK = ".lock"
# What a manifest says of a run: going on or killed, ended with a failed part, ended well.
RUNNING, PARTIAL, FINISHED = "running", "partial", "finished"
OPEN = (RUNNING, PARTIAL)
# Any of these in a folder means that a run, ours or another version's, has landed there.
_FILES_OF_A_RUN = (MANIFEST, "leaderboard.json", "report.html")


@dataclass(frozen=True, slots=True)
class RunFolder(Closing):
    """An open run folder. `run` is an id that stays the same when the run is resumed."""

    path: Path
    run: str
    created: datetime
    resumed: bool
    asked: Path
    _lock: FileLock
    _made: tuple[Path, ...]

    @classmethod
    def open(cls, asked: Path, measured: Mapping[str, Any]) -> RunFolder:
        """The folder for a run of `measured` (what decides its numbers) at `asked`.

        A run of the same thing there that is unfinished, or of which a part failed, is gone on
        with; any other run there is left alone, and the next free name (`asked`-2, …) is taken.

        Raises:
            UserError: the folder can't be made or written, or another process is using it.
        """
        for number in range(1, 10_000):
            path = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
            if path.exists() and not path.is_dir():
                raise UserError(f"--output {path} is a file; it must be a folder")
            if _is_taken(path) and not _is_open(path, measured):
                continue
            lock, made = _claim(path)
            # Another process may have used the folder between the look and the lock.
            if not _is_taken(path):
                run, created = uuid.uuid4().hex, datetime.now(UTC).replace(microsecond=0)
                folder = cls(path, run, created, False, asked, lock, made)
                folder.write_manifest({"status": RUNNING, "measured": dict(measured)})
                return folder
            if _is_open(path, measured):
                manifest = _read_manifest(path)
                created = datetime.fromisoformat(manifest["created"])
                return cls(path, manifest["run"], created, True, asked, lock, ())
            (path / _LOCK).unlink(missing_ok=True)
            lock.close()
        raise UserError(f"no free name for a run beside {asked}; name another --output")

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Writes manifest.json: who this run is, then `content`."""
        head = {"schema": 1, "run": self.run, "created": self.created.isoformat()}
        text = json.dumps({**head, **content}, indent=2, ensure_ascii=False)
        write_atomically(self.path / MANIFEST, text + "\n")

    def discard(self) -> None:
        """Takes away a new folder of a run that could not begin; files of others stay."""
        if self.resumed:
            return
        (self.path / MANIFEST).unlink(missing_ok=True)
        (self.path / _LOCK).unlink(missing_ok=True)
        for folder in self._made:
            if any(folder.iterdir()):
                break
            folder.rmdir()

    def close(self) -> None:
        """Lets other processes use the folder."""
        (self.path / _LOCK).unlink(missing_ok=True)
        self._lock.close()


def _is_taken(path: Path) -> bool:
    return any((path / name).exists() for name in _FILES_OF_A_RUN)


def _is_open(path: Path, measured: Mapping[str, Any]) -> bool:
    """Whether the run in a folder is one of `measured` that there is more to do for."""
    manifest = _read_manifest(path)
    return manifest.get("status") in OPEN and manifest.get("measured") == measured


def _claim(path: Path) -> tuple[FileLock, tuple[Path, ...]]:
    """The lock on a folder, and which folders had to be made for it, the innermost first."""
    made = tuple(folder for folder in (path, *path.parents) if not folder.exists())
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {path}: {error.strerror}") from error
    return FileLock(path / _LOCK, f"the output folder {path}"), made


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a folder; {} when there is none that this version understands."""
    try:
        loaded = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) and loaded.get("schema") == 1 else {}
