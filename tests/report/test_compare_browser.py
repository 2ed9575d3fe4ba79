"""Comparing two models in a real browser: choose, sort, filter, open, link, dark, narrow, print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST, HOSTILE, encoded
from synthetic import TASKS, make_run

from evalsuite.leaderboard import load_run
from evalsuite.report import build_report

pytestmark = pytest.mark.browser

GSM8K = "#pair=demo-large/demo-small/gsm8k/3"


def scores(run: Path, model: str, task: str, metric: str) -> dict[int, float]:
    return {
        line["doc_id"]: line[metric]
        for line in load_run(run).samples(model, task)
        if line["filter"] in ("none", "strict-match")
    }


def test_differences_and_their_items(
    pair_run: Path, pair_page: Path, open_page: Callable[..., Any]
) -> None:
    opened = open_page(pair_page)
    page = opened.page
    said = page.locator("#compare-verdict").inner_text()
    assert said.startswith("demo-large is ahead of demo-small by ")
    assert "By task: demo-large is ahead in " in said
    large = scores(pair_run, "demo-large", "arc_easy", "acc_norm")
    small = scores(pair_run, "demo-small", "arc_easy", "acc_norm")
    better = [doc for doc in large if large[doc] > small[doc]]
    worse = [doc for doc in large if large[doc] < small[doc]]
    row = page.locator("#contrasts tbody tr", has_text="arc_easy")
    mean = 100 * sum(large[doc] - small[doc] for doc in large) / len(large)
    assert f"{mean:+.1f}" in row.inner_text()
    buttons = row.locator("button.link")
    assert buttons.all_inner_texts() == [str(len(better)), str(len(worse))]
    buttons.nth(1).press("Enter")
    page.wait_for_timeout(250)
    assert page.locator("#pair-status").inner_text().startswith(f"{len(worse)} of 1,200 items")
    names = page.locator("#pair-list tbody button").all_inner_texts()
    assert names == [f"arc_easy {doc}" for doc in worse][:50]
    cells = page.locator("#pair-list tbody tr").first.locator("td").all_inner_texts()
    assert cells[1]
    assert cells[2].startswith("✗ wrong")
    assert cells[3].startswith("✓ right")


def test_sort_swap_and_filter(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page, "#compare=demo-small/demo-large").page
    assert page.locator("#compare-models [name=a] option:checked").inner_text() == "demo-small"
    head = page.locator("#contrasts thead th", has_text="Difference")
    head.locator("button").click()
    shown = page.locator("#contrasts tbody td:nth-child(5)")
    values = [float(cell.get_attribute("data-value")) for cell in shown.all()]
    assert values == sorted(values, reverse=True)
    assert all(value < 0 for value in values)  # the smaller one first
    page.locator("#compare-swap").press("Enter")
    values = [float(cell.get_attribute("data-value")) for cell in shown.all()]
    assert all(value > 0 for value in values)
    assert page.url.endswith("#compare=demo-large/demo-small")
    page.locator("#compare-models [name=b]").select_option(label="demo-large")
    assert page.locator("#compare-verdict").inner_text() == "Choose two different models."
    page.locator("#compare-models [name=b]").select_option(label="demo-small")
    filters = page.locator("#pair-filters")
    filters.locator("[name=outcome]").select_option(label="both right")
    filters.locator("[name=task]").select_option(label="piqa")
    page.wait_for_timeout(250)
    for row in page.locator("#pair-list tbody tr").all_inner_texts()[:5]:
        assert row.count("✓ right") == 2
        assert row.startswith("piqa")
    filters.locator("[name=outcome]").select_option(label="all")
    filters.locator("[name=text]").fill("17")
    page.wait_for_timeout(250)
    assert page.locator("#pair-list tbody button").all_inner_texts() == ["piqa 17"]


def test_an_item_side_by_side(
    pair_run: Path, pair_page: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(pair_page, GSM8K).page
    dialog = page.locator("dialog#pair[open]")
    dialog.locator(".two").wait_for()
    text = dialog.evaluate("e => e.textContent")
    run = load_run(pair_run)
    for model in ("demo-large", "demo-small"):
        line = next(its for its in run.samples(model, "gsm8k") if its["doc_id"] == 3)
        assert line["resps"][0][0] in text
        assert line["target"] in text
    assert text.count("Question:") == 6  # one prompt for both: five examples and the question
    title = dialog.locator("h2")
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "gsm8k 4"
    assert page.url.endswith("/gsm8k/4")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.url.endswith("#compare=demo-large/demo-small")
    page.evaluate("location.hash = '#pair=demo-small/demo-large/arc_easy/3'")
    page.locator("#pair[open] .sides").first.wait_for()
    heads = page.locator("#pair .sides").first.locator("thead th").all_inner_texts()
    assert heads == ["Choice", "demo-small", "demo-large"]
    for column in (2, 3):
        cells = page.locator(f"#pair .sides:has(pre) tbody tr > :nth-child({column})")
        numbers = [float(cell.split("\n")[0].replace("−", "-")) for cell in cells.all_inner_texts()]
        best = cells.nth(numbers.index(max(numbers)))
        assert "its choice" in best.inner_text()
    page.locator("#pair a", has_text="demo-large’s sample alone").click()
    page.wait_for_selector("dialog#sample[open]")
    assert page.locator("dialog[open]").count() == 1
    page.evaluate("location.hash = '#pair=demo-small/demo-large/arc_easy/9999'")
    page.wait_for_timeout(100)
    assert "not on this page" in page.locator("#pair-status").inner_text()


def test_judged_games_of_the_two(league_run: Path, open_page: Callable[..., Any]) -> None:
    link = "#compare=Llama-1-Instruct/Llama-3-Instruct"
    page = open_page(league_run / "report.html", link).page
    pair = next(
        pair
        for pair in load_run(league_run).leaderboard.pairs
        if {pair["a"], pair["b"]} == {"Llama-1-Instruct", "Llama-3-Instruct"}
    )
    wins = {pair["a"]: pair["wins_a"], pair["b"]: pair["wins_b"]}
    tally = page.locator("#duel-tallies li").inner_text()
    assert f"Llama-1-Instruct won {wins['Llama-1-Instruct']}, {pair['ties']} tied" in tally
    rows = page.locator("#duel-list tbody tr")
    assert rows.count() == 10
    page.locator("#duel-more button").click()
    assert rows.count() == 20
    words = rows.first.locator(".clip").all_inner_texts()
    assert len(words) == 2
    assert all(said.startswith("The first answer says:") for said in words)
    rows.first.locator("a").click()
    page.wait_for_selector("dialog#game[open]")
    assert "Llama-1-Instruct against Llama-3-Instruct" in page.locator("#game-title").inner_text()


def test_tasks_are_filtered(many_run: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(many_run / "report.html").page
    form = page.locator("#task-filters")
    form.locator("[name=capability]").select_option(label="Mathematics")
    form.locator("[name=model]").fill("llama-1")
    assert page.locator("#task-status").inner_text() == "1 of 17 tasks, 3 of 12 models."
    heads = page.locator("#task-table thead th:visible").all_inner_texts()
    assert [head.split()[0] for head in heads] == ["Model", "Overall", "gsm8k"]
    form.locator("[type=reset]").click()
    page.wait_for_timeout(50)
    assert page.locator("#task-table thead th:visible").count() == 19
    frame = page.locator(".tall")
    frame.evaluate("e => e.scrollTo(300, 120)")
    left, top = frame.evaluate("e => [e.getBoundingClientRect().x, e.getBoundingClientRect().y]")
    corner = page.locator("#task-table thead th").first.bounding_box()
    assert abs(corner["x"] - left) < 3  # the names stay
    assert abs(corner["y"] - top) < 3  # and so does the header


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(pair_page: Path, open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page(pair_page, "#pair=demo-large/demo-small/arc_easy/3", color_scheme=scheme).page
    page.locator("#pair .sides").first.wait_for()
    assert page.evaluate(CONTRAST) == []


def test_narrow_and_print(pair_page: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(pair_page, GSM8K, viewport={"width": 390, "height": 844}).page
    box = page.locator("dialog#pair[open]").bounding_box()
    assert box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("Escape")
    page.emulate_media(media="print")
    assert page.locator("#contrasts").is_visible()
    assert not page.locator("#pairs").is_visible()


def test_hostile_texts_stay_text(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    def poison(model: str, task: str, line: dict[str, Any]) -> dict[str, Any]:
        text = HOSTILE[line["doc_id"] % len(HOSTILE)]
        arguments = [
            (text + context, end + text if isinstance(end, str) else end)
            for context, end in line["arguments"]
        ]
        resps = [[text]] if task == "gsm8k" else line["resps"]
        return line | {"arguments": arguments, "resps": resps, "target": text}

    names = ["<script>window.pwned=1</script>", "</title>{{7*7}}/=cmd"]
    run = make_run(
        tmp_path / "run", [(names[0], 0.9), (names[1], 0.2)], TASKS[2:4], 6, change=poison
    )
    page = open_page(build_report([run])).page
    for task in ("gsm8k", "arc_easy"):
        for doc in range(6):
            page.evaluate(
                f"location.hash = '#pair={encoded(names[0])}/{encoded(names[1])}/{task}/{doc}'"
            )
            page.locator("#pair[open] h2", has_text=f"{task} {doc}").wait_for()
            page.locator("#pair-body .two").first.wait_for()
            shown = page.locator("#pair-body").evaluate("e => e.textContent")
            assert HOSTILE[doc % len(HOSTILE)].replace("\ud800", "?") in shown
    assert page.evaluate("window.pwned") is None
    assert page.locator("#pair-body img, #pair-body script, #pair-body b").count() == 0
