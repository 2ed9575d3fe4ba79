"""Texts in parts in a real browser, hostile ones too, and what axe-core says of the whole page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import HOSTILE, encoded
from synthetic import TASKS, add_games, make_run

from evalsuite.gate import compare_runs, write_outputs
from evalsuite.report import build_report

pytestmark = pytest.mark.browser

NAMES = ("<script>window.pwned=1</script>=cmd'\"&{{7*7}}", "{% raw %}</script>\u202eb\x00")
TASK = "<i onclick=alert(1)>t</i>/x"
FIRST = "Llama-0-Instruct"
PAIR = f"#pair={FIRST}/plain/arc_easy/3"
LONG = "a long answer </script> " * 220_000  # 5 MB


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, three tasks and a judge, whose names and texts are all hostile."""

    def poison(model: str, task: str, line: dict[str, Any]) -> dict[str, Any]:
        text = HOSTILE[line["doc_id"] % len(HOSTILE)]
        if line["doc_id"] == 0 and task == "gsm8k":
            text = LONG
        arguments = [
            (text + context, end + text if isinstance(end, str) else end)
            for context, end in line["arguments"]
        ]
        resps = [[text]] if task == "gsm8k" else line["resps"]
        return line | {"arguments": arguments, "resps": resps, "target": text}

    path = tmp_path_factory.mktemp("runs") / "hostile"
    tasks = [TASKS[2], TASKS[3], (TASK, *TASKS[0][1:])]
    make_run(path, [(NAMES[0], 0.7), (NAMES[1], 0.4)], tasks, 6, change=poison, note="</p><script>")
    add_games(
        path,
        "local:</script><b>judge",
        6,
        say=lambda kind, number, words: HOSTILE[number % len(HOSTILE)] + kind,
    )
    return path


@pytest.mark.parametrize("inside", [10, 1000])
def test_hostile_texts_stay_text_wherever_they_lie(
    hostile_run: Path, tmp_path: Path, open_page: Callable[..., Any], inside: int
) -> None:
    path = build_report([hostile_run], tmp_path, inside=inside)
    assert (tmp_path / "report_data").exists() == (inside == 10)
    opened = open_page(path)
    page = opened.page
    for name in NAMES:
        for task in ("gsm8k", "arc_easy", TASK):
            for doc, hostile in enumerate(HOSTILE):
                page.evaluate(f"location.hash = '#sample={encoded(name)}/{encoded(task)}/{doc}'")
                page.locator("#sample-title", has_text=re.compile(rf" {doc}$")).wait_for()
                page.locator("#sample-body pre").first.wait_for(state="attached")
                shown = page.locator("#sample-body").evaluate("e => e.textContent")
                if task == "gsm8k" and doc == 0:
                    assert "characters are left out here" in shown
                    assert shown.count("a long answer </script>") > 3000
                else:
                    assert hostile.replace("\ud800", "?") in shown  # a surrogate alone has no bytes
    page.keyboard.press("Escape")
    for row in range(page.locator("#game-list tbody tr").count()):
        page.locator("#game-list tbody tr").nth(row).click()
        assert "reply" in page.locator("#game-body").evaluate("e => e.textContent")
        page.keyboard.press("Escape")
    assert page.evaluate("[window.pwned, document.querySelectorAll('h1').length]") == [None, 1]
    made = "#sample-body :is(img, script, b, i), #game-body :is(img, script, b, i), .list img"
    assert page.locator(made).count() == 0


