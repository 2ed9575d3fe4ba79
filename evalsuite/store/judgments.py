"""Replies of judges in the store, one row a call, kept the moment it ends; and what calls cost.

Replies are kept as they came: what verdict they carry is read again each time. Every call is
written down before it is sent, so that after a kill its cost is known to be unknown. Knows keys
and texts; must not know models, prompts or prices.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalsuite.store.store import Store

# Raise it when the fields of a key change their meaning: old rows are then never matched.
_KEY_VERSION = 1
_KEYS_A_QUERY = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS judgments (
    key BLOB PRIMARY KEY, run TEXT NOT NULL, endpoint TEXT NOT NULL, requested TEXT NOT NULL,
    served TEXT, delimiter TEXT, readable INTEGER NOT NULL, raw_reply TEXT NOT NULL, finish TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judge_calls (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, key BLOB NOT NULL, reserved REAL NOT NULL,
    cost REAL, begun REAL NOT NULL);
CREATE INDEX IF NOT EXISTS judge_calls_run ON judge_calls (run);
CREATE TABLE IF NOT EXISTS judge_counts (
    endpoint TEXT NOT NULL, requested TEXT NOT NULL, calls INTEGER NOT NULL,
    characters INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    PRIMARY KEY (endpoint, requested)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One finished call to a judge.

    `readable` False: the server's body was no answer of the protocol; `raw_reply` is then that
    body. `served` is the model id the server returned, `finish` why the reply ended. Token counts
    are the server's own, None when it told none; `cost` is in US dollars, None without a price.
    """

    endpoint: str
    requested: str
    raw_reply: str
    served: str | None = None
    delimiter: str | None = None
    readable: bool = True
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


def judgment_key(content: Mapping[str, Any]) -> bytes:
    """16 bytes that stand for what a judge is asked: equal exactly when all of `content` is.

    `content` must be JSON, and hold all that can change the reply: endpoint, requested model,
    parameters, templates, question, answers in their order, and repeat.
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(f"{_KEY_VERSION}\n{text}".encode(), digest_size=16).digest()


class Judgments:
    """The judgments of a store, as seen by one run.

    With `refresh` only what this run itself has asked is there.
    """

    def __init__(self, store: Store, run: str, *, refresh: bool = False) -> None:
        self._db = store.extend(_SCHEMA)
        self._run, self._refresh = run, refresh

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Judgment]:
        """The judgments there are for `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, Judgment] = {}
        only = "AND run = ?" if self._refresh else ""
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            some = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                "SELECT key, endpoint, requested, raw_reply, served, delimiter, readable, finish, "
                "prompt_tokens, completion_tokens, cost FROM judgments "
                f"WHERE key IN ({marks}) {only}",
                [*some, self._run] if self._refresh else some,
            )
            for key, endpoint, requested, raw, served, delimiter, readable, *rest in rows:
                found[key] = Judgment(
                    endpoint, requested, raw, served, delimiter, bool(readable), *rest
                )
        return found

    def begin(self, key: bytes, reserved: float) -> int:
        """Writes down that a call is about to be sent that may cost `reserved` dollars.

        Returns its number, for `keep` or `settle`.
        """
        return insert_call(self._db, self._run, key, reserved)

    def settle(self, number: int, cost: float) -> None:
        """The call ended without a reply worth keeping, and cost so much."""
        self._db.execute("UPDATE judge_calls SET cost = ? WHERE number = ?", (cost, number))

    def keep(self, number: int, key: bytes, judgment: Judgment, charged: float) -> None:
        """Keeps a call's reply and settles its cost (`charged` dollars), both or neither."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            insert_judgment(self._db, self._run, key, judgment)
            self.settle(number, charged)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def spent(self) -> float:
        """Dollars this run has spent in all its starts; a call cut off by a kill at its worst."""
        row = self._db.execute(
            "SELECT COALESCE(SUM(COALESCE(cost, reserved)), 0) FROM judge_calls WHERE run = ?",
            (self._run,),
        ).fetchone()
        return float(row[0])

    # ---- what a server counts

    def keep_counts(
        self, endpoint: str, requested: str, calls: int, characters: int, prompt_tokens: int
    ) -> None:
        """Adds what a server counted in prompts of so many characters."""
        self._db.execute(
            "INSERT INTO judge_counts VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (endpoint, requested) DO UPDATE SET calls = calls + excluded.calls, "
            "characters = characters + excluded.characters, "
            "prompt_tokens = prompt_tokens + excluded.prompt_tokens",
            (endpoint, requested, calls, characters, prompt_tokens),
        )

    def counts(self, endpoint: str, requested: str) -> tuple[int, int, int]:
        """Calls, characters and prompt tokens that a server has counted in all runs."""
        row = self._db.execute(
            "SELECT calls, characters, prompt_tokens FROM judge_counts "
            "WHERE endpoint = ? AND requested = ?",
            (endpoint, requested),
        ).fetchone()
        return (0, 0, 0) if row is None else (int(row[0]), int(row[1]), int(row[2]))


def insert_call(db: sqlite3.Connection, run: str, key: bytes, reserved: float) -> int:
    """Writes down a call that may cost `reserved` dollars; returns its number."""
    cursor = db.execute(
        "INSERT INTO judge_calls (run, key, reserved, begun) VALUES (?, ?, ?, ?)",
        (run, key, reserved, time.time()),
    )
    assert cursor.lastrowid is not None  # an INSERT always has one
    return cursor.lastrowid


def insert_judgment(db: sqlite3.Connection, run: str, key: bytes, judgment: Judgment) -> None:
    """Writes a judgment as one that `run` asked for; the caller says when it is committed."""
    db.execute(
        "INSERT OR REPLACE INTO judgments VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            key,
            run,
            judgment.endpoint,
            judgment.requested,
            judgment.served,
            judgment.delimiter,
            int(judgment.readable),
            judgment.raw_reply,
            judgment.finish,
            judgment.prompt_tokens,
            judgment.completion_tokens,
            judgment.cost,
            time.time(),
        ),
    )
