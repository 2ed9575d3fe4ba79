"""Makes the records of games: out of a judge's kept replies, or out of checkable references.

Knows matches, judgments and checks; must not know how replies were come by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalsuite.judge.calls import Call, Standing
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.matches import index_answers, make_matches
from evalsuite.judge.prompts import Preset
from evalsuite.judge.records import Answers, Match, Question
from evalsuite.judge.references import is_right
from evalsuite.records import Game, Verdict
from evalsuite.store.judgments import judgment_key


def judged_game(
    match: Match,
    call: Call,
    spec: JudgeSpec,
    preset: Preset,
    standing: Standing,
    shared: bool,
    error: str | None,
) -> Game:
    """The game of a match, from where its call stands.

    `shared`: an earlier game has the same call, and its tokens and cost are counted there.
    """
    last = standing.attempts[-1] if standing.attempts else None
    paid = () if shared else standing.attempts
    costs = [judgment.cost for judgment in paid]
    key = standing.keys[-1] if standing.keys else call.key(0)
    return Game(
        question_id=match.question.question_id,
        category=match.question.category,
        turn=match.turn + 1,
        first=match.first,
        second=match.second,
        repeat=match.repeat + 1,
        judge=spec.name,
        preset=preset.name,
        verdict=standing.reading.verdict,
        winner=_winner(match, standing.reading.verdict),
        scores=standing.reading.scores,
        raw_reply=last.raw_reply if last else None,
        tokens={
            "prompt": sum(judgment.prompt_tokens or 0 for judgment in paid),
            "completion": sum(judgment.completion_tokens or 0 for judgment in paid),
        },
        cost=None if spec.price is None else math.fsum(cost or 0.0 for cost in costs),
        key=key.hex(),
        lengths=(len(call.first[-1]), len(call.second[-1]) if call.second else 0),
        calls=len(paid),
        served=last.served if last else None,
        delimiter=last.delimiter if last else None,
        error=error,
        preference=standing.reading.preference,
    )


def _winner(match: Match, verdict: Verdict) -> str | None:
    return {"first": match.first, "second": match.second}.get(verdict)


def reference_games(
    questions: Sequence[Question], answers: Answers, *, baseline: str | None = None
) -> tuple[list[Game], int]:
    """The games that references decide, and how many games have none and are not played.

    Right beats wrong; both right or both wrong is a tie.

    Raises:
        UserError: a model lacks an answer, or the baseline is none of the models.
    """
    texts = index_answers(questions, answers)
    games: list[Game] = []
    skipped = 0
    for match in make_matches(questions, list(answers), baseline=baseline):
        check = match.question.check(match.turn)
        if check is None:
            skipped += 1
            continue
        first, second = (
            texts[model, str(match.question.question_id)][match.turn]
            for model in (match.first, match.second)
            if model is not None
        )
        right = (float(is_right(check, first)), float(is_right(check, second)))
        verdict: Verdict = (
            "tie" if right[0] == right[1] else "first" if right[0] > right[1] else "second"
        )
        content = {
            "judge": "reference",
            "turns": match.question.turns[: match.turn + 1],
            "check": [check.kind, *check.answers],
            "first": first,
            "second": second,
        }
        games.append(
            Game(
                question_id=match.question.question_id,
                category=match.question.category,
                turn=match.turn + 1,
                first=match.first,
                second=match.second,
                repeat=1,
                judge="reference",
                preset="reference",
                verdict=verdict,
                winner=_winner(match, verdict),
                scores=right,
                raw_reply=None,
                tokens={"prompt": 0, "completion": 0},
                cost=0.0,
                key=judgment_key(content).hex(),
                lengths=(len(first), len(second)),
            )
        )
    return games, skipped
