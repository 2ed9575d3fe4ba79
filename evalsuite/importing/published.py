"""What every format is read into, and what their readers share.

Knows records; knows no format and no run folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.judge import Answer, Question
from evalsuite.records import Game, TaskResult, UserError, Verdict


@dataclass(frozen=True, slots=True)
class Published:
    """Judgments or results of others, in our records.

    `models` in the order of first appearance. `samples` are files of lm-eval by model, copied as
    they are. `sources` are the files that were read. `places_known` False: the games' first and
    second are the file's, not the order in which the judge saw the answers. `notes` say what a
    reader of the numbers has to know of how they were read.
    """

    models: tuple[str, ...]
    sources: tuple[Path, ...]
    games: tuple[Game, ...] = ()
    questions: tuple[Question, ...] = ()
    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    results: tuple[TaskResult, ...] = ()
    samples: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    places_known: bool = True
    notes: tuple[str, ...] = ()


def published_game(
    question_id: int | str,
    category: str,
    first: str,
    second: str | None,
    verdict: Verdict,
    *,
    judge: str,
    preset: str,
    lengths: tuple[int, int],
    turn: int = 1,
    repeat: int = 1,
    scores: tuple[float, ...] | None = None,
    raw_reply: str | None = None,
    preference: float | None = None,
    served: str | None = None,
    cost: float | None = None,
    key: str = "",
) -> Game:
    """A game that somebody else played: no calls of ours, no tokens known."""
    return Game(
        question_id=question_id,
        category=category,
        turn=turn,
        first=first,
        second=second,
        repeat=repeat,
        judge=judge,
        preset=preset,
        verdict=verdict,
        winner={"first": first, "second": second}.get(verdict),
        scores=scores,
        raw_reply=raw_reply,
        tokens={},
        cost=cost,
        key=key,
        lengths=lengths,
        served=served,
        preference=preference,
    )


class Repeats:
    """Numbers the games that are there several times, from 1."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[object, ...]] = Counter()

    def next(self, *key: object) -> int:
        self._seen[key] += 1
        return self._seen[key]


def wanted(row: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field of a row, of this kind.

    Raises:
        UserError: it is missing or of another kind.
    """
    value = row.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {key} is missing or is not what this format has there")
    return value


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Each name once, in order of first appearance."""
    return tuple(dict.fromkeys(names))
