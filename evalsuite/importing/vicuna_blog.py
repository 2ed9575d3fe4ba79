"""Reads the tables of the Vicuna blog's evaluation: questions, answers and GPT-4's reviews.

A folder with question.jsonl, answer/ and review/ (any depth). Every review has two scores, the
baseline's answer always shown first, in one order only. Knows this format only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.importing.published import (
    Published,
    in_order,
    published_game,
    wanted,
)
from evalsuite.judge import Answer, read_questions
from evalsuite.judge.two_scores import parse_two_scores, verdict_of_scores
from evalsuite.reading import read_rows
from evalsuite.records import Game, UserError

# The reviewer of that evaluation. Its ids there stand for a prompt (one for coding, one for math,
# one for the rest), so they don't tell which model the server had.
JUDGE = "gpt-4"
PRESET = "vicuna-2023"


def read_vicuna_blog(path: Path) -> Published:
    """All reviews below `path` as games.

    The stored scores count, since three reviews in each file put them at the end and had them
    filled in by hand; a note says how many, and whether a stored score contradicts line 1.

    Raises:
        UserError: a part is missing or damaged, or a review is of answers that are not there.
    """
    questions_file = path / "question.jsonl"
    reviews = sorted((path / "review").glob("**/*.jsonl"))
    if not questions_file.is_file() or not reviews:
        raise UserError(
            f"{path}: not the tables of the Vicuna blog; a folder with question.jsonl, answer/ "
            "and review/ is wanted"
        )
    questions = read_questions(questions_file)
    category = {str(question.question_id): question.category for question in questions}
    given, files = _answers(path)
    games: list[Game] = []
    reviewers: dict[str, int] = {}
    by_hand = contradicted = 0
    seen: set[tuple[Any, ...]] = set()
    for file in reviews:
        for where, row in read_rows(file, "the reviews"):
            question_id = wanted(row, "question_id", (int, str), where)
            if str(question_id) not in category:
                raise UserError(f"{where}: no question {question_id} in {questions_file}")
            (first, one), (second, two) = (
                _answer(given, row, key, question_id, where) for key in ("answer1_id", "answer2_id")
            )
            if (question_id, first, second) in seen:
                raise UserError(f"{where}: {first} against {second} was reviewed before")
            seen.add((question_id, first, second))
            text = wanted(row, "text", str, where)
            if reviewer := str(row.get("reviewer_id", "")):
                reviewers[reviewer] = reviewers.get(reviewer, 0) + 1
            on_line_1 = parse_two_scores(text)
            scores = _stored(row.get("score"), where) or on_line_1
            by_hand += on_line_1 is None and scores is not None
            contradicted += on_line_1 is not None and scores != on_line_1
            games.append(
                published_game(
                    question_id,
                    category[str(question_id)],
                    first,
                    second,
                    verdict_of_scores(scores),
                    judge=JUDGE,
                    preset=PRESET,
                    lengths=(len(one), len(two)),
                    scores=scores,
                    raw_reply=text,
                    key=str(row.get("review_id", "")),
                )
            )
    models = in_order([name for game in games for name in game.models])
    notes = ["each pair was judged in one order only, the first place always the same model's"]
    if len(reviewers) > 1:
        counts = ", ".join(f"{name!r} in {count:,}" for name, count in reviewers.items())
        notes.append(
            f"the reviewer is called {counts} reviews: GPT-4 with a prompt for each kind of "
            "question; which model the server had was not kept"
        )
    if by_hand:
        notes.append(
            f"{by_hand} of {len(games)} reviews don't have their scores on line 1; the scores "
            "stored beside them were taken"
        )
    if contradicted:
        notes.append(f"{contradicted} stored scores are not those on the review's line 1")
    answers: dict[str, list[Answer]] = {model: [] for model in models}
    for (question, _), (model, text) in given.items():
        if model in answers:
            answers[model].append(Answer(question, (text,)))
    return Published(
        models=models,
        sources=(questions_file, *files, *reviews),
        games=tuple(games),
        questions=questions,
        answers=answers,
        notes=tuple(notes),
    )


_Given = dict[tuple[Any, str], tuple[str, str]]  # (question, answer id): model and text


def _answers(path: Path) -> tuple[_Given, list[Path]]:
    files = sorted((path / "answer").glob("*.jsonl"))
    found: _Given = {}
    for file in files:
        for where, row in read_rows(file, "the answers"):
            key = (
                wanted(row, "question_id", (int, str), where),
                wanted(row, "answer_id", str, where),
            )
            found[key] = (wanted(row, "model_id", str, where), wanted(row, "text", str, where))
    return found, files


def _answer(
    given: _Given, row: dict[str, Any], key: str, question: Any, where: str
) -> tuple[str, str]:
    answer = given.get((question, wanted(row, key, str, where)))
    if answer is None:
        raise UserError(f"{where}: its {key} {row[key]} is not among the files in answer/")
    return answer


def _stored(value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
    ):
        raise UserError(f"{where}: score is not two numbers")
    if min(value) < 0:  # how that evaluation marked reviews that its own parser could not read
        return None
    return float(value[0]), float(value[1])
