"""Verdicts of people, or known ones, that a judge's are held against: read from a file of lines.

Knows FastChat's human_judgments and lines of our own; knows no game and no judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.reading import read_rows
from evalsuite.records import UserError

_TIES = ("tie", "tie (bothbad)")  # the second is what the Chatbot Arena's files have
_FORMS = (
    "{question_id, turn, model_a, model_b, winner: model_a, model_b or tie} or "
    "{question_id, turn, a, b, winner: a model's name or tie}"
)


@dataclass(frozen=True, slots=True)
class Label:
    """One labeller's verdict on a pair's answers to a turn (from 1); `winner` None is a tie.

    `question_id` is a text, so that 81 and "81" are the same question. Several labels of one pair
    are several labellers.
    """

    question_id: str
    turn: int
    a: str
    b: str
    winner: str | None

    @property
    def pair(self) -> tuple[str, str]:
        """The two models, by name."""
        low, high = sorted((self.a, self.b))
        return low, high


def read_labels(path: Path) -> tuple[Label, ...]:
    """The labels of a file, one a line, in either form.

    Raises:
        UserError: it can't be read, is empty, or a line is no label (with its number).
    """
    labels = []
    for where, row in read_rows(path, "the labels of --judge-labels"):
        try:
            labels.append(_label(row))
        except ValueError as error:
            raise UserError(f"--judge-labels: {where}: {error}") from error
    if not labels:
        raise UserError(f"--judge-labels: there is no label in {path}; a line is {_FORMS}")
    return tuple(labels)


def _label(row: Mapping[str, Any]) -> Label:
    fastchat = "model_a" in row or "model_b" in row
    a, b = (row.get(key) for key in (("model_a", "model_b") if fastchat else ("a", "b")))
    if not isinstance(a, str) or not isinstance(b, str) or not a or not b:
        raise ValueError(f"the two models are not named; a line is {_FORMS}")
    if a == b:
        raise ValueError(f"{a} is compared with itself")
    question = row.get("question_id")
    if not isinstance(question, int | str) or isinstance(question, bool):
        raise ValueError("question_id must be a number or a text")
    turn = row.get("turn", 1)
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 1:
        raise ValueError(f"turn must be a whole number from 1, not {turn!r}")
    meaning: dict[str, str | None] = dict.fromkeys(_TIES)
    meaning |= {"model_a": a, "model_b": b} if fastchat else {a: a, b: b}
    winner = row.get("winner")
    if not isinstance(winner, str) or winner not in meaning:
        known = "model_a, model_b or tie" if fastchat else f"{a}, {b} or tie"
        raise ValueError(f"winner is {winner!r}, not {known}")
    return Label(str(question), turn, a, b, meaning[winner])
