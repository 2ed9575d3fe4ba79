"""Judged games inside whole runs: a judge behind HTTP, one that is gone, and a local one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from evalsuite.cli import main

SMALL = ("--tasks", "starter_commonsense", "--limit", "2", "--progress", "none")
QUESTIONS = [
    {"question_id": 1, "category": "math", "turns": ["Question: What is 2 + 2?\nAnswer:"]},
    {"question_id": 2, "category": "knowledge", "turns": ["Question: What is hot?\nAnswer:"]},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    return path


def run(place: Path, judge: str, questions: Path, *flags: str) -> int:
    where = ("--output", str(place / "run"), "--store", str(place / "store.db"))
    asked = ("--judge", judge, "--judge-questions", str(questions))
    return main(["run", *SMALL, *asked, *where, *flags])


def games(place: Path) -> list[dict[str, Any]]:
    lines = (place / "run" / "matches.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def board(place: Path) -> dict[str, Any]:
    return json.loads((place / "run" / "leaderboard.json").read_text())


def test_a_server_judges_the_demo_models_and_is_asked_once(tmp_path: Path, questions: Path) -> None:
    with JudgeServer() as server:
        assert run(tmp_path, f"openai:judge@{server.url}", questions) == 0
        asked = len(server.requests)
        assert asked > 0
        played = games(tmp_path)
        assert len(played) == 2 * len(QUESTIONS)
        assert all(game["verdict"] in ("first", "second", "tie") for game in played)
        assert all(game["raw_reply"] for game in played)
        assert len(board(tmp_path)["pairs"]) == 1
        # A second run finds every judgment in the store.
        assert run(tmp_path, f"openai:judge@{server.url}", questions) == 0
        assert len(server.requests) == asked


def test_a_server_that_goes_away_leaves_the_scores_and_is_named(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(choose=lambda number, body: "404:gone") as server:
        assert run(tmp_path, f"openai:judge@{server.url}", questions) == 4
    shown = capsys.readouterr().err
    assert shown.count("failed: judge") == 1
    assert shown.count("\n") == 1
    saved = board(tmp_path)
    assert saved["failed"][0]["stage"] == "judge"
    assert all(model["tasks"] for model in saved["models"])
    assert (tmp_path / "run" / "report.html").is_file()


SECRET = "own-key-of-a-test"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("gone", "is a server running there"),
        ("key", "check the key"),
        ("budget 0", "less than one call"),
        ("budget 0.0001", "less than one call"),
    ],
)
def test_what_would_fail_after_the_models_is_found_before_them(
    tmp_path: Path,
    questions: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    said: str,
) -> None:
    monkeypatch.setenv("OWN_KEY", SECRET)
    with JudgeServer(key="another" if trouble == "key" else SECRET) as server:
        url = server.url
        flags = ["--api-key-env", "OWN_KEY"]
        if trouble.startswith("budget"):
            flags += ["--budget", trouble.split()[1]]
        if trouble != "gone":
            assert run(tmp_path, f"openai:gpt-4@{url}", questions, *flags) == 2
        assert not server.requests
    if trouble == "gone":
        assert run(tmp_path, f"openai:gpt-4@{url}", questions, *flags) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert SECRET not in shown
    assert not (tmp_path / "run").exists()


def test_a_server_without_a_list_of_models_is_asked_all_the_same(
    tmp_path: Path, questions: Path
) -> None:
    with JudgeServer(lists=None) as server:
        assert run(tmp_path, f"openai:judge@{server.url}", questions) == 0


def test_prices_of_ones_own_make_the_bill(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text("as_of: 2031-02-03\nmodels: {my-judge: {input: 100, output: 1000}}\n")
    with JudgeServer() as server:
        flags = ("--judge-prices", str(table), "--budget", "50")
        assert run(tmp_path, f"openai:my-judge@{server.url}", questions, *flags) == 0
        prompt, completion = server.usage_total
        cost = sum(game["cost"] for game in games(tmp_path))
        assert cost == pytest.approx((prompt * 100 + completion * 1000) / 1e6)
        (tmp_path / "prices.yaml").write_text("models: 3\n")
        assert run(tmp_path, f"openai:my-judge@{server.url}", questions, *flags) == 2
    assert "is no price table" in capsys.readouterr().err


def test_a_run_that_its_budget_stopped_goes_on_and_spends_no_more_than_it(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer() as server:
        judge = f"openai:gpt-4@{server.url}"
        (tmp_path / "rich").mkdir()
        assert run(tmp_path / "rich", judge, questions, "--budget", "5") == 0
        db = sqlite3.connect(tmp_path / "rich" / "store.db")
        worst, cost = db.execute("SELECT MAX(reserved), MIN(cost) FROM judge_calls").fetchone()
        db.close()
        calls = len(server.requests)
        assert cost > 0
        # One call fits, a second doesn't; the same command may not begin to count again.
        budget = worst + cost / 2
        for _ in range(2):
            assert run(tmp_path, judge, questions, "--budget", str(budget)) == 4
            assert "spent" in capsys.readouterr().err
            assert len(server.requests) == calls + 1
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        assert manifest["status"] == "partial"
        assert manifest["judging"]["dollars"] <= budget
        assert run(tmp_path, judge, questions, "--budget", "5") == 0
        assert len(server.requests) == 2 * calls
    assert not (tmp_path / "run-2").exists()
    assert len(games(tmp_path)) == 2 * len(QUESTIONS)


def test_a_local_model_judges_without_a_network(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The small demo model knows nothing of judging: its replies are invalid, counted and no wins.
    code = run(tmp_path, "local:demo-small", questions, "--template", "zero_shot")
    shown = capsys.readouterr().err
    assert code == 4
    assert "none of its replies holds a verdict" in shown
    played = games(tmp_path)
    assert len(played) == 2 * len(QUESTIONS)
    assert {game["judge"] for game in played} == {"local:demo-small"}
    invalid = sum(game["verdict"] == "invalid" for game in played)
    pair = board(tmp_path)["pairs"][0]
    assert pair["wins_a"] + pair["wins_b"] + pair["ties"] + pair["invalid"] == len(QUESTIONS)
    assert board(tmp_path)["judge_audit"]["local:demo-small"]["invalid_rate"] == invalid / 4


def test_a_paid_judge_wants_a_budget_before_anything_runs(
    tmp_path: Path,
    questions: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    assert run(tmp_path, "gpt-4", questions) == 2
    shown = capsys.readouterr().err
    assert "--budget" in shown
    assert "$" in shown
    assert shown.count("\n") == 1
    assert "sk-secret" not in shown
    assert not (tmp_path / "run").exists()
