"""The dataclasses of the judging room: questions, answers, matches, games.

questions + answers -> matches -> games. A game is one line of matches.jsonl. Knows no HTTP, no
engine and no prompt text; every record is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

CheckKind = Literal["exact", "number", "choice", "contains"]
Verdict = Literal["first", "second", "tie", "invalid"]
Outcome = Literal["a", "b", "tie", "invalid"]
QuestionId = int | str
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
    """What one game is about: two models' answers to one turn of a question, in this order."""

    question: Question
    turn: int  # 0 is the first
    first: str
    second: str
    repeat: int  # 0 is the first


@dataclass(frozen=True, slots=True)
class Game:
    """One judged game. Two orders of a pair are two games. `turn` and `repeat` count from 1.

    `verdict` is by position, `winner` the name it means. `scores` are the judge's own numbers when
    its protocol has any. `tokens` and `cost` (US dollars, None when no price is known) cover every
    call this game took; games that share a call, because their answers are equal, share its
    tokens and count it once each. `lengths` are the judged answers' characters. `served` is the
    model id that the server returned, `error` why there is no reply.
    """

    question_id: QuestionId
    category: str
    turn: int
    first: str
    second: str
    repeat: int
    judge: str
    preset: str
    verdict: Verdict
    winner: str | None
    scores: tuple[float, float] | None
    raw_reply: str | None
    tokens: Mapping[str, int]  # {"prompt": ..., "completion": ...}
    cost: float | None
    key: str
    lengths: tuple[int, int]
    calls: int = 0
    served: str | None = None
    delimiter: str | None = None
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """The game as matches.jsonl holds it."""
        return asdict(self)

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Game:
        """The game of one line of matches.jsonl.

        Raises:
            TypeError: the line has other fields.
        """
        pairs = {k: tuple(line[k]) for k in ("scores", "lengths") if line.get(k) is not None}
        return cls(**{**line, **pairs})


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pair's games on one turn and repeat come to: both orders agree, or it is a tie.

    `outcome` is "invalid" when a game of it has no verdict. a < b by name, whatever the order
    of play.
    """

    question_id: QuestionId
    category: str
    turn: int
    repeat: int
    judge: str
    a: str
    b: str
    outcome: Outcome


Answers = Mapping[str, Sequence[Answer]]  # by model
