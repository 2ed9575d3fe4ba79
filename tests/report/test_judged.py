"""Judged games on the page: whose numbers, what is not known, several runs, damaged files."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import TASKS, add_games, make_run

from evalsuite.leaderboard import load_run, read_leaderboard, write_leaderboard
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.records import Failure, UserError
from evalsuite.report import judge_words
from evalsuite.report.charts import Scale
from evalsuite.report.games import collect_games, read_games
from evalsuite.report.html import render
from evalsuite.report.page import build_page

MODELS = [("a", 0.9), ("b", 0.6), ("c", 0.3)]


def test_a_page_without_games_says_nothing_of_them(pair_run: Path) -> None:
    page = build_page([load_run(pair_run)])
    assert (page.judge, page.leagues, page.games_shown) == (None, (), 0)
    assert all(model.judge is None for model in page.models)
    body = render(page).split("<body>")[1].split("<script")[0]  # packed texts may spell anything
    assert "judge" not in body.lower()
    assert "game" not in body.lower()


def test_two_models_show_win_rates(duel_run: Path) -> None:
    page = build_page([load_run(duel_run)])
    (league,) = page.leagues
    assert (page.judge.title, league.kind, league.scale) == ("Wins, %", "reference", None)
    assert "60 judged games" in page.facts
    (pair,) = load_run(duel_run).leaderboard.pairs  # a is demo-large
    large = next(s for s in league.standings if s.name == "demo-large")
    assert (large.won, large.tied, large.lost) == (pair["wins_a"], pair["ties"], pair["wins_b"])
    assert league.verdict == "demo-large is right more often, by more than chance."
    assert league.cost == ""
    assert "sees no order" in league.audit[0].detail


def test_a_league_shows_ratings_and_who_beats_whom(league_run: Path) -> None:
    run = load_run(league_run)
    page = build_page([run])
    (league,) = page.leagues
    assert page.judge.title == "Rating"
    numbers = {m.name: m.judges["gpt-4"] for m in run.leaderboard.models}
    for model in page.models:
        assert model.judge.text == f"{numbers[model.name]['rating']:.0f}"
    assert [s.rating.value for s in league.standings] == sorted(
        (its["rating"] for its in numbers.values()), reverse=True
    )
    for i, row in enumerate(league.matrix):
        assert row[i] is None
        for j, cell in enumerate(row):
            if cell is not None:
                assert int(cell.text) + int(league.matrix[j][i].text) in (99, 100, 101)
    assert league.played == "600 games, 300 comparisons"
    assert "$14.04" in league.cost
    tied = sum(s.tied for s in league.standings) / 2
    assert tied == sum(pair["ties"] for pair in run.leaderboard.pairs)
    bounds = [x for s in league.standings for x in s.rating.ci]
    assert league.scale.low <= min(bounds)
    assert league.scale.high >= max(bounds)


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    """A judge with nothing but its name: no crash, no made-up number."""
    run = make_run(tmp_path, MODELS, TASKS[2:3], 6)
    board = read_leaderboard(run)
    empty = {"win_rate": None, "ci": None, "rating": None, "rating_ci": None, "rank": None}
    its = {"gpt-4": empty | {"games": 4, "invalid": 4, "categories": {}}}
    models = tuple(replace(model, judges=its) for model in board.models)
    audit = {"gpt-4": {"swap_agreement": None, "invalid_rate": 1.0, "games": 4}}
    failure = Failure("", "", "judge", "gpt-4: 4 games got no reply")
    write_leaderboard(
        run, replace(board, models=models, judge_audit=audit, failed=(*board.failed, failure))
    )
    page = build_page([load_run(run)])
    (league,) = page.leagues
    assert league.verdict == "No game was decided."
    assert "nothing to rate" in league.no_rating
    assert [line.value for line in league.audit] == ["not known"] * 3 + ["100 %"]
    assert league.audit[0].detail.startswith("Not known: no pair has both orders.")
    assert [model.judge.text for model in page.models] == ["–"] * 3
    assert "Judging is not complete: gpt-4: 4 games got no reply" in page.problems
    assert "no pair has a verdict" in render(page).lower()


def test_models_that_never_met_have_no_rating(tmp_path: Path) -> None:
    run = make_run(tmp_path, [*MODELS, ("d", 0.2)], TASKS[2:3], 6)
    met = ({"a", "c"}, {"a", "d"}, {"b", "c"}, {"b", "d"})
    add_games(run, questions=8, skip=[frozenset(pair) for pair in met])
    page = build_page([load_run(run)])
    (league,) = page.leagues
    assert "groups that never met" in league.no_rating
    assert (league.scale, page.judge.title) == (None, "Wins, %")
    assert sum(cell is None for row in league.matrix for cell in row) == 4 + 8
    assert "groups that never met" in render(page)


def test_texts_that_were_not_kept(tmp_path: Path) -> None:
    run = add_games(make_run(tmp_path, MODELS, TASKS[2:3], 6), questions=4, texts=False)
    page = build_page([load_run(run)])
    assert page.games_shown == 15
    assert "did not keep the texts" in page.games_note


def test_more_games_than_fit_say_how_many_there_are(league_run: Path) -> None:
    runs = [load_run(league_run)]
    _, origins = merge_runs(runs)
    games = collect_games(runs, origins, read_games(runs), shown=50)
    assert games.shown == 50
    assert games.note.startswith("50 of 300 comparisons are here, the first 5 of each pair")


def test_runs_keep_their_games_apart(duel_run: Path, league_run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(duel_run, tmp_path / "again")
    page = build_page([load_run(path) for path in (duel_run, league_run, again)])
    assert page.judge is None  # numbers of models that never met don't stand in one column
    assert [league.key for league in page.leagues] == [
        "reference (duel)",
        "gpt-4 (league)",
        "reference (again)",
    ]
    assert {s.name for s in page.leagues[2].standings} == {
        "demo-large (again)",
        "demo-small (again)",
    }
    assert page.games_shown == 30 + 300 + 30
    text = render(page)
    assert "their models never met" in text
    assert "each run’s by itself" in text
    assert "judge: reference" not in text


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        ("matches.jsonl", "{", "no game"),
        ("matches.jsonl", "[]", "no game"),
        ("matches.jsonl", '{"judge": "gpt-4"}', "no game"),
        ("matches.jsonl", "GAME", "no game"),
        ("questions.jsonl", '{"question_id": 1}', "no question"),
        ("questions.jsonl", '{"question_id": 1, "category": "x", "turns": "one"}', "no question"),
        ("a/answers.jsonl", '{"turns": ["x"]}', "no answer"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, line: str, what: str) -> None:
    run = add_games(make_run(tmp_path, MODELS, TASKS[2:3], 6), questions=4)
    path = run / name
    lines = path.read_text().splitlines()
    if line == "GAME":  # whole but for its tokens
        line = json.dumps(json.loads(lines[0]) | {"tokens": None})
    path.write_text("\n".join([*lines, line]) + "\n")
    with pytest.raises(UserError, match=rf"{name}, line {len(lines) + 1}: {what}"):
        build_page([load_run(run)])


def test_a_game_with_an_unknown_verdict_is_refused(tmp_path: Path) -> None:
    run = add_games(make_run(tmp_path, MODELS, TASKS[2:3], 6), questions=4)
    game = json.loads((run / "matches.jsonl").read_text().splitlines()[0])
    (run / "matches.jsonl").write_text(json.dumps(game | {"verdict": "A"}) + "\n")
    with pytest.raises(UserError, match=r"line 1: no game \('A' is no verdict\)"):
        list(load_run(run).games())


@pytest.mark.parametrize(
    ("places", "text"),
    [
        (None, ""),
        ((1, 1), "first"),
        ((1, 2), "first or second"),
        ((2, 4), "second to fourth"),
        ((12, 13), "twelfth or 13th"),
        ((21, 21), "21st"),
    ],
)
def test_ranks_in_words(places: tuple[int, int] | None, text: str) -> None:
    assert judge_words.rank(places) == text


def test_scales_have_few_round_ticks() -> None:
    for values in ([997.0, 1003.0], [412.0, 1588.0], [1000.0], [-250.0, 2250.0]):
        scale = Scale.around(values)
        assert scale.low <= min(values)
        assert scale.high >= max(values)
        assert 2 <= len(scale.ticks) <= 6


def test_the_csv_holds_the_judges_numbers(league_run: Path) -> None:
    with (league_run / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["level"] == "judge"]
    board = read_leaderboard(league_run)
    assert len(rows) == 3 * len(board.models)  # the third is the win rate at equal length
    said = board.models[0].judges["gpt-4"]
    rate, rating, _ = (row for row in rows if row["model"] == board.models[0].name)
    assert (rate["metric"], float(rate["value"]), rate["n"]) == (
        "win_rate",
        said["win_rate"],
        "240",
    )
    assert (rating["metric"], float(rating["ci_low"])) == ("rating", said["rating_ci"][0])
    assert [int(rating["rank_low"]), int(rating["rank_high"])] == said["rank"]
