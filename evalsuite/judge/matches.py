"""Who plays whom: every pair of models, or all against one, on every turn, in both orders or one.

Knows records only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from evalsuite.judge.records import Answers, Match, Question
from evalsuite.records import UserError


def model_pairs(models: Sequence[str], baseline: str | None = None) -> list[tuple[str, str]]:
    """The pairs that meet: every pair, or with a `baseline` those that it is one of.

    Raises:
        UserError: the baseline is none of the models.
    """
    check_baseline(baseline, models)
    pairs = itertools.combinations(models, 2)
    return [pair for pair in pairs if baseline is None or baseline in pair]


def check_baseline(baseline: str | None, models: Sequence[str]) -> None:
    """Makes sure that the model which all others are compared with is one of the run's.

    Raises:
        UserError: it is none of them.
    """
    if baseline is not None and baseline not in models:
        raise UserError(
            f"--judge-baseline {baseline}: no model of this run; these answer: {', '.join(models)}"
        )


def make_matches(
    questions: Sequence[Question],
    models: Sequence[str],
    repeats: int = 1,
    *,
    orders: int = 2,
    alone: bool = False,
    baseline: str | None = None,
) -> list[Match]:
    """All games, question by question, the two orders of a pair side by side.

    With one order the model named first stands first; `alone` makes a game of each answer.

    Raises:
        UserError: the baseline is none of the models.
    """
    pairs = model_pairs(models, baseline)
    seats: list[tuple[str, str | None]] = [(model, None) for model in models]
    if not alone:
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
    baseline: bool = False,
) -> int:
    """How many games `make_matches` makes, without making them."""
    seats = models if alone else count_pairs(models, baseline=baseline) * orders
    return sum(len(q.turns) for q in questions) * seats * repeats


def count_pairs(models: int, *, baseline: bool = False) -> int:
    """How many pairs meet, with a baseline or without."""
    return models - 1 if baseline else math.comb(models, 2)


def within_games(possible: int, games: int, together: int) -> int:
    """How many of the `possible` games are played when `games` may be.

    `together` games of a pair on one turn (its orders and repeats) are all played or none.
    """
    return min(games // together * together, possible)


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
