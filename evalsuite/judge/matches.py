"""Who plays whom: every pair of models on every turn of every question, in both orders or one.

Knows records only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from evalsuite.judge.records import Answers, Match, Question
from evalsuite.records import UserError


def make_matches(
    questions: Sequence[Question],
    models: Sequence[str],
    repeats: int = 1,
    *,
    orders: int = 2,
    alone: bool = False,
) -> list[Match]:
    """All games, question by question, the two orders of a pair side by side.

    With one order the model named first stands first; `alone` makes a game of each answer.
    """
    seats: list[tuple[str, str | None]] = [(model, None) for model in models]
    if not alone:
        pairs = itertools.combinations(models, 2)
        seats = [seat for a, b in pairs for seat in ((a, b), (b, a))[:orders]]
    # Both orders of a pair side by side, repeat by repeat.
    together = 1 if alone else orders
    return [
        Match(question, turn, first, second, repeat)
        for question in questions
        for turn in range(len(question.turns))
        for start in range(0, len(seats), together)
        for repeat in range(repeats)
        for first, second in seats[start : start + together]
    ]


def count_matches(
    questions: Sequence[Question],
    models: int,
    repeats: int = 1,
    *,
    orders: int = 2,
    alone: bool = False,
) -> int:
    """How many games `make_matches` makes, without making them."""
    seats = models if alone else math.comb(models, 2) * orders
    return sum(len(q.turns) for q in questions) * seats * repeats


def index_answers(
    questions: Sequence[Question], answers: Answers
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Answer texts by (model, question id).

    Raises:
        UserError: a model that lacks an answer, or answered too few turns.
    """
    found = {
        (model, str(answer.question_id)): answer.turns
        for model, given in answers.items()
        for answer in given
    }
    for model in answers:
        for question in questions:
            turns = found.get((model, str(question.question_id)), ())
            if len(turns) < len(question.turns):
                raise UserError(
                    f"{model} has no answer to question {question.question_id}, "
                    f"turn {len(turns) + 1}; every model must answer all questions to be judged"
                )
    return found
