"""What became of programs in the store, one row a program, kept the moment it ends.

Knows keys and outcomes as plain values; must not know sandboxes, tasks or models.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from evalsuite.store.store import Store

# Raise it when the same program would come to another end: old rows are then never matched.
_KEY_VERSION = 1
_KEYS_A_QUERY = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS programs (
    key BLOB PRIMARY KEY, run TEXT NOT NULL, value TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
"""


def program_key(content: Mapping[str, Any]) -> bytes:
    """16 bytes that stand for a program and its tests: equal exactly when all of `content` is.

    `content` must be JSON, and hold all that can change the outcome: sources, limits, what holds
    the program, the Python that runs it.
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(f"{_KEY_VERSION}\n{text}".encode(), digest_size=16).digest()


class Outcomes:
    """The outcomes of a store, as seen by one run. With `refresh` only those that it made itself.

    An outcome is a mapping of plain values, kept as JSON.
    """

    def __init__(self, store: Store, run: str, *, refresh: bool = False) -> None:
        self._db = store.extend(_SCHEMA)
        self._run, self._refresh = run, refresh

    def get(self, keys: Iterable[bytes]) -> dict[bytes, dict[str, Any]]:
        """The outcomes there are for `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, dict[str, Any]] = {}
        only = "AND run = ?" if self._refresh else ""
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            some = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT key, value FROM programs WHERE key IN ({marks}) {only}",
                [*some, self._run] if self._refresh else some,
            )
            found.update((key, json.loads(value)) for key, value in rows)
        return found

    def keep(self, key: bytes, outcome: Mapping[str, Any]) -> None:
        """Keeps one outcome."""
        self._db.execute(
            "INSERT OR REPLACE INTO programs VALUES (?, ?, ?, ?)",
            (key, self._run, json.dumps(dict(outcome), ensure_ascii=True), time.time()),
        )
