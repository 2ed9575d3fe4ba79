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

    @classmethod
    def open(cls, asked: Path, measured: Mapping[str, Any]) -> RunFolder:
        """The folder for a run of `measured` (what decides its numbers) at `asked`.

        An unfinished run of the same thing there is resumed; any other run there is left alone,
        and the next free name (`asked`-2, -3, …) is taken.

        Raises:
            UserError: the folder can't be made or written, or another process is using it.
        """
        for number in range(1, 10_000):
            path = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
            if path.exists() and not path.is_dir():
                raise UserError(f"--output {path} is a file; it must be a folder")
            if not any((path / name).exists() for name in _FILES_OF_A_RUN):
                lock = _claim(path)
                run, created = uuid.uuid4().hex, datetime.now(UTC).replace(microsecond=0)
                folder = cls(path, run, created, False, asked, lock)
                folder.write_manifest({"status": "running", "measured": dict(measured)})
                return folder
            manifest = _read_manifest(path)
            if manifest.get("status") == "running" and manifest.get("measured") == measured:
                lock = _claim(path)
                created = datetime.fromisoformat(manifest["created"])
                return cls(path, manifest["run"], created, True, asked, lock)
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
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def close(self) -> None:
        """Lets other processes use the folder."""
        (self.path / _LOCK).unlink(missing_ok=True)
        self._lock.close()


def _claim(path: Path) -> FileLock:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {path}: {error.strerror}") from error
    return FileLock(path / _LOCK, f"the output folder {path}")


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a folder; {} when there is none that this version understands."""
    try:
        loaded = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) and loaded.get("schema") == 1 else {}
