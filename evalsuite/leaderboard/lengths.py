"""A judge's decisions at equal lengths, in the way that its league allows, or why there is none.

Knows decisions and stats; knows no file and no report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from evalsuite.leaderboard.decisions import Decision
from evalsuite.stats.length_control import (
    MODELS_FOR_DIFFICULTY,
    LengthControlled,
    UncontrolledError,
    against_baseline,
)
from evalsuite.stats.length_league import in_league


def length_controlled(
    decisions: Sequence[Decision],
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """{model: {win_rate, ci, slope}} at equal lengths, or {} and the reason why not.

    Many models that met one baseline only are fitted as the paper does, with difficulties, and
    the baseline itself has no rate; any other league has one slope for the judge.
    """
    decided = [one for one in decisions if one.points is not None]
    if not decided:
        return {}, "no verdict at all"
    hub = _baseline(decided)
    try:
        found = _star(decided, hub) if hub is not None else _league(decided)
    except UncontrolledError as error:
        return {}, str(error)
    except ArithmeticError as error:
        return {}, str(error)
    return {
        one.model: {"win_rate": one.win_rate, "ci": list(one.ci), "slope": one.slope}
        for one in found
    }, None


def _baseline(decided: Sequence[Decision]) -> str | None:
    """The model that is in every decision, where enough others are for difficulties."""
    games = Counter(name for one in decided for name in (one.a, one.b))
    name, count = games.most_common(1)[0]
    return name if count == len(decided) and len(games) > MODELS_FOR_DIFFICULTY else None


def _star(decided: Sequence[Decision], hub: str) -> tuple[LengthControlled, ...]:
    models = list(dict.fromkeys(one.b if one.a == hub else one.a for one in decided))
    asked = list(dict.fromkeys((one.question_id, one.turn) for one in decided))
    row = {model: k for k, model in enumerate(models)}
    column = {key: k for k, key in enumerate(asked)}
    won = np.zeros((len(models), len(asked)))
    longer, count = np.zeros_like(won), np.zeros_like(won)
    for one in decided:
        assert one.points is not None  # the caller has chosen those with a verdict
        forward = one.b == hub
        place = row[one.a if forward else one.b], column[one.question_id, one.turn]
        won[place] += one.points if forward else 1 - one.points
        longer[place] += one.longer if forward else -one.longer
        count[place] += 1
    with np.errstate(invalid="ignore"):  # 0 / 0 where a model has no verdict: nan is right there
        won, longer = won / count, longer / count
    return against_baseline(models, won, longer, clusters=[question for question, _ in asked])


def _league(decided: Sequence[Decision]) -> tuple[LengthControlled, ...]:
    models = list(dict.fromkeys(name for one in decided for name in (one.a, one.b)))
    row = {model: k for k, model in enumerate(models)}
    return in_league(
        models,
        [row[one.a] for one in decided],
        [row[one.b] for one in decided],
        [one.points for one in decided if one.points is not None],
        [one.longer for one in decided],
        [one.question_id for one in decided],
    )
