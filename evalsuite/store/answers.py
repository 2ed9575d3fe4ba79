"""Models' answers to the judge's questions, so that a plan can measure prompts instead of guessing.

Kept beside the responses, whose keys a plan could know only by loading the model. Knows keys and
texts; must not know models or questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from evalsuite.store.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS judge_answers (
    key BLOB PRIMARY KEY, turns TEXT NOT NULL) WITHOUT ROWID;
"""


def answer_key(model: str, turns: Sequence[str]) -> bytes:
    """16 bytes that stand for a model (by what identifies it) and a question's turns."""
    text = json.dumps([model, list(turns)])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class KnownAnswers:
    """The last answers to each question that a store has seen, by `answer_key`."""

    def __init__(self, store: Store) -> None:
        self._db = store.extend(_SCHEMA)

    def keep(self, answers: Mapping[bytes, Sequence[str]]) -> None:
        """Keeps answers, one text a turn, in place of earlier ones."""
        rows = [(key, json.dumps(list(turns))) for key, turns in answers.items()]
        self._db.executemany("INSERT OR REPLACE INTO judge_answers VALUES (?, ?)", rows)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, tuple[str, ...]]:
        """The answers there are."""
        found = {}
        for key in keys:
            row = self._db.execute(
                "SELECT turns FROM judge_answers WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                found[key] = tuple(json.loads(row[0]))
        return found
