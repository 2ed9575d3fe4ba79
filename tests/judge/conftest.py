"""What the judging tests share: a small league, a store, patience that is short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from judge_server import JudgeServer
from leagues import QUESTIONS, QUICK, Play, league

from evalsuite.judge import (
    Answer,
    JudgeResult,
    JudgeSpec,
    Patience,
    Preset,
    Question,
    Rules,
    judge_run,
    resolve_judge,
)
from evalsuite.progress import make_progress
from evalsuite.store import Store


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as store:
        yield store


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
        preset: Preset | None = None,
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
            preset=preset,
            budget=budget,
            rules=Rules(repeats, invalid_retries, concurrency, refresh, patience),
        )

    return _play
