"""Judged games in a real browser: open, filter, link, both orders, dark, narrow, hostile texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from browsing import CONTRAST, HOSTILE
from synthetic import TASKS, add_games, make_run

from evalsuite.leaderboard import load_run
from evalsuite.report import build_report

pytestmark = pytest.mark.browser


def test_the_first_screen_names_the_judge(duel_run: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(duel_run / "report.html").page
    judge = page.locator(".board td.judge")
    shown = [re.findall(r"[\d.]+", text)[0] for text in judge.all_inner_texts()]
    board = load_run(duel_run).leaderboard
    rates = [100 * model.judges["reference"]["win_rate"] for model in board.models]
    assert shown == [f"{rate:.1f}" for rate in rates]
    assert "judge: reference" in page.locator(".board thead .judge").inner_text()
    note = page.locator(".judge-note")
    assert "No language model judged." in note.inner_text()
    box = note.bounding_box()
    assert box["y"] + box["height"] < 900


def test_filters(league_run: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(league_run / "report.html")
    page = opened.page
    assert opened.status("games") == "300 comparisons."
    assert len(opened.rows("games")) == 50
    opened.filter("games", model="Llama-0-Instruct", outcome="won")
    rows = opened.rows("games")
    assert rows
    assert all("Llama-0-Instruct wins" in row for row in rows)
    won = int(opened.status("games").split()[0])
    opened.filter("games", outcome="lost")
    lost = int(opened.status("games").split()[0])
    opened.filter("games", outcome="tie")
    tied = int(opened.status("games").split()[0])
    opened.filter("games", outcome="no verdict")
    assert all("no verdict" in row for row in opened.rows("games"))
    invalid = int(opened.status("games").split()[0])
    assert won + lost + tied + invalid == 120
    opened.filter("games", outcome="orders disagree")
    assert all("the orders disagree" in row for row in opened.rows("games"))
    opened.filter("games", outcome="all", against="Llama-3-Instruct", category="writing")
    assert opened.status("games") == "12 of 300 comparisons."
    page.locator("#game-filters [type=reset]").click()
    page.wait_for_timeout(100)
    assert opened.status("games") == "300 comparisons."
    opened.filter("games", text="17")
    assert all(row.lstrip().startswith("17") for row in opened.rows("games"))
    words = json.loads((league_run / "matches.jsonl").read_text().splitlines()[40])["raw_reply"]
    opened.filter("games", text=words.partition(".")[0].upper())
    assert opened.status("games") == "1 of 300 comparisons."
    assert "16 samples" not in opened.status()  # the samples' list is left alone
    assert not page.locator("#game-filters [name=league]").is_visible()


def test_a_game_with_both_orders(league_run: Path, open_page: Callable[..., Any]) -> None:
    run = load_run(league_run)
    games = [g for g in run.games() if g.question_id == 4 and g.turn == 2]
    pair = [g for g in games if {g.first, g.second} == {"Llama-0-Instruct", "Llama-1-Instruct"}]
    pair.sort(key=lambda game: game.first)  # shown so, however they were played
    link = "#game=gpt-4/4/2/Llama-0-Instruct/Llama-1-Instruct"
    opened = open_page(league_run / "report.html", link)
    page = opened.page
    dialog = page.locator("dialog#game[open]")
    assert dialog.locator("h2").inner_text().startswith("Question 4, turn 2: Llama-0-Instruct")
    text = dialog.inner_text()
    question = run.questions()["4"]
    assert question.turns[1] in text
    for name in ("Llama-0-Instruct", "Llama-1-Instruct"):
        assert run.answers(name)["4"][1] in text
    orders = dialog.locator(".orders > section")
    assert orders.count() == 2
    for game, order in zip(pair, orders.all(), strict=True):
        said = order.inner_text()
        assert said.startswith(f"{game.first} first, {game.second} second")
        assert order.locator("pre").evaluate("e => e.textContent") == game.raw_reply
        assert f"{game.tokens['prompt']} tokens read" in said
        assert "$0.023" in said
        assert "answered by gpt-4-0613" in said
    dialog.locator("summary").click()
    assert question.turns[0] in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.url != link
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.url.endswith("#games")


def test_a_checked_answer_says_right_or_wrong(
    duel_run: Path, open_page: Callable[..., Any]
) -> None:
    opened = open_page(duel_run / "report.html")
    page = opened.page
    opened.filter("games", outcome="tie")
    assert all("both wrong" in row for row in opened.rows("games"))
    opened.filter("games", model="demo-large", outcome="won")
    assert all("demo-large: right, demo-small: wrong" in row for row in opened.rows("games"))
    page.locator("#game-list tbody tr button").first.focus()
    page.keyboard.press("Enter")
    text = page.locator("dialog#game[open]").inner_text()
    assert "The check says: demo-large right, demo-small wrong." in text
    assert "tokens" not in text
    assert "demo-large wins" in page.locator("#game-about").inner_text()


def test_links(league_run: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(league_run / "report.html")
    page = opened.page
    cell = page.locator(".duels tbody tr").first.locator("td a").first
    assert re.search(r"\d+ won, \d+ tied, \d+ lost", cell.get_attribute("aria-label"))
    cell.click()
    page.wait_for_timeout(200)
    assert opened.status("games") == "30 of 300 comparisons."
    page.evaluate("location.hash = '#game=gpt-4/999/1/a/b'")
    page.wait_for_timeout(100)
    assert "not on this page" in opened.status("games")
    page.evaluate("location.hash = '#game=gpt-4/1/1/Llama-0-Instruct/Llama-1-Instruct'")
    page.wait_for_selector("dialog#game[open]")
    page.evaluate("location.hash = '#sample=Llama-0-Instruct/gsm8k/3'")  # from one to the other
    page.wait_for_selector("dialog#sample[open]")
    assert page.locator("dialog[open]").count() == 1
    assert page.url.endswith("#sample=Llama-0-Instruct/gsm8k/3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["duel", "league"])
def test_contrast(
    duel_run: Path, league_run: Path, open_page: Callable[..., Any], kind: str, scheme: str
) -> None:
    run = {"duel": duel_run, "league": league_run}[kind]
    page = open_page(run / "report.html", color_scheme=scheme).page
    assert page.evaluate(CONTRAST) == []
    page.locator("#game-list tbody tr").first.click()
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [390, 700, 1100, 1190, 1600])
def test_widths(
    duel_run: Path, league_run: Path, open_page: Callable[..., Any], width: int
) -> None:
    for run in (duel_run, league_run):
        page = open_page(run / "report.html", viewport={"width": width, "height": 900}).page
        assert page.evaluate("document.documentElement.scrollWidth") == width
        frame = page.locator(".board-frame")
        assert frame.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
        page.locator("#game-list tbody tr").first.click()
        box = page.locator("dialog[open]").bounding_box()
        assert box["x"] >= 0
        assert box["width"] <= width
        assert page.locator("dialog[open]").evaluate("e => e.scrollWidth - e.clientWidth") <= 0


def test_names_and_print(league_run: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(league_run / "report.html").page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, svg[role=img]')]
          .filter(e => !(e.getAttribute('aria-label') || e.closest('label')
                         || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert unnamed == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
    page.emulate_media(media="print")
    assert page.locator(".ladder").is_visible()
    assert page.locator(".duels").is_visible()
    assert not page.locator("#games").is_visible()


def test_hostile_texts_stay_text(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    def say(kind: str, number: int, words: str) -> str:
        return HOSTILE[number % len(HOSTILE)] + kind

    names = ["<script>window.pwned=1</script>/'\"&{{7*7}}", "plain"]
    run = make_run(tmp_path / "run", [(names[0], 0.7), (names[1], 0.4)], TASKS[3:4], 6)
    add_games(run, "local:</script><b>judge", 12, say=say)
    path = build_report([run])
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 3  # the index, one part of the texts and the page's own
    assert text.count("</script") == 3
    page = open_page(path).page
    rows = page.locator("#game-list tbody tr").count()
    assert rows == 15  # every fourth question has two turns
    page.locator("#game-list tbody tr").first.click()
    for number in range(rows):
        shown = page.locator("#game-body").evaluate("e => e.textContent")
        question = int(re.findall(r"Question (\d+)", page.locator("#game-title").inner_text())[0])
        visible = HOSTILE[question % len(HOSTILE)].replace("\ud800", "?")
        for kind in ("question", "answer", "reply"):
            assert visible + kind in shown
        if number + 1 < rows:
            page.keyboard.press("ArrowRight")
    parts = [unquote(part) for part in page.url.partition("#game=")[2].split("/")]
    assert parts == ["local:</script><b>judge", "12", "2", *sorted(names)]
    assert page.evaluate("window.pwned") is None
    assert page.locator("#judged img, #judged script, #game-body b, #game-body img").count() == 0
    assert page.locator("h1").count() == 1
