"""A judge that computes one call after another, as small servers on a CPU do."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence

from judge_server import JudgeServer, by_content
from leagues import LEVELS, QUICK, Play

from evalsuite.judge import Answer, Question


def test_calls_that_waited_in_vain_do_not_keep_a_slow_server_from_its_work(play: Play) -> None:
    """16 at once take 2.4 s, of 1.5 s that each may; what is given up is still computed."""
    one_at_a_time = threading.Lock()

    def slowly(messages: Sequence[dict[str, str]]) -> str:
        with one_at_a_time:
            time.sleep(0.15)
            return by_content(messages)

    questions = tuple(Question(f"q{n}", "math", (f"Request number {n}?",)) for n in range(20))
    answers = {
        model: [
            Answer(q.question_id, (f"{q.question_id} " + "excellent " * level,)) for q in questions
        ]
        for model, level in LEVELS.items()
        if model != "fair"
    }
    with JudgeServer(reply=slowly) as server:
        patience = dataclasses.replace(QUICK, timeout=1.5)
        result = play(
            server, answers=answers, questions=questions, patience=patience, concurrency=16
        )
        sent = len(server.requests)
    assert result.failed == 0
    assert {game.winner for game in result.games} == {"good"}
    # Those of the first 16 that came late, and few others, are sent again.
    assert len(result.games) < sent <= len(result.games) + 16
