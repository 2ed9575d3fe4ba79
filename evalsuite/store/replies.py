"""Replies of evaluated models behind servers, one row a request, kept the moment it comes.

The key covers endpoint, requested model and the whole request; the model id that the server
returned stands beside it. Knows keys and replies; must not know tasks or HTTP.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict

from evalsuite.records import TextReply, TextRequest
from evalsuite.store.store import Store

_KEYS_A_QUERY = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY, run TEXT NOT NULL, endpoint TEXT NOT NULL, requested TEXT NOT NULL,
    served TEXT, reply TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
"""


def reply_key(identity: str, request: TextRequest) -> bytes:
    """16 bytes that stand for one request to one model of one server."""
    asked = asdict(request)
    if not request.temperature:
        asked["seed"] = None  # a greedy answer is the same under every seed
    text = json.dumps([identity, asked], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Replies:
    """The replies in a store. `refresh`: those of earlier runs are not seen."""

    def __init__(self, store: Store, run: str, *, refresh: bool = False) -> None:
        self._db = store.extend(_SCHEMA)
        self._run, self._refresh = run, refresh

    def get(self, keys: Iterable[bytes]) -> dict[bytes, TextReply]:
        """The replies there are for `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, TextReply] = {}
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            some = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT key, run, reply FROM replies WHERE key IN ({marks})", some
            )
            for key, run, reply in rows:
                if run == self._run or not self._refresh:
                    found[key] = TextReply(**json.loads(reply))
        return found

    def keep(self, key: bytes, endpoint: str, requested: str, reply: TextReply) -> None:
        """Keeps a reply."""
        row = (key, self._run, endpoint, requested, reply.served, json.dumps(asdict(reply)))
        self._db.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, time.time())
        )
