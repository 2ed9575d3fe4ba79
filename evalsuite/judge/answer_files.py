"""Answers given as files: FastChat's model_answer, the Vicuna evaluation's, alpaca_eval's outputs.

A file's answers stand beside those of models that are run, under the name that the file gives or a
label of one's own. Knows these formats and questions; must not know models or judges.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.judge.records import Answer, Question
from evalsuite.reading import read_entries, read_rows
from evalsuite.records import UserError

_WHAT = "the answers"
# Labels become folders of the run, as models' do.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._+@-]")


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """One model's answers from a file. `sha256` is the file's."""

    label: str
    answers: tuple[Answer, ...]
    file: str
    sha256: str


def read_answers(name: str, questions: Sequence[Question]) -> tuple[GivenAnswers, ...]:
    """The answers to `questions` in FILE or LABEL=FILE; one entry a model of the file.

    Lines of JSON are FastChat's (question_id, model_id, choices) or the older ones with a text;
    a JSON list is alpaca_eval's (instruction, output, generator), where questions are found by
    their first turn. Answers to other questions are left aside.

    Raises:
        UserError: a file that can't be read or is in none of these formats, a question without an
            answer, or a label for a file of several models.
    """
    label, path = _split(name)
    entries = read_entries(path, _WHAT)
    rows = _lines(path) if entries is None else _outputs(entries, path)
    by_model: dict[str, dict[str, tuple[str, ...]]] = {}
    for where, model, key, turns in rows:
        answers = by_model.setdefault(model, {})
        if key in answers:
            raise UserError(f"{where}: {model} answers this question twice")
        answers[key] = turns
    if not by_model:
        raise UserError(f"{_WHAT} {path}: there is no answer in it")
    if label and len(by_model) > 1:
        raise UserError(f"--judge-answers {name}: {path} holds answers of {_some(by_model)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return tuple(
        GivenAnswers(
            label or _FORBIDDEN.sub("-", model).strip("-._+@") or "answers",
            tuple(_answer(question, answers, model, path) for question in questions),
            path.name,
            digest,
        )
        for model, answers in by_model.items()
    )


def _split(name: str) -> tuple[str, Path]:
    label, given, place = name.partition("=")
    whole = Path(name).expanduser()
    if not given or whole.is_file():
        return "", whole
    if not _LABEL.fullmatch(label):
        raise UserError(
            f"--judge-answers {name}: a label is made of letters, digits and ._+@- and begins "
            "with a letter or digit"
        )
    return label, Path(place).expanduser()


_Row = tuple[str, str, str, tuple[str, ...]]  # where, model, question's key, turns


def _lines(path: Path) -> list[_Row]:
    found: list[_Row] = []
    for where, row in read_rows(path, _WHAT):
        model, question = row.get("model_id"), row.get("question_id")
        try:
            turns = [row["text"]] if "text" in row else row["choices"][0]["turns"]
        except (KeyError, IndexError, TypeError):
            turns = None
        if (
            not isinstance(model, str)
            or not isinstance(question, int | str)
            or not isinstance(turns, list)
            or not all(isinstance(turn, str) for turn in turns)
        ):
            raise UserError(
                f"{where}: no answer in FastChat's format (question_id, model_id, choices with "
                "turns)"
            )
        found.append((where, model, str(question), tuple(turns)))
    return found


def _outputs(entries: Sequence[tuple[str, Mapping[str, Any]]], path: Path) -> list[_Row]:
    found: list[_Row] = []
    for where, row in entries:
        instruction, output = row.get("instruction"), row.get("output")
        if not isinstance(instruction, str) or not isinstance(output, str):
            raise UserError(
                f"{where}: no output in alpaca_eval's format (instruction, output, generator)"
            )
        model = row.get("generator")
        key = instruction_key(instruction)
        found.append((where, model if isinstance(model, str) else path.stem, key, (output,)))
    return found


def instruction_key(instruction: str) -> str:
    """What an instruction is found by where questions have no id."""
    return "instruction:" + instruction.strip()


def _answer(
    question: Question, answers: Mapping[str, tuple[str, ...]], model: str, path: Path
) -> Answer:
    turns = answers.get(str(question.question_id)) or answers.get(
        instruction_key(question.turns[0]), ()
    )
    if len(turns) < len(question.turns):
        raise UserError(
            f"{_WHAT} {path}: {model} has no answer to question {question.question_id}, turn "
            f"{len(turns) + 1}; the questions are those of --judge-questions"
        )
    return Answer(question.question_id, turns[: len(question.turns)])


def _some(models: Mapping[str, object]) -> str:
    names = list(models)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} models ({', '.join(names[:3])}{more}), so one label can't name them"
