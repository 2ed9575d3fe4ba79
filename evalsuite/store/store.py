"""The content-addressed store: one SQLite file, one writer, nothing computed twice.

It keeps responses by key, and for each run's plan which requests were missing when it began and
which batches were committed since. Kill the process at any moment: a batch is there whole or not
at all. It knows keys and records; it must not know tasks, models or how anything is computed.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from evalsuite.files import Closing
from evalsuite.records import GenerateResponse, Response, ScoreResponse, UserError
from evalsuite.store.lock import FileLock

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (key BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (plan BLOB PRIMARY KEY, missing BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    plan BLOB NOT NULL, number INTEGER NOT NULL, begun INTEGER NOT NULL, committed INTEGER NOT NULL,
    PRIMARY KEY (plan, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file_hashes (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL) WITHOUT ROWID;
"""
# SQLite's own limit on parameters of one statement is larger, but this many is fast enough.
_KEYS_A_QUERY = 500
# Shared memory, which write-ahead logging needs, doesn't work across machines.
_NETWORK_FILE_SYSTEM = re.compile(
    r"nfs4?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|pvfs2|(fuse\.)?glusterfs|"
    r"fuse\.(sshfs|juicefs)"
)


class Store(Closing):
    """The store in the file `path`, locked for this process until `close`.

    Raises:
        UserError: another process writes to it, the file can't be written, or it is no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make the folder of the store {path}: {error.strerror}; name another "
                "place with --store"
            ) from error
        if path.is_dir():
            raise UserError(f"the store {path} is a folder; --store takes a file")
        self._lock = FileLock(path.with_name(path.name + ".lock"), f"the store {path}")
        try:
            self._db = self._open()
        except UserError as error:
            self._lock.close()
            if isinstance(error.__cause__, sqlite3.Error):
                raise UserError(
                    f"{path} cannot be used as a store ({error.__cause__}); name another file "
                    "with --store"
                ) from error
            raise

    def _open(self) -> sqlite3.Connection:
        # One thread at a time uses it: the one that made it waits while another sends calls
        # (remote.waiting).
        db = sqlite3.connect(
            self.path, isolation_level=None, factory=_Connection, check_same_thread=False
        )
        rollback = _NETWORK_FILE_SYSTEM.fullmatch(file_system(self.path.parent)) is not None
        db.execute(f"PRAGMA journal_mode={'DELETE' if rollback else 'WAL'}")
        db.execute(f"PRAGMA synchronous={'FULL' if rollback else 'NORMAL'}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            db.close()
            raise UserError(
                f"the store {self.path} was written by another version of evalsuite (its format "
                f"{version}, this one's {_SCHEMA_VERSION}); name another file with --store"
            )
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        return db

    # ---- responses

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Response]:
        """The responses there are for `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, Response] = {}
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            some = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT key, value FROM responses WHERE key IN ({marks})", some
            )
            found.update((key, _decode(value)) for key, value in rows)
        return found

    # ---- plans and batches

    def missing(self, plan: bytes, keys: Sequence[bytes], refresh: bool) -> list[int]:
        """Indices into `keys` that this plan has to compute, as decided when it first began.

        Batches must be a function of the plan and not of what remains (the last bits of a number
        depend on its batch), so the decision is kept: a resumed run makes the same batches.
        """
        row = self._db.execute("SELECT missing FROM plans WHERE plan = ?", (plan,)).fetchone()
        if row is not None:
            return array("I", zlib.decompress(row[0])).tolist()
        have = {} if refresh else self.get(keys)
        missing = [i for i, key in enumerate(keys) if key not in have]
        packed = zlib.compress(array("I", missing).tobytes())
        self._db.execute("INSERT INTO plans VALUES (?, ?)", (plan, packed))
        return missing

    def committed(self, plan: bytes) -> set[int]:
        """Numbers of the plan's batches that are finished."""
        rows = self._db.execute(
            "SELECT number FROM batches WHERE plan = ? AND committed > 0", (plan,)
        )
        return {number for (number,) in rows}

    def begin(self, plan: bytes, number: int) -> None:
        """Counts the start of a batch: more starts than commits show what was repeated."""
        self._db.execute(
            "INSERT INTO batches VALUES (?, ?, 1, 0) "
            "ON CONFLICT (plan, number) DO UPDATE SET begun = begun + 1",
            (plan, number),
        )

    def commit(self, plan: bytes, number: int, responses: Mapping[bytes, Response]) -> None:
        """Keeps a batch's responses and marks it finished, all or nothing."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO responses VALUES (?, ?)",
                [(key, _encode(response)) for key, response in responses.items()],
            )
            self._db.execute(
                "UPDATE batches SET committed = committed + 1 WHERE plan = ? AND number = ?",
                (plan, number),
            )

    def counts(self, plan: bytes) -> tuple[int, int]:
        """Batches begun and committed over all starts of a plan."""
        row = self._db.execute(
            "SELECT COALESCE(SUM(begun), 0), COALESCE(SUM(committed), 0) FROM batches "
            "WHERE plan = ?",
            (plan,),
        ).fetchone()
        return int(row[0]), int(row[1])

    # ---- hashes of files

    def file_hash(self, path: Path) -> str | None:
        """The SHA-256 kept for a file, if neither its size nor its time has changed since."""
        stat = path.stat()
        row = self._db.execute(
            "SELECT sha256 FROM file_hashes WHERE path = ? AND size = ? AND changed_ns = ?",
            (str(path.resolve()), stat.st_size, stat.st_mtime_ns),
        ).fetchone()
        return str(row[0]) if row else None

    def keep_file_hash(self, path: Path, sha256: str) -> None:
        """Keeps a file's SHA-256 together with its present size and time."""
        stat = path.stat()
        self._db.execute(
            "INSERT OR REPLACE INTO file_hashes VALUES (?, ?, ?, ?)",
            (str(path.resolve()), stat.st_size, stat.st_mtime_ns, sha256),
        )

    # ---- rows of other modules

    def extend(self, schema: str) -> sqlite3.Connection:
        """The open connection, for a module that keeps rows of its own kind in this file.

        `schema` is run first; it may only add (CREATE … IF NOT EXISTS), so that the store's
        version stays what it is. Each statement commits by itself.
        """
        self._db.executescript(schema)
        return self._db

    # ---- life

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def close(self) -> None:
        """Closes the file and lets the next writer in."""
        self._db.close()
        self._lock.close()


class _Connection(sqlite3.Connection):
    """SQLite's connection; a file that can't be used any more is one clear line."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with self._told():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with self._told():
            return super().executemany(*arguments)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            # The subclasses besides OperationalError are mistakes of ours.
            if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise
            raise UserError(
                f"the store can't be used any more ({error}): is the disk full? Nothing that was "
                "committed is lost; another file can be named with --store",
                exit_code=4,
            ) from error


class _Transaction:
    """BEGIN … COMMIT, or ROLLBACK on any exception."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _encode(response: Response) -> str:
    # JSON keeps a double exactly: Python writes the shortest text that reads back as the same bits.
    match response:
        case ScoreResponse(logprob, is_greedy, truncated):
            return json.dumps(["s", logprob, is_greedy, truncated])
        case GenerateResponse(text, tokens, finish, truncated):
            return json.dumps(["g", text, tokens, finish, truncated])


def _decode(value: str) -> Response:
    kind, *fields = json.loads(value)
    if kind == "s":
        return ScoreResponse(*fields)
    text, tokens, finish, truncated = fields
    return GenerateResponse(text, tuple(tokens), finish, truncated)


def file_system(folder: Path) -> str:
    """The type of the file system that `folder` is on ("ext4", "nfs4", …); "" when unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: no table, and no network cluster to fear
        return ""
    place, best, kind = str(folder.resolve()), "", ""
    for line in mounts.splitlines():
        _, point, this_kind, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip(os.sep) + os.sep)
        if inside and len(point) >= len(best):
            best, kind = point, this_kind
    return kind