@pytest.fixture(scope="module")
def beside(pair_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with its texts beside it."""
    with pytest.MonkeyPatch.context() as small:
        small.setattr("evalsuite.report.samples.BYTES", 100_000)
        return build_report([pair_run], tmp_path_factory.mktemp("beside"), inside=100)


def test_parts_are_loaded_when_they_are_shown(
    beside: Path, pair_page: Path, open_page: Callable[..., Any]
) -> None:
    opened = open_page(beside)
    page = opened.page

    def loaded() -> int:
        return sum("report_data" in url for url in opened.requests)

    parts = len(list(beside.parent.glob("report_data/*.js")))
    page.wait_for_timeout(200)  # the comparison's first items come as well
    first = loaded()
    assert opened.status() == "2,400 samples."
    assert 0 < first <= 2
    assert parts > 6
    rows = open_page(pair_page).rows()
    assert opened.rows() == rows  # the same page as with the texts inside
    page.evaluate("location.hash = '#sample=demo-small/gsm8k/150'")
    page.wait_for_selector("#sample-body pre")
    assert "Taken from the answer" in page.locator("#sample-body").inner_text()
    assert "Other models on this item" in page.locator("#sample-body").inner_text()
    assert first < loaded() < parts  # its own, and those of the list around it
    page.locator("#sample .others a").click()
    page.wait_for_timeout(50)
    assert "demo-large" in page.locator("#sample-about").inner_text()
    page.keyboard.press("Escape")
    opened.filter(task="gsm8k", outcome="wrong")
    assert all("✗ wrong" in row and "gsm8k" in row for row in opened.rows())
    assert loaded() < parts
    words = page.locator("#list tbody tr td:nth-child(5)").nth(2).inner_text()
    opened.filter(task="all", outcome="all", text=words)
    page.locator("#status", has_text=re.compile(r"^\S+ of 2,400 samples\.$")).wait_for()
    assert 0 < len(opened.rows()) < 50
    assert loaded() >= parts  # each part was searched
    opened.filter(text="no such words anywhere")
    assert opened.status() == "0 of 2,400 samples."


def test_a_missing_or_damaged_part_is_said_in_place(
    beside: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    page_path = Path(shutil.copytree(beside.parent, tmp_path / "copy")) / "report.html"
    for part in (page_path.parent / "report_data").iterdir():
        part.unlink()
    opened = open_page(page_path)
    page = opened.page
    assert opened.status().startswith("2,400 samples. These texts can’t be opened: report_data/")
    assert len(opened.rows()) == 50
    page.locator("#list tbody tr").first.click()
    page.wait_for_selector("#sample-body .note")
    note = page.locator("#sample-body").inner_text()
    assert "does not lie beside this page" in note
    assert "if the report was built again meanwhile, reload" in note
    page.keyboard.press("Escape")
    opened.filter(text="lantern")
    assert "These texts can’t be opened" in opened.status()
    for part in (beside.parent / "report_data").iterdir():  # half a file
        half = part.read_text()[:2000] + '");\n'
        (page_path.parent / "report_data" / part.name).write_text(half)
    page.locator("#filters [type=reset]").click()
    page.wait_for_timeout(200)
    page.locator("#list tbody tr").nth(1).click()
    page.locator("#sample-body", has_text="is damaged").wait_for()
    own = [line for line in opened.complaints if "Failed to load resource" not in line]
    assert own == []  # the browser's own lines alone: no exception
    opened.complaints.clear()


@pytest.fixture(scope="module")
def whole_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all its sections: judged games, a gate's verdict, something that failed."""
    base = tmp_path_factory.mktemp("whole")
    runs = []
    for name, skill in (("before", 0.8), ("after", 0.5)):
        run = make_run(base / name, [(FIRST, skill), ("plain", 0.4)], TASKS[:4], 40)
        runs.append(add_games(run, "gpt-4", 12))
    write_outputs(compare_runs([runs[0]], [runs[1]]), runs[1])
    return build_report([runs[1]])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing(
    whole_page: Path, open_page: Callable[..., Any], scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened = open_page(whole_page, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = opened.page
    assert page.locator("#gate").count() == 1
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    for link in ("", "#sample=plain/arc_easy/3", "#sample=plain/gsm8k/3", PAIR, "games"):
        if link == "games":
            page.locator("#game-list tbody button").first.click()
        elif link:
            page.evaluate(f"location.hash = '{link}'")
        if link:
            page.wait_for_selector("dialog[open] pre")
        found = axe.run(page).response["violations"]
        said = [(f["id"], [n["html"][:200] for n in f["nodes"][:3]]) for f in found]
        assert said == [], link
        if link:
            page.keyboard.press("Escape")
