"""A small league with known quality, and patience that is short."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from evalsuite.judge import Answer, JudgeResult, Patience, Question

Play = Callable[..., JudgeResult]
# Waits are short, but not the timeout: on a busy machine a good answer may take its time, too.
QUICK = Patience(
    timeout=30.0, tries=4, connect_tries=2, first_wait=0.01, longest_backoff=0.05, longest_wait=5.0
)
SOON_TIRED = dataclasses.replace(QUICK, timeout=2.0, tries=2)  # for servers that say nothing
QUESTIONS = tuple(
    Question(f"q{i}", "writing" if i % 2 else "math", (f"Request number {i}?",)) for i in range(6)
)
# "good" says excellent more often than "fair", and that more often than "poor".
LEVELS = {"good": 3, "fair": 2, "poor": 1}


def league(*models: str) -> dict[str, list[Answer]]:
    return {
        model: [
            Answer(q.question_id, (f"to {q.question_id}: " + "excellent " * LEVELS[model],))
            for q in QUESTIONS
        ]
        for model in models
    }
