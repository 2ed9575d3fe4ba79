"""Pages of runs in which a judge alone had something to say, and of answers scored one by one."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import add_games, make_run

from evalsuite.leaderboard import load_run, read_leaderboard, write_leaderboard
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.records import Game
from evalsuite.report import build_report
from evalsuite.report.history import read_history
from evalsuite.report.html import breakable
from evalsuite.report.judge_words import short
from evalsuite.report.page import build_page

MODELS = (("alpha", 0.3), ("beta", 0.9), ("gamma", 0.6))
JUDGE = "openai:reader@http://127.0.0.1:8000/v1"


@pytest.fixture(scope="module")
def judged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models' games and no task; by name the best is not the first."""
    path = tmp_path_factory.mktemp("runs") / "judged"
    make_run(path, MODELS, (), 0)
    for name, _ in MODELS:
        (path / name).mkdir()
    games = add_games(path, "gpt-4", 12) / "matches.jsonl"
    lines = [json.loads(line) for line in games.read_text().splitlines()]
    for line in lines:  # beta wins whatever it plays, gamma all but that
        best = max(line["first"], line["second"], key=["alpha", "gamma", "beta"].index)
        line["verdict"], line["winner"] = ("first" if best == line["first"] else "second"), best
    games.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _summarise(path, [Game.from_line(line) for line in lines])
    build_report([path])
    return path


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models' answers with a score each, one of them with none; and no task."""
    path = tmp_path_factory.mktemp("runs") / "scored"
    make_run(path, MODELS[:2], (), 0)
    rng = random.Random(7)
    games = [
        Game(
            question_id=number,
            category=("math", "writing")[number % 2],
            turn=1,
            first=name,
            second=None,
            repeat=1,
            judge=JUDGE,
            preset="score",
            verdict="invalid" if (number, name) == (3, "alpha") else "tie",
            winner=None,
            scores=None if (number, name) == (3, "alpha") else (float(rng.randint(2, 9)),),
            raw_reply=f"Words on {number} of {name}.",
            tokens={"prompt": 80, "completion": 14},
            cost=0.0,
            key=f"{number}{name}",
            lengths=(12, 0),
        )
        for number in range(1, 9)
        for name, _ in MODELS[:2]
    ]
    (path / "matches.jsonl").write_text("".join(json.dumps(g.line()) + "\n" for g in games))
    _summarise(path, games)
    build_report([path])
    return path


def _summarise(path: Path, games: list[Game]) -> None:
    board = read_leaderboard(path)
    said = judge_summary(games, [model.name for model in board.models], seed=7)
    models = tuple(replace(m, judges=said.models[m.name]) for m in board.models)
    write_leaderboard(path, replace(board, models=models, pairs=said.pairs, judge_audit=said.audit))


def body(path: Path) -> str:
    text = (path / "report.html").read_text(encoding="utf-8")
    return text.split("<body>")[1].split("<script", maxsplit=1)[0]


def test_without_tasks_the_judge_s_numbers_are_the_leaderboard(judged_run: Path) -> None:
    run = load_run(judged_run)
    page = build_page([run])
    assert page.judged_only
    assert page.title == "beta, gamma and alpha, judged by gpt-4"
    assert page.verdict == page.leagues[0].verdict == "beta is preferred, by more than chance."
    assert [model.name for model in page.models] == ["beta", "gamma", "alpha"]
    numbers = {m.name: m.judges["gpt-4"] for m in run.leaderboard.models}
    for model in page.models:
        low, high = numbers[model.name]["rank"]
        assert model.place == (f"{low}" if low == high else f"{low}–{high}")
        assert model.judge is not None
        assert model.judge.value == numbers[model.name]["rating"]
    said = body(judged_run)
    for missing in ("Overall, %", 'id="tasks"', 'id="samples"', "0 tasks", "0 items", "is missing"):
        assert missing not in said


def test_beside_tasks_a_model_that_was_judged_only_is_not_missing(
    judged_run: Path, pair_run: Path
) -> None:
    page = build_page([load_run(pair_run), load_run(judged_run)])
    assert not page.judged_only
    alone = {"alpha", "beta", "gamma"}
    assert {row.name for row in page.models if row.tied == "judged only"} == alone
    (told,) = (said for said in page.problems if "judged only" in said)
    assert told.endswith("were judged only, so they have no place in the order.")
    assert all(name in told for name in alone)
    for card in page.capabilities:
        assert {row.name for row, _ in card.scores} == {"demo-large", "demo-small"}


