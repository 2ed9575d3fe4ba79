"""Who plays whom: every pair of models on every turn of every question, in both orders.

And back again: what the two orders of a pair come to. Knows records only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from evalsuite.judge.records import Answers, Decision, Game, Match, Outcome, Question
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


def decide(games: Iterable[Game]) -> list[Decision]:
    """One decision for the games of a pair on one turn and repeat, in order of first play.

    Orders that agree make a winner or a tie, orders that don't a tie. A game without a verdict
    leaves the decision invalid: half a comparison decides nothing.
    """
    groups: dict[tuple[object, ...], list[Game]] = {}
    for game in games:
        a, b = sorted((game.first, game.second))
        key = (game.judge, game.question_id, game.turn, game.repeat, a, b)
        groups.setdefault(key, []).append(game)
    return [_decision(group) for group in groups.values()]


def _decision(games: Sequence[Game]) -> Decision:
    one = games[0]
    a, b = sorted((one.first, one.second))
    winners = {game.winner for game in games if game.verdict != "invalid"}
    if any(game.verdict == "invalid" for game in games):
        outcome: Outcome = "invalid"
    elif winners == {a}:
        outcome = "a"
    elif winners == {b}:
        outcome = "b"
    else:
        outcome = "tie"
    return Decision(
        one.question_id, one.category, one.turn, one.repeat, one.judge, a, b, outcome
    )
