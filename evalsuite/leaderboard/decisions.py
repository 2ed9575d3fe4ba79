"""Judged games to decisions: the one place that says what the two orders of a pair come to.

Knows game records; knows no statistics, no judge, no prompt and no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from evalsuite.records import Game, QuestionId

Outcome = Literal["a", "b", "tie", "invalid"]
_POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pair's games on one turn and repeat come to. `a` stands before `b` by name.

    `outcome` is "invalid" when one of the games has no verdict. `points` is a's share of the win:
    the mean of the games' preferences where the protocol weighs its verdicts, else 1, 0.5 or 0;
    None without a verdict. `longer` is how many characters a's answer is longer.
    """

    question_id: QuestionId
    category: str
    turn: int
    repeat: int
    judge: str
    a: str
    b: str
    outcome: Outcome
    points: float | None
    longer: int


def decide(games: Iterable[Game]) -> list[Decision]:
    """One decision for the games of a pair on one turn and repeat, in order of first play.

    Orders that agree make a winner or a tie, orders that don't a tie. A game without a verdict
    leaves the decision invalid: half a comparison decides nothing. Games of one answer are no
    comparisons and decide nothing either.

    Where a protocol weighs its verdicts (much better or better, a probability), `points` are the
    mean of the two orders' shares, and rates and ratings go by them: a strong win counts as one
    win, a weaker one as less, and none counts more often than once. The outcome stays what both
    orders agree on.
    """
    groups: dict[tuple[object, ...], list[Game]] = {}
    for game in games:
        if game.second is not None:
            groups.setdefault(_pairing(game), []).append(game)
    return [_decision(group) for group in groups.values()]


def _pairing(game: Game) -> tuple[object, ...]:
    a, b = sorted(game.models)
    return game.judge, game.question_id, game.turn, game.repeat, a, b


def _decision(games: Sequence[Game]) -> Decision:
    one = games[0]
    a, b = sorted(one.models)
    winners = {game.winner for game in games}
    outcome: Outcome = "tie"
    if any(game.verdict == "invalid" for game in games):
        outcome = "invalid"
    elif winners == {a}:
        outcome = "a"
    elif winners == {b}:
        outcome = "b"
    points = None if outcome == "invalid" else _POINTS[outcome]
    weighed = [
        game.preference if game.first == a else 1 - game.preference
        for game in games
        if game.preference is not None
    ]
    if points is not None and len(weighed) == len(games):
        points = math.fsum(weighed) / len(weighed)
    lengths = one.lengths if one.first == a else one.lengths[::-1]
    return Decision(
        question_id=one.question_id,
        category=one.category,
        turn=one.turn,
        repeat=one.repeat,
        judge=one.judge,
        a=a,
        b=b,
        outcome=outcome,
        points=points,
        longer=lengths[0] - lengths[1],
    )