def test_a_list_of_runs_shows_the_judge_s_numbers(judged_run: Path, scored_run: Path) -> None:
    (entry,) = read_history(judged_run.parent).entries
    assert entry.judged == "rating, judge gpt-4"
    assert [name for name, _ in entry.scores] == ["beta", "gamma", "alpha"]
    (entry,) = read_history(scored_run.parent).entries
    assert entry.judged == "mean score, judge reader"


def test_scores_are_no_games(scored_run: Path) -> None:
    run = load_run(scored_run)
    page = build_page([run])
    (league,) = page.leagues
    assert "16 judged answers" in page.facts
    assert not any("game" in fact for fact in page.facts)
    assert (page.judge.title, page.judge.judge) == ("Score", "reader")
    assert "from 1 to 10" in page.judge.note
    numbers = {m.name: m.judges[JUDGE] for m in run.leaderboard.models}
    for category in league.categories:
        for standing, (score, _, n) in zip(league.standings, category.cells, strict=True):
            its = numbers[standing.name]["score_categories"][category.name]
            assert (score.value, n) == (its["value"], its["n"])
    said = body(scored_run)
    assert "Two models answer the same question" not in said
    assert "A judge reads each answer by itself" in said
    assert "All 16 answers are here" in said


@pytest.mark.browser
def test_a_judged_page_opens(judged_run: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(judged_run / "report.html")  # and nothing is logged
    names = opened.page.locator(".board .name").all_inner_texts()
    assert names == ["beta", "gamma", "alpha"]
    assert opened.page.locator(".board .chart circle").count() == 3
    opened.filter("games", model="beta", against="alpha")
    assert opened.status("games").startswith("15 of 45 comparisons")


@pytest.mark.browser
def test_what_a_published_game_took_is_not_made_up(
    judged_run: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    said = []
    for published in (False, True):
        run = Path(shutil.copytree(judged_run, tmp_path / f"run-{published}"))
        lines = (run / "matches.jsonl").read_text().splitlines()
        unpaid = {"calls": 0, "cost": None, **({"tokens": {}} if published else {})}
        changed = [json.dumps(json.loads(line) | unpaid) + "\n" for line in lines]
        (run / "matches.jsonl").write_text("".join(changed))
        page = open_page(build_report([run])).page
        page.locator("#games .list tbody button").first.click()
        page.locator("#game[open] .verdict").first.wait_for()
        said.append(page.locator("#game-body").inner_text())
    assert "judged in another game" in said[0]
    assert "judged in another game" not in said[1]
    assert "tokens" not in said[1]


@pytest.mark.browser
def test_a_scored_answer_opens(scored_run: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(scored_run / "report.html")
    page = opened.page
    assert opened.status("games") == "16 answers."
    opened.filter("games", outcome="no score")
    (row,) = opened.rows("games")
    assert row.split("\t")[:3] == ["3", "no score", "alpha"]
    opened.filter("games", outcome="all", model="beta")
    assert len(opened.rows("games")) == 8
    page.locator("#games .list tbody button").first.click()
    assert page.locator("#game-title").inner_text() == "Question 1: beta"
    assert "Words on 1 of beta." in page.locator("#game-body").inner_text()
    assert "against" not in page.locator("#game").inner_text()
    link = page.url.partition("#")[2]
    again = open_page(scored_run / "report.html", f"#{link}").page
    assert again.locator("#game-title").inner_text() == "Question 1: beta"


@pytest.mark.browser
def test_both_tables_round_alike(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """Of 16 items most shares lie half way between two tenths of a point."""
    path = make_run(tmp_path / "run", (("a", 0.7), ("b", 0.4)), items=16)
    page = open_page(build_report([path])).page
    first, second = page.locator("#task-table tbody tr").all()
    rows = page.locator("#contrasts tbody tr").all()
    assert rows
    for column, row in enumerate(rows, start=1):
        shown = [line.locator("td a").nth(column - 1).inner_text() for line in (first, second)]
        assert [row.locator("td").nth(i).inner_text() for i in (0, 1)] == shown


def test_a_judge_in_short() -> None:
    assert short("openai:m@http://127.0.0.1:8000/v1") == "m"
    assert short("openai:org/m@odd") == "org/m@odd"
    assert short("local:demo-large") == "demo-large"
    assert short("gpt-4") == "gpt-4"


def test_names_break_after_their_signs() -> None:
    name = "<b>org/a_model-v1.5"
    assert breakable(name) == "&lt;b&gt;org/<wbr>a_<wbr>model-<wbr>v1.<wbr>5"
