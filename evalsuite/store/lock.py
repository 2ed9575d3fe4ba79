"""A lock file that holds a second writer out, and that a killed process can't leave behind locked.

The kernel drops an flock with its holder, so `kill -9` needs no cleaning up by hand.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from evalsuite.files import Closing
from evalsuite.records import UserError


class FileLock(Closing):
    """An exclusive lock on `path`, held from construction until `close` or the end of the process.

    Raises:
        UserError: another process holds it (its id is named), or the file can't be written.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._file = -1
        while not self._is_at(path):
            self.close()
            self._file = _open_locked(path, what)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _is_at(self, path: Path) -> bool:
        """Whether the locked file is still the one at `path`: a holder may have removed it."""
        if self._file < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Lets go. The file stays, unless its holder removed it before."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def _open_locked(path: Path, what: str) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        os.close(file)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise UserError(f"cannot lock {path}: {error.strerror}") from error
        by = f" (process {holder})" if holder else ""
        raise UserError(
            f"{what} is in use by another run{by}: wait for it, or name another one"
        ) from error
    return file
