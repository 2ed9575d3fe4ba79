"""Reads judge questions: FastChat's and alpaca_eval's files as they are, our own with checks.

Knows the file formats and how a question is put to a model. It must not know who answers or judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from evalsuite.judge.files import judge_folder
from evalsuite.judge.records import Check, CheckKind, Question
from evalsuite.reading import read_entries, read_rows
from evalsuite.records import UserError

_PLAIN_END = "\nAnswer:"


def own_questions() -> Path:
    """The questions for instructed models."""
    return judge_folder() / "questions.jsonl"


def demo_questions() -> Path:
    """The questions that the embedded demo models can answer, each with a checkable answer."""
    return judge_folder() / "demo_questions.jsonl"


def references_beside(path: Path) -> Path | None:
    """The reference answers that FastChat keeps beside a question.jsonl, if they are there."""
    found = sorted((path.parent / "reference_answer").glob("*.jsonl"))
    return found[0] if len(found) == 1 else None


def read_questions(path: Path, references: Path | None = None) -> tuple[Question, ...]:
    """The questions of a FastChat question.jsonl, of ours (the same with `check`), or of
    alpaca_eval's JSON list, whose instructions are numbered from 0.

    `references` is a FastChat reference_answer file for them: its answers become `reference`
    where the question has none of its own.

    Raises:
        UserError: a file that can't be read, or a bad line, with its number.
    """
    given = _read_references(references) if references is not None else {}
    found: dict[str, Question] = {}
    for where, row in _instructions(path) or read_rows(path, "the questions"):
        question = _question(row, where, given)
        name = str(question.question_id)
        if name in found:
            raise UserError(f"{where}: question_id {name} is there twice")
        found[name] = question
    if not found:
        raise UserError(f"the questions {path}: there is no question in it")
    return tuple(found.values())


def answer_prompts(
    question: Question, turn: int, previous_answers: Sequence[str] = ()
) -> list[dict[str, str]]:
    """The chat that asks turn `turn` (0 is the first), the model's own earlier answers in it.

    Raises:
        ValueError: no such turn, or not one previous answer for each earlier turn.
    """
    if not 0 <= turn < len(question.turns) or len(previous_answers) != turn:
        raise ValueError(f"turn {turn} of question {question.question_id} cannot be asked")
    chat: list[dict[str, str]] = []
    for asked, answered in zip(question.turns, previous_answers, strict=False):
        chat += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answered},
        ]
    return [*chat, {"role": "user", "content": question.turns[turn]}]


def is_plain(question: Question) -> bool:
    """Whether the question is in the form of a text to continue, "Question: …\\nAnswer:".

    Such a question is put to a model as it stands, without a chat template, and its answer ends
    with the line.
    """
    return len(question.turns) == 1 and question.turns[0].endswith(_PLAIN_END)


def _instructions(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """alpaca_eval's list, whose `output` is the baseline's answer and no reference; else []."""
    rows = []
    for number, (where, entry) in enumerate(read_entries(path, "the questions") or ()):
        if not isinstance(entry.get("instruction"), str):
            raise UserError(f"{where}: no instruction in alpaca_eval's format")
        category = entry.get("dataset") or "general"
        rows.append(
            (
                where,
                {"question_id": number, "category": category, "turns": [entry["instruction"]]},
            )
        )
    return rows


def _question(row: dict[str, Any], where: str, given: dict[str, tuple[str, ...]]) -> Question:
    question_id = row.get("question_id")
    if not isinstance(question_id, int | str) or isinstance(question_id, bool):
        raise UserError(f"{where}: question_id must be a number or a text")
    turns = row.get("turns", [row["text"]] if isinstance(row.get("text"), str) else None)
    if not _texts(turns) or not turns or not all(turn.strip() for turn in turns):
        raise UserError(f"{where}: turns must be a list of texts, one at least")
    category = row.get("category", "general")
    if not isinstance(category, str) or not category:
        raise UserError(f"{where}: category must be a text")
    reference = row.get("reference") or given.get(str(question_id)) or []
    if not _texts(reference) or len(reference) > len(turns):
        raise UserError(f"{where}: reference must be a list of texts, at most one a turn")
    return Question(
        question_id=question_id,
        category=category,
        turns=tuple(turns),
        reference=tuple(reference),
        checks=_checks(row.get("check"), len(turns), where),
    )


def _checks(value: Any, turns: int, where: str) -> tuple[Check | None, ...]:
    if value is None:
        return ()
    entries = value if isinstance(value, list) else [value]
    if len(entries) > turns:
        raise UserError(f"{where}: more checks than turns")
    return tuple(None if entry is None else read_check(entry, where) for entry in entries)


def read_check(entry: Any, where: str) -> Check:
    """A check as a file of questions has it; `where` is for its errors.

    Raises:
        UserError: it is none, or can't be used.
    """
    kinds = get_args(CheckKind)
    if not isinstance(entry, dict) or entry.get("kind") not in kinds:
        raise UserError(f"{where}: a check's kind is one of {', '.join(kinds)}")
    answer = entry.get("answer")
    answers: list[Any] = answer if isinstance(answer, list) else [answer]
    if not answers or not _texts(answers) or not all(text.strip() for text in answers):
        raise UserError(f"{where}: a check's answer is a text, or a list of texts")
    check = Check(entry["kind"], tuple(answers))
    from evalsuite.judge.references import problem_with

    problem = problem_with(check)
    if problem:
        raise UserError(f"{where}: {problem}")
    return check


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _read_references(path: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for where, row in read_rows(path, "the reference answers"):
        try:
            turns = row["choices"][0]["turns"]
            question_id = row["question_id"]
        except (KeyError, IndexError, TypeError):
            turns, question_id = None, None
        if question_id is None or not _texts(turns):
            raise UserError(f"{where}: no reference answer in FastChat's format")
        found[str(question_id)] = tuple(turns)
    return found
