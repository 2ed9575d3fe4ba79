"""Who plays whom: every pair of models on every turn of every question, in both orders.

Knows records only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from evalsuite.judge.records import Answers, Match, Question
from evalsuite.records import UserError


def make_matches(
    questions: Sequence[Question], models: Sequence[str], repeats: int = 1
) -> list[Match]:
    """All games, question by question, the two orders of a pair side by side."""
    return [
        Match(question, turn, first, second, repeat)
        for question in questions
        for turn in range(len(question.turns))
        for a, b in itertools.combinations(models, 2)
        for repeat in range(repeats)
        for first, second in ((a, b), (b, a))
    ]


def count_matches(questions: Sequence[Question], models: int, repeats: int = 1) -> int:
    """How many games `make_matches` makes, without making them."""
    return sum(len(q.turns) for q in questions) * models * (models - 1) * repeats


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
