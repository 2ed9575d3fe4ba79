"""The report in a real browser: sort, filter, open, link, dark, narrow, print, hostile texts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST, HOSTILE, encoded
from synthetic import TASKS, make_run

from evalsuite.report import build_report

pytestmark = pytest.mark.browser


def test_first_screen_says_who_is_better(pair_page: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(pair_page)
    page = opened.page
    assert page.locator("h1").inner_text() == "demo-large is first, by more than chance."
    hero = page.locator(".hero").inner_text()
    assert "2 models" in hero
    assert "1,200 items" in hero
    assert "seed 7" in hero
    assert "toys" in hero
    rows = page.locator(".board tbody tr").all_inner_texts()
    assert [re.split(r"\s+", row.strip())[:2] for row in rows] == [
        ["1", "demo-large"],
        ["2", "demo-small"],
    ]
    box = page.locator(".board tbody tr").last.bounding_box()
    assert box["y"] + box["height"] < 900  # overall and capabilities of both, without scrolling


def test_interactive_soon(many_run: Path, open_page: Callable[..., Any]) -> None:
    began = time.monotonic()
    opened = open_page(many_run / "report.html")
    # 0.5 s with the browser's own start; others may want the processor too.
    assert time.monotonic() - began < 20
    assert "2,030 samples." in opened.status()


def test_tasks_sort_by_click_and_by_keyboard(many_run: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(many_run / "report.html").page
    table = page.locator("table.heat")
    head = table.locator("thead th").nth(5)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"

    def column() -> list[str]:
        cells = table.locator("tbody tr td:nth-child(6)")
        return [cell.get_attribute("data-value") for cell in cells.all()]

    values = [float(value) for value in column() if value]
    assert values == sorted(values, reverse=True)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(value) for value in column() if value]
    assert values == sorted(values)

    gsm8k = table.locator("thead th", has_text="gsm8k")
    for _ in range(2):  # what is missing stays last, whichever way
        gsm8k.locator("button").click()
        assert "no result" in table.locator("tbody tr").last.inner_text()
    table.locator("thead th button").first.press("Space")
    names = table.locator("tbody th").all_inner_texts()
    assert names[:3] == ["Llama-0-Instruct", "Llama-1-Instruct", "Llama-2-Instruct"]


def test_filters_and_pages(pair_page: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(pair_page)
    page = opened.page
    assert opened.status() == "2,400 samples."
    assert len(opened.rows()) == 50
    opened.filter(model="demo-small", task="gsm8k", outcome="wrong")
    rows = opened.rows()
    assert rows
    assert all("✗ wrong" in row and "demo-small" in row and "gsm8k" in row for row in rows)
    page.locator('#pager [data-step="1"]').click()
    assert "Page 2 of" in page.locator("#pager").inner_text()
    assert opened.rows() != rows
    page.locator("#filters [type=reset]").click()
    page.wait_for_timeout(100)
    assert opened.status() == "2,400 samples."
    first = page.locator("#list tbody tr td:nth-child(5)").first.inner_text()
    opened.filter(text=first)
    assert 0 < len(opened.rows()) < 50
    opened.filter(text="no such words anywhere")
    assert opened.rows() == []
    assert opened.status() == "0 of 2,400 samples."
    opened.filter(text="", outcome="models differ")
    assert 0 < int(opened.status().split()[0].replace(",", "")) < 2400


def test_a_choice_sample_in_full(pair_page: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(pair_page)
    page = opened.page
    opened.filter(model="demo-small", task="arc_easy", outcome="wrong")
    page.locator("#list tbody tr").first.click()
    dialog = page.locator("dialog[open]")
    assert "demo-small · ✗ wrong" in dialog.locator("#sample-about").inner_text()
    assert dialog.locator(".choices li").count() == 4
    gold = dialog.locator(".choices .is-gold")
    picked = dialog.locator(".choices .is-picked")
    assert gold.count() == picked.count() == 1
    assert "right answer" in gold.inner_text()
    assert "the model’s choice" in picked.inner_text()
    numbers = [
        float(text.replace("−", "-")) for text in dialog.locator(".logprob").all_inner_texts()
    ]
    assert float(picked.locator(".logprob").inner_text().replace("−", "-")) == max(numbers)
    assert "Other models on this item" in dialog.inner_text()
    dialog.locator(".others a").click()
    page.wait_for_timeout(100)
    assert "demo-large" in page.locator("#sample-about").inner_text()


def test_a_written_answer_with_its_examples(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page, "#sample=demo-large/gsm8k/3").page
    dialog = page.locator("dialog[open]")
    text = dialog.inner_text()
    assert text.count("Question:") == 6  # five examples and the question
    assert "####" in text
    assert "Taken from the answer" in text
    assert "exact_match,flexible-extract" in text
    scrolled = dialog.locator(".text").first.evaluate("e => e.scrollTop + e.clientHeight + 2")
    assert scrolled >= dialog.locator(".text").first.evaluate("e => e.scrollHeight")


def test_keyboard_alone(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page).page
    page.locator("#list tbody button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] h2").inner_text() == "piqa 0"
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog[open] h2").inner_text() == "piqa 1"
    assert page.url.endswith("#sample=demo-large/piqa/1")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "piqa 0"


def test_links(pair_page: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(pair_page, "#sample=demo-small/lambada/17")
    page = opened.page
    assert page.locator("dialog[open] h2").inner_text() == "lambada 17"
    page.locator("dialog[open] [data-close]").click()
    page.evaluate("location.hash = '#sample=demo-small/lambada/99999'")
    page.wait_for_timeout(100)
    assert "not on this page" in opened.status()
    page.evaluate("location.hash = '#sample=%E0%A4%A'")  # an escape cut in two
    page.locator("table.heat tbody tr").last.locator("a").nth(2).click()
    page.wait_for_timeout(100)
    assert opened.status() == "200 of 2,400 samples."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(pair_page: Path, open_page: Callable[..., Any], scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for every text that is shown, in both schemes."""
    page = open_page(pair_page, color_scheme=scheme).page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", light)[:3])) > 600) == (scheme == "light")
    assert page.evaluate(CONTRAST) == []
    page.evaluate("location.hash = '#sample=demo-small/arc_easy/3'")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate(CONTRAST) == []


