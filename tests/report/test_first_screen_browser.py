"""The first screen of a run with a gate and a failed part: all that counts stands in 1280 x 800."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST
from synthetic import TASKS, add_games, make_run

from evalsuite import compare
from evalsuite.records import Failure

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def gated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two judged models, of which one has become much worse and one lacks a task; compared."""
    folder = tmp_path_factory.mktemp("gated")
    before = make_run(folder / "before", [("small", 0.5), ("large", 0.9)], TASKS[:4], 60)
    failed = [Failure("small", "piqa", "infer", "out of memory")]
    run = make_run(
        folder / "after",
        [("small", 0.5), ("large", 0.4)],
        TASKS[:4],
        60,
        failures=failed,
        skip=[("small", "piqa")],
    )
    add_games(run, "gpt-4", 12)
    assert compare(before, run, output=run).exit_code == 1
    return run


def test_all_that_counts_is_on_it(gated_run: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(gated_run / "report.html", viewport={"width": 1280, "height": 800}).page
    line = page.locator(".gate-line")
    assert line.inner_text().startswith("Gate: regressed. The run after has regressed against")
    assert "large: mean over tasks −" in line.inner_text()
    assert "small: piqa stopped while it was computed" in page.locator(".problems").inner_text()
    rows = page.locator(".board tbody tr")
    assert rows.count() == 2
    for part in (line, page.locator(".problems"), page.locator(".facts").first, rows.last):
        box = part.bounding_box()
        assert box["y"] + box["height"] <= 800
    line.locator("a").click()
    assert page.url.endswith("#gate")
    order = page.evaluate("[...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert order.index("leaderboard") < order.index("gate")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(gated_run: Path, open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page(gated_run / "report.html", color_scheme=scheme).page
    assert page.evaluate(CONTRAST) == []
