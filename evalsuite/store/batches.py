"""Batches of calls to judges in the store: what was meant to be sent, written down before it is.

A batch lives on the server for a day, longer than any process here. Its row says under which tag
to look for it there, its lines which calls are in it and what may be owed for them. Knows keys,
tags and dollars; must not know prompts or HTTP.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from evalsuite.store.judgments import Judgment, Judgments, insert_call, insert_judgment
from evalsuite.store.store import Store

_KEYS_A_QUERY = 500
_TAG_BYTES = 16
_SCHEMA = """
CREATE TABLE IF NOT EXISTS judge_batches (
    tag TEXT PRIMARY KEY, run TEXT NOT NULL, endpoint TEXT NOT NULL, requested TEXT NOT NULL,
    begun REAL NOT NULL, posted REAL, server_id TEXT, ended TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judge_batch_lines (
    tag TEXT NOT NULL, key BLOB NOT NULL, delimiter TEXT NOT NULL, number INTEGER NOT NULL,
    error TEXT, PRIMARY KEY (tag, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS judge_batch_lines_key ON judge_batch_lines (key);
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One call of a batch: the code around its answers, its number in the bill, its worst case."""

    delimiter: str
    number: int
    reserved: float


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that was meant to be sent and has no results yet.

    `posted` is when the server was asked to begin it (None: it was not, so it can't exist there),
    `server_id` its name there when that is known. `lines` are its calls by key.
    """

    tag: str
    run: str
    posted: float | None
    server_id: str | None
    lines: Mapping[bytes, Line]


class Batches:
    """The batches of a store to one model of one endpoint."""

    def __init__(self, store: Store, endpoint: str, requested: str) -> None:
        Judgments(store, "")  # its tables hold the bill and the replies
        self._db = store.extend(_SCHEMA)
        self._endpoint, self._requested = endpoint, requested

    def intend(self, run: str, calls: Sequence[tuple[bytes, str, float]]) -> OpenBatch:
        """Writes down a batch that is about to be sent: each call's key, delimiter, worst case."""
        tag = secrets.token_hex(_TAG_BYTES)
        lines: dict[bytes, Line] = {}
        with self._transaction():
            self._db.execute(
                "INSERT INTO judge_batches (tag, run, endpoint, requested, begun) "
                "VALUES (?, ?, ?, ?, ?)",
                (tag, run, self._endpoint, self._requested, time.time()),
            )
            for key, delimiter, reserved in calls:
                number = insert_call(self._db, run, key, reserved)
                lines[key] = Line(delimiter, number, reserved)
            self._db.executemany(
                "INSERT INTO judge_batch_lines (tag, key, delimiter, number) VALUES (?, ?, ?, ?)",
                [(tag, key, line.delimiter, line.number) for key, line in lines.items()],
            )
        return OpenBatch(tag, run, None, None, lines)

    def post(self, tag: str) -> float:
        """The server is about to be asked to begin the batch; from now on it may exist there.

        Returns the time.
        """
        now = time.time()
        self._db.execute("UPDATE judge_batches SET posted = ? WHERE tag = ?", (now, tag))
        return now

    def record(self, tag: str, server_id: str) -> None:
        """The server has the batch under this id."""
        self._db.execute("UPDATE judge_batches SET server_id = ? WHERE tag = ?", (server_id, tag))

    def open(self) -> list[OpenBatch]:
        """The batches without results, oldest first."""
        rows = self._db.execute(
            "SELECT tag, run, posted, server_id FROM judge_batches "
            "WHERE endpoint = ? AND requested = ? AND ended IS NULL ORDER BY begun, tag",
            (self._endpoint, self._requested),
        ).fetchall()
        return [
            OpenBatch(tag, run, posted, server_id, self._lines(tag))
            for tag, run, posted, server_id in rows
        ]

    def _lines(self, tag: str) -> dict[bytes, Line]:
        rows = self._db.execute(
            "SELECT l.key, l.delimiter, l.number, c.reserved FROM judge_batch_lines AS l "
            "JOIN judge_calls AS c ON c.number = l.number WHERE l.tag = ? ORDER BY l.number",
            (tag,),
        )
        return {key: Line(*rest) for key, *rest in rows}

    def end(
        self,
        batch: OpenBatch,
        status: str,
        kept: Mapping[bytes, tuple[Judgment, float]],
        failed: Mapping[bytes, tuple[str | None, float]],
    ) -> None:
        """Keeps a batch's replies and settles all that it cost, as a whole or not at all.

        `kept` are judgments and their dollars; `failed` are the calls without a reply, why (None:
        it was never tried) and what they are charged. Together they are all of its lines.
        """
        assert kept.keys() | failed.keys() == batch.lines.keys()
        assert not kept.keys() & failed.keys()
        with self._transaction():
            for key, (judgment, charged) in kept.items():
                insert_judgment(self._db, batch.run, key, judgment)
                self._settle(batch.lines[key].number, charged)
            for key, (error, charged) in failed.items():
                self._settle(batch.lines[key].number, charged)
                self._db.execute(
                    "UPDATE judge_batch_lines SET error = ? WHERE tag = ? AND key = ?",
                    (error, batch.tag, key),
                )
            self._db.execute(
                "UPDATE judge_batches SET ended = ? WHERE tag = ?", (status, batch.tag)
            )

    def failures(self, run: str, keys: Iterable[bytes]) -> dict[bytes, list[str]]:
        """Why the calls of these keys got no reply in the run's ended batches, oldest first."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, list[str]] = {}
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            some = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                "SELECT l.key, l.error FROM judge_batch_lines AS l "
                "JOIN judge_batches AS b ON b.tag = l.tag "
                f"WHERE l.key IN ({marks}) AND b.run = ? AND l.error IS NOT NULL ORDER BY l.number",
                [*some, run],
            )
            for key, error in rows:
                found.setdefault(key, []).append(error)
        return found

    def _settle(self, number: int, cost: float) -> None:
        self._db.execute("UPDATE judge_calls SET cost = ? WHERE number = ?", (cost, number))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
