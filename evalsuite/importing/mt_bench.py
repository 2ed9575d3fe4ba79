"""Reads FastChat's model_judgment files: pairs in both orders, and answers scored alone.

Questions and answers are looked for where FastChat keeps them, beside the judgments or a folder
above; answers that are not there are cut out of the judge's prompt. Knows this format only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalsuite.importing.published import (
    Published,
    Repeats,
    in_order,
    published_game,
    wanted,
)
from evalsuite.judge import Answer, Question, read_questions
from evalsuite.reading import read_rows
from evalsuite.records import Game, UserError, Verdict

_Answers = dict[tuple[str, str], tuple[str, ...]]  # (model, question): one text a turn
_WINNERS = ("model_1", "model_2", "tie", "error")
# What stands around an answer in FastChat's own prompts: one turn, then the last of several.
_ONE_TURN = "[The Start of Assistant{0}'s Answer]\n", "\n[The End of Assistant{0}'s Answer]"
_TURNS = "### Assistant{0}:\n", "\n\n<|The End of Assistant{0}'s Conversation with User|>"


def read_mt_bench(path: Path) -> Published:
    """The judgments of a file, or of all model_judgment files of a folder, as games.

    Raises:
        UserError: no judgments, a damaged line, or an answer that is nowhere to be found.
    """
    files = _files(path)
    root = path if path.is_dir() else path.parent
    questions_file = _nearby(root, "question.jsonl")
    questions = read_questions(questions_file) if questions_file else ()
    category = {str(question.question_id): question.category for question in questions}
    answers_folder = _nearby(root, "model_answer")
    answer_files = sorted(answers_folder.glob("*.jsonl")) if answers_folder else []
    answers = _answers(answer_files)
    games: list[Game] = []
    repeats = Repeats()
    for file in files:
        for where, row in read_rows(file, "the judgments"):
            about = category.get(str(row.get("question_id")), "general")
            read = _pair if "g1_winner" in row else _single
            games += read(row, where, about, answers, repeats)
    if not games:
        raise UserError(f"{path}: no judgment in it")
    models = in_order([name for game in games for name in game.models])
    judged = {str(game.question_id) for game in games}
    notes = [] if questions else ["no question.jsonl was found, so there are no categories"]
    return Published(
        models=models,
        sources=(*files, *([questions_file] if questions_file else []), *answer_files),
        games=tuple(games),
        questions=tuple(q for q in questions if str(q.question_id) in judged),
        answers={model: _answers_of(model, questions, answers) for model in models},
        notes=tuple(notes),
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for folder in (path / "model_judgment", path / "judgments", path):
        if files := sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
            kept = [file for file in files if file.name != "question.jsonl"]
            if kept:
                return kept
    raise UserError(f"{path}: no FastChat judgments; a model_judgment file or its folder is wanted")


def _nearby(folder: Path, name: str) -> Path | None:
    """`name` in the folder or one of the two above it."""
    for place in (folder, *folder.resolve().parents[:2]):
        if (place / name).exists():
            return place / name
    return None


def _answers(files: Iterable[Path]) -> _Answers:
    found: _Answers = {}
    for file in files:
        for where, row in read_rows(file, "the answers"):
            try:
                turns = tuple(str(turn) for turn in row["choices"][0]["turns"])
            except (KeyError, IndexError, TypeError) as error:
                raise UserError(f"{where}: no answer in FastChat's format") from error
            model = wanted(row, "model_id", str, where)
            found[model, str(wanted(row, "question_id", (int, str), where))] = turns
    return found


def _answers_of(model: str, questions: Iterable[Question], answers: _Answers) -> list[Answer]:
    return [
        Answer(question.question_id, answers[model, str(question.question_id)])
        for question in questions
        if (model, str(question.question_id)) in answers
    ]


def _pair(
    row: dict[str, Any], where: str, about: str, answers: _Answers, repeats: Repeats
) -> list[Game]:
    """The two orders of a pair; the winners are written for the models, not for the places."""
    question = wanted(row, "question_id", (int, str), where)
    one, two = (wanted(row, key, str, where) for key in ("model_1", "model_2"))
    if one == two:
        raise UserError(f"{where}: {one} was compared with itself")
    judge, preset = _judge(row, where)
    turn = wanted(row, "turn", int, where)
    repeat = repeats.next(judge, question, turn, *sorted((one, two)))
    games = []
    for number, (first, second) in enumerate(((one, two), (two, one)), start=1):
        winner = row.get(f"g{number}_winner")
        if winner not in _WINNERS:
            raise UserError(f"{where}: g{number}_winner is {winner!r}, not one of {_WINNERS}")
        prompt = str(row.get(f"g{number}_user_prompt") or "")
        text = row.get(f"g{number}_judgment")
        games.append(
            published_game(
                question,
                about,
                first,
                second,
                _verdict(winner, swapped=number == 2),
                judge=judge,
                preset=preset,
                turn=turn,
                repeat=repeat,
                lengths=(
                    _length(answers, first, question, turn, prompt, " A", where),
                    _length(answers, second, question, turn, prompt, " B", where),
                ),
                raw_reply=text if isinstance(text, str) else None,
            )
        )
    return games


def _verdict(winner: str, *, swapped: bool) -> Verdict:
    if winner == "error":
        return "invalid"
    if winner == "tie":
        return "tie"
    return "first" if (winner == "model_1") != swapped else "second"


def _single(
    row: dict[str, Any], where: str, about: str, answers: _Answers, repeats: Repeats
) -> list[Game]:
    """One answer scored alone; FastChat writes -1 where it found no score."""
    question = wanted(row, "question_id", (int, str), where)
    model = wanted(row, "model", str, where)
    judge, preset = _judge(row, where)
    turn = wanted(row, "turn", int, where)
    score = float(wanted(row, "score", (int, float), where))
    text = row.get("judgment")
    length = _length(answers, model, question, turn, str(row.get("user_prompt") or ""), "", where)
    return [
        published_game(
            question,
            about,
            model,
            None,
            "tie" if score >= 0 else "invalid",
            judge=judge,
            preset=preset,
            turn=turn,
            repeat=repeats.next(judge, question, turn, model),
            lengths=(length, 0),
            scores=(score,) if score >= 0 else None,
            raw_reply=text if isinstance(text, str) else None,
        )
    ]


def _judge(row: dict[str, Any], where: str) -> tuple[str, str]:
    value = row.get("judge")
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(f"{where}: judge is not the pair of a model and a prompt")
    return str(value[0]), str(value[1])


def _length(
    answers: _Answers, model: str, question: Any, turn: int, prompt: str, letter: str, where: str
) -> int:
    """Characters of the judged turn's answer: FastChat's file, else what the judge was shown."""
    turns = answers.get((model, str(question)), ())
    if 0 < turn <= len(turns):
        return len(turns[turn - 1])
    for start, end in (_ONE_TURN, _TURNS):
        pattern = f"{re.escape(start.format(letter))}(.*?){re.escape(end.format(letter))}"
        if found := re.search(pattern, prompt, re.DOTALL):
            return len(found[1].rsplit(start.format(letter), 1)[-1])
    raise UserError(
        f"{where}: no answer of {model}, neither in model_answer/ nor in the judge's prompt; put "
        "FastChat's file of its answers beside the judgments"
    )
