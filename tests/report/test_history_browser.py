"""The list of runs in a real browser: what it shows, dark, narrow, print, hostile names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST
from synthetic import TASKS, make_run

from evalsuite.report.history import write_history

pytestmark = pytest.mark.browser

NAME = "<script>window.pwned=1</script>"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs of two models, one with a hostile name; the questions changed once."""
    folder = tmp_path_factory.mktemp("listed") / "reports"
    for day in range(1, 6):
        models = [("mine", 0.3 + 0.1 * day), (NAME, 0.5)]
        run = make_run(folder / f"day {day}", models, TASKS[2:4], 10 if day < 3 else 15)
        path = run / "manifest.json"
        created = {"created": f"2026-11-{day:02}T10:00:00+00:00"}
        path.write_text(json.dumps(json.loads(path.read_text()) | created))
        (run / "report.html").write_text("<title>its page</title>")
    (folder / "bad").mkdir()
    (folder / "bad" / "leaderboard.json").write_text('{"<img src=x onerror=alert(1)>": ')
    return write_history(folder)


@pytest.fixture
def open_index(chromium: Any, index: Path) -> Any:
    """Opens the list; afterwards nothing may have been logged or asked of the network."""
    complaints: list[str] = []
    contexts = []

    def opener(**settings: Any) -> Any:
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or complaints.append(request.url)
            ),
        )
        page.goto(index.as_uri())
        return page

    yield opener
    assert complaints == []
    for context in contexts:
        context.close()


def test_runs_and_trends(open_index: Callable[..., Any]) -> None:
    page = open_index()
    assert page.locator("h1").inner_text() == "5 runs"
    names = page.locator(".runs tbody th").all_inner_texts()
    assert names == [f"day {day}" for day in range(5, 0, -1)]
    assert "bad: " in page.locator(".problems").inner_text()
    own = page.locator("details", has_text="mine").first
    assert own.locator("tbody tr").count() == 5  # overall, two capabilities, two tasks
    spark = own.locator(".spark").first
    assert spark.locator("polyline").count() == 2  # cut once
    assert "Overall over 5 runs" in spark.get_attribute("aria-label")
    assert page.evaluate("window.pwned") is None
    page.locator(".runs tbody th a").first.press("Enter")
    page.wait_for_load_state()
    assert page.title() == "its page"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_names(open_index: Callable[..., Any], scheme: str) -> None:
    page = open_index(color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
    assert page.locator("svg:not([aria-label])").count() == 0


def test_narrow_and_print(open_index: Callable[..., Any]) -> None:
    page = open_index(viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.emulate_media(media="print")
    assert page.locator(".runs").is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"
