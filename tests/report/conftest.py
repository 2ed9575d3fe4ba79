"""Runs and a browser for the report's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic import MANY_TASKS, TASKS, add_games, make_run

from evalsuite.records import Failure
from evalsuite.report import build_report

LLAMAS = tuple((f"Llama-{i}-Instruct", 0.9 - 0.045 * i) for i in range(12))


@pytest.fixture(scope="session")
def pair_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, six tasks of 200 items."""
    path = tmp_path_factory.mktemp("runs") / "pair"
    models = [("demo-small", 0.52), ("demo-large", 0.74)]
    return make_run(path, models, note="the embedded demo pair")


@pytest.fixture(scope="session")
def pair_page(pair_run: Path) -> Path:
    return build_report([pair_run])


@pytest.fixture(scope="session")
def many_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve models, seventeen tasks, 2,040 samples; one model lacks a task."""
    path = tmp_path_factory.mktemp("runs") / "many"
    failure = Failure("Llama-4-Instruct", "gsm8k", "infer", "out of memory")
    missing = [("Llama-4-Instruct", "gsm8k")]
    make_run(path, LLAMAS, MANY_TASKS, 10, skip=missing, failures=[failure])
    build_report([path])
    return path


@pytest.fixture(scope="session")
def duel_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models whose answers were checked against references; the page is built."""
    path = tmp_path_factory.mktemp("runs") / "duel"
    make_run(path, [("demo-small", 0.52), ("demo-large", 0.74)], TASKS[2:4], 8)
    add_games(path, "reference", 24)
    build_report([path])
    return path


@pytest.fixture(scope="session")
def league_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models judged by a language model, with ties and games without a verdict."""
    path = tmp_path_factory.mktemp("runs") / "league"
    make_run(path, LLAMAS[:5], TASKS[2:4], 8)
    add_games(path, "gpt-4", 24)
    build_report([path])
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless; the tests that want it are skipped without."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


class Opened:
    """A page in the browser with what it logged and what it asked the network for."""

    def __init__(self, context: Any, path: Path, fragment: str = "") -> None:
        self.context = context
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("html[data-ready]")

    def rows(self, which: str = "samples") -> list[str]:
        return self.page.locator(f"#{which} .list tbody tr").all_inner_texts()

    def status(self, which: str = "samples") -> str:
        return str(self.page.locator(f"#{which} .status").inner_text())

    def filter(self, which: str = "samples", **fields: str) -> None:
        for name, value in fields.items():
            field = self.page.locator(f'#{which} .filters [name="{name}"]')
            if name == "text":
                field.fill(value)
            else:
                field.select_option(label=value)
        self.page.wait_for_timeout(250)  # typing is answered after a pause of 120 ms


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Any]:
    """Opens a report; afterwards nothing may have been logged or asked of the network."""
    contexts, pages = [], []

    def opener(path: Path, fragment: str = "", **settings: Any) -> Opened:
        settings.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(**settings)
        contexts.append(context)
        opened = Opened(context, path, fragment)
        pages.append((opened, path))
        return opened

    yield opener
    for opened, path in pages:
        foreign = [
            url
            for url in opened.requests
            if url.partition("#")[0] != path.as_uri()
            and url != "data:,"
            and not url.startswith(f"{path.parent.as_uri()}/report_data/")
        ]
        assert foreign == []
        assert opened.complaints == []
    for context in contexts:
        context.close()
