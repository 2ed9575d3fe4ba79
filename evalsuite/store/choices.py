"""Which games a run chose to play, round by round: decided once, the same after a resume.

Knows runs, leagues by their hash and numbers of games; must not know how they are chosen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from evalsuite.store.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS judge_choices (
    run TEXT NOT NULL, league BLOB NOT NULL, round INTEGER NOT NULL, chosen TEXT NOT NULL,
    PRIMARY KEY (run, league, round)) WITHOUT ROWID;
"""


class Choices:
    """The choices of one run in one league (a hash of everything that could be chosen)."""

    def __init__(self, store: Store, run: str, league: bytes) -> None:
        self._db = store.extend(_SCHEMA)
        self._run, self._league = run, league

    def get(self, number: int) -> list[int] | None:
        """What was chosen in a round (0 is the first); None when it was not reached."""
        row = self._db.execute(
            "SELECT chosen FROM judge_choices WHERE run = ? AND league = ? AND round = ?",
            (self._run, self._league, number),
        ).fetchone()
        return None if row is None else [int(one) for one in json.loads(row[0])]

    def keep(self, number: int, chosen: Sequence[int]) -> None:
        """Keeps a round's choice, before any of it is played."""
        self._db.execute(
            "INSERT INTO judge_choices VALUES (?, ?, ?, ?)",
            (self._run, self._league, number, json.dumps(list(chosen))),
        )
