"""The dataclasses inside the judging room: questions, answers, matches.

questions + answers -> matches -> games (which travel: evalsuite/records.py). Knows no HTTP, no
engine and no prompt text; every record is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evalsuite.records import QuestionId

CheckKind = Literal["exact", "number", "choice", "contains"]
Message = Mapping[str, str]  # {"role": ..., "content": ...}


@dataclass(frozen=True, slots=True)
class Check:
    """What decides an answer without a judge; one of `answers` is right. See references.py."""

    kind: CheckKind
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question of one turn or more. `reference` and `checks` have one entry a turn, or none.

    A turn without a reference answer has "" there, one that can't be checked None.
    """

    question_id: QuestionId
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] = ()
    checks: tuple[Check | None, ...] = ()

    def check(self, turn: int) -> Check | None:
        """What decides turn `turn` (0 is the first), if anything does."""
        return self.checks[turn] if turn < len(self.checks) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answers to a question, one text a turn."""

    question_id: QuestionId
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What one game is about: two models' answers to one turn of a question, in this order.

    `second` is None where one answer is judged alone.
    """

    question: Question
    turn: int  # 0 is the first
    first: str
    second: str | None
    repeat: int  # 0 is the first


Answers = Mapping[str, Sequence[Answer]]  # by model
