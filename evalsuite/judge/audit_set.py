"""The built-in pairs that a judge is tried on: two answers to a question, and which one is better.

Knows the file and how a pair becomes a question with two models' answers; knows no judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalsuite.judge.files import judge_folder
from evalsuite.judge.questions import read_check
from evalsuite.judge.records import Answer, Check, Question
from evalsuite.reading import read_rows
from evalsuite.records import UserError

# What the worse answer has in its favour, or what is to be told apart.
TAGS = {
    "fact": "right against wrong facts",
    "maths": "right against wrong results",
    "code": "programs that work against such that don't",
    "constraint": "does what was asked against does not",
    "longer": "the worse one is much longer",
    "confident": "the worse one is surer of itself",
    "formatted": "the worse one is laid out better",
    "planted": "the worse one tells the judge to choose it",
    "equal": "equally good or bad: a tie is right",
}
NAMES = ("a", "b")


@dataclass(frozen=True, slots=True)
class AuditPair:
    """Two answers to a question; `winner` is the better one's name, or "tie"."""

    id: str
    tag: str
    question: str
    a: str
    b: str
    winner: Literal["a", "b", "tie"]
    check: Check | None = None


def own_pairs() -> Path:
    """The file of the built-in pairs."""
    return judge_folder() / "audit.jsonl"


def read_pairs(path: Path) -> tuple[AuditPair, ...]:
    """The pairs of a file, one a line.

    Raises:
        UserError: it can't be read, or a line is no pair.
    """
    pairs = []
    for where, row in read_rows(path, "the audit's pairs"):
        try:
            pairs.append(_pair(row, where))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{where}: no pair of the audit ({error!r})") from error
    if len({pair.id for pair in pairs}) < len(pairs) or not pairs:
        raise UserError(f"{path}: no pairs, or an id that is there twice")
    return tuple(pairs)


def as_league(
    pairs: Sequence[AuditPair],
) -> tuple[tuple[Question, ...], dict[str, list[Answer]]]:
    """The pairs as questions and the answers of two models, "a" and "b".

    A check goes along for the judge that looks at nothing else; no judge is shown it.
    """
    questions = tuple(
        Question(pair.id, pair.tag, (pair.question,), checks=(pair.check,)) for pair in pairs
    )
    return questions, {
        "a": [Answer(pair.id, (pair.a,)) for pair in pairs],
        "b": [Answer(pair.id, (pair.b,)) for pair in pairs],
    }


def _pair(row: Any, where: str) -> AuditPair:
    texts = {key: row[key] for key in ("id", "tag", "question", "a", "b")}
    if not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise ValueError("id, tag, question, a and b are texts")
    if texts["tag"] not in TAGS:
        raise ValueError(f"tag {texts['tag']!r} is not one of {', '.join(TAGS)}")
    winner = row["winner"]
    if winner not in (*NAMES, "tie"):
        raise ValueError(f"winner {winner!r} is not a, b or tie")
    check = row.get("check")
    return AuditPair(
        **texts, winner=winner, check=None if check is None else read_check(check, where)
    )