def test_narrow(pair_page: Path, many_run: Path, open_page: Callable[..., Any]) -> None:
    for path in (pair_page, many_run / "report.html"):
        page = open_page(path, viewport={"width": 390, "height": 844}).page
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.locator("#list tbody tr").first.click()
        box = page.locator("dialog[open]").bounding_box()
        assert box["x"] >= 0
        assert box["width"] <= 390


@pytest.mark.parametrize("width", [700, 1100, 1190, 1600])
def test_widths_between(many_run: Path, open_page: Callable[..., Any], width: int) -> None:
    page = open_page(many_run / "report.html", viewport={"width": width, "height": 900}).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    frame = page.locator(".board-frame")
    assert frame.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


def test_print(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#samples").is_visible()
    assert page.locator(".board").is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


# What A4 leaves between the margins, in CSS pixels: 182 mm.
PAPER = 688


@pytest.mark.parametrize("run", ["pair_run", "many_run", "league_run"])
def test_paper_cuts_no_table(
    run: str, request: pytest.FixtureRequest, open_page: Callable[..., Any]
) -> None:
    built = build_report([request.getfixturevalue(run)])
    page = open_page(built, viewport={"width": PAPER, "height": 900}).page
    page.emulate_media(media="print")
    cut = page.evaluate(
        """width => [...document.querySelectorAll('table')]
          .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > width)
          .map(e => e.id || e.caption?.textContent)""",
        PAPER,
    )
    assert cut == []


def test_names_and_roles(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page).page
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, svg[role=img]')]
          .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
                         || e.closest('label') || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert unnamed == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate(
        """() => [...document.querySelectorAll('nav a, .skip')]
          .map(a => a.getAttribute('href').slice(1)).filter(id => !document.getElementById(id))"""
    )
    assert targets == []


def test_hostile_texts_stay_text(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    def poison(model: str, task: str, line: dict[str, Any]) -> dict[str, Any]:
        text = HOSTILE[line["doc_id"] % len(HOSTILE)]
        if line["doc_id"] == 0 and task == "gsm8k":
            text = "a long answer " * 75_000  # a megabyte
        arguments = [
            (text + context, end + text if isinstance(end, str) else end)
            for context, end in line["arguments"]
        ]
        resps = [[text]] if task == "gsm8k" else line["resps"]
        return line | {"arguments": arguments, "resps": resps, "target": text}

    name = "<script>window.pwned=1</script>=cmd'\"&{{7*7}}"
    tasks = [TASKS[2], TASKS[3], ("<i>t</i>/x", *TASKS[0][1:])]
    run = make_run(tmp_path / "run", [(name, 0.5)], tasks, 12, change=poison, note="</p><script>")
    path = build_report([run])
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 3  # the index, one part of the texts and the page's own
    assert text.count("</script") == 3
    opened = open_page(path)
    page = opened.page
    assert page.locator("h1").inner_text().startswith(name)
    for task in ("gsm8k", "arc_easy", "%3Ci%3Et%3C%2Fi%3E%2Fx"):
        for doc in range(12):
            page.evaluate(f"location.hash = '#sample={encoded(name)}/{task}/{doc}'")
            page.wait_for_selector("dialog[open]")
            page.wait_for_timeout(20)
            shown = page.locator("#sample-body").evaluate("e => e.textContent")
            if task == "gsm8k" and doc == 0:
                assert "1,000,000 characters are left out" in shown
                assert shown.count("a long answer") > 3000
            else:
                visible = HOSTILE[doc % len(HOSTILE)].replace("\ud800", "?")  # no bytes for it
                assert visible in shown
    assert page.evaluate("window.pwned") is None
    assert page.locator("#sample-body img, #sample-body script, #sample-body b").count() == 0
    assert page.locator("h1").count() == 1
