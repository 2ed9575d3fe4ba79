"""What the judging tests share: a small league, a store, patience that is short."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge_server import JudgeServer

from evalsuite.judge import (
    Answer,
    JudgeResult,
    JudgeSpec,
    Patience,
    Question,
    Rules,
    judge_run,
    resolve_judge,
)
from evalsuite.progress import make_progress
from evalsuite.store import Store

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


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as store:
        yield store


Play = Callable[..., JudgeResult]


@pytest.fixture
def play(store: Store) -> Play:
    """Plays the small league at a server; keywords go to the rules or to judge_run."""

    def _play(
        server: JudgeServer | str | JudgeSpec,
        models: tuple[str, ...] = ("good", "poor"),
        *,
        run: str = "run-1",
        budget: float | None = None,
        concurrency: int = 4,
        invalid_retries: int = 2,
        repeats: int = 1,
        refresh: bool = False,
        patience: Patience = QUICK,
        answers: dict[str, list[Answer]] | None = None,
        questions: tuple[Question, ...] = QUESTIONS,
    ) -> JudgeResult:
        url = server.url if isinstance(server, JudgeServer) else server
        spec = url if isinstance(url, JudgeSpec) else resolve_judge(f"openai:judge@{url}", {})
        return judge_run(
            questions,
            answers or league(*models),
            spec,
            store,
            make_progress("none"),
            run=run,
            budget=budget,
            rules=Rules(repeats, invalid_retries, concurrency, refresh, patience),
        )

    return _play
