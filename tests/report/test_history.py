"""The list of runs as a file: order, trends, what cuts them, broken runs, other people's pages."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import TASKS, make_run

from evalsuite.cli import main
from evalsuite.leaderboard import load_run, write_leaderboard
from evalsuite.records import UserError
from evalsuite.report.history import MARK, read_history, refresh_history, write_history
from evalsuite.report.trends import trends


def add_run(folder: Path, day: int, skill: float, items: int = 20, **told: object) -> Path:
    run = make_run(folder / f"day-{day}", [("mine", skill)], TASKS[2:4], items)
    path = run / "manifest.json"
    manifest = json.loads(path.read_text()) | {"created": f"2026-11-{day:02}T10:00:00+00:00"}
    path.write_text(json.dumps(manifest | told))
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs in a folder, asked the same but for the first; one broken, one going on."""
    place = tmp_path_factory.mktemp("history") / "reports"
    for day, items in ((9, 20), (10, 20), (11, 20), (8, 12)):
        add_run(place, day, 0.08 * day - 0.2, items)
    (place / "day-11" / "report.html").write_text("its page")
    gate = {"headline": "the run has regressed.", "verdict": "regressed", "models": []}
    gate |= {"differences": [], "failed": [], "notes": []}
    (place / "day-10" / "gate.json").write_text(json.dumps(gate))
    (place / "broken").mkdir()
    (place / "broken" / "leaderboard.json").write_text('{"schema": 1, "models": [')
    (place / "going").mkdir()
    (place / "going" / "manifest.json").write_text('{"status": "running"}')
    (place / "no run").mkdir()
    return place


def test_runs_newest_first_with_what_they_came_to(folder: Path) -> None:
    history = read_history(folder)
    assert [entry.name for entry in history.entries] == ["day-11", "day-10", "day-9", "day-8"]
    newest, gated = history.entries[:2]
    assert (newest.link, gated.link) == ("day-11/report.html", "")
    assert newest.when == "11 November 2026, 10:00 UTC"
    assert (newest.tasks, newest.status, newest.gate) == (2, "finished", "")
    assert (gated.gate, gated.gate_level) == ("regressed", "bad")
    overall = load_run(folder / "day-11").leaderboard.models[0].overall.value
    assert newest.scores[0][1].value == overall
    why = dict(history.unreadable)
    assert set(why) == {"broken", "going"}
    assert "can't be read" in why["broken"]
    assert "has not finished" in why["going"]


def test_trends_are_cut_where_the_questions_changed(folder: Path) -> None:
    runs = [load_run(folder / f"day-{day}") for day in (8, 9, 10, 11)]
    found = {trend.name: trend for trend in trends(runs)["mine"]}
    assert list(found) == ["Overall", "Question answering", "Mathematics", "arc_easy", "gsm8k"]
    for name in ("Overall", "gsm8k"):
        assert [bool(point.broken) for point in found[name].points] == [False, True, False, False]
        assert len(found[name].since) == 3
    assert found["gsm8k"].points[1].broken == "items 12 → 20"
    own = [run.leaderboard.models[0].tasks["gsm8k"] for run in runs]
    values = [task.metrics[task.primary].value for task in own]
    assert [point.value for point in found["gsm8k"].points] == values
    assert found["gsm8k"].change == values[-1] - values[-2]
    text = write_history(folder).read_text(encoding="utf-8")
    assert text.count('class="break"') == 5
    assert "asked otherwise since day-9: items 12 → 20" in text


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"versions": {"lm_eval": "0.4.14"}}, "lm-eval 0.4.13 → 0.4.14"),
        ({"measured": {"chat": "always"}, "note": "unknown before is no change"}, ""),
        ({"seed": 8, "hardware": {"cpu": "another"}}, ""),
    ],
)
def test_only_what_decides_numbers_cuts_a_line(
    folder: Path, tmp_path: Path, told: dict[str, object], said: str
) -> None:
    later = add_run(tmp_path, 12, 0.5, **told)
    found = trends([load_run(folder / "day-11"), load_run(later)])["mine"]
    assert found[-1].points[1].broken == said


def test_a_missing_task_is_named(folder: Path, tmp_path: Path) -> None:
    fewer = load_run(add_run(tmp_path, 12, 0.5))
    (model,) = fewer.leaderboard.models
    left = {task: score for task, score in model.tasks.items() if task != "gsm8k"}
    board = replace(fewer.leaderboard, models=(replace(model, tasks=left),))
    write_leaderboard(fewer.path, board)
    found = trends([load_run(folder / "day-11"), load_run(fewer.path)])["mine"]
    assert found[0].points[1].broken == "without gsm8k"


def test_somebodys_own_page_is_left_alone(folder: Path, tmp_path: Path) -> None:
    run = add_run(tmp_path / "reports", 1, 0.5)
    index = run.parent / "index.html"
    index.write_text("<h1>mine</h1>")
    assert refresh_history(run) == ""
    with pytest.raises(UserError, match="was not written by evalsuite and is left alone"):
        write_history(run.parent)
    assert index.read_text() == "<h1>mine</h1>"
    index.unlink()
    assert refresh_history(run) == ""
    assert MARK in index.read_text()


def test_a_run_elsewhere_makes_no_list_unless_there_is_one(tmp_path: Path) -> None:
    run = add_run(tmp_path / "runs", 1, 0.5)
    index = run.parent / "index.html"
    assert refresh_history(run) == ""
    assert not index.exists()
    write_history(run.parent)
    before = index.read_bytes()
    add_run(tmp_path / "runs", 2, 0.6)
    refresh_history(run)
    assert index.read_bytes() != before
    assert b"day-2" in index.read_bytes()


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        write_history(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no run"):
        write_history(tmp_path)


def test_many_runs_take_little(folder: Path, tmp_path: Path) -> None:
    """200 runs: their samples are not read."""
    one = add_run(tmp_path / "all", 1, 0.5)
    files = {name: (one / name).read_text() for name in ("leaderboard.json", "manifest.json")}
    for number in range(199):
        place = tmp_path / "all" / f"again-{number}"
        place.mkdir()
        for name, text in files.items():
            (place / name).write_text(text)
    began = time.process_time()
    history = read_history(tmp_path / "all")
    assert len(history.entries) == 200
    assert time.process_time() - began < 10  # under 2 s by itself


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--history", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "index.html")
    assert main(["report", "--history", str(folder), str(folder / "day-9")]) == 2
    assert "name no run beside it" in capsys.readouterr().err
    assert main(["report"]) == 2
    assert "name the folder of a run" in capsys.readouterr().err
