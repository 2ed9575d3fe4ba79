"""Several judges of one run: each by itself, and the panel of all with each left out."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from games import game
from judge_server import JudgeServer

from evalsuite.cli import main
from evalsuite.leaderboard.constant import Sameness
from evalsuite.leaderboard.evidence import Evidence
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.leaderboard.panel import PANEL, with_panel
from evalsuite.records import Game, Verdict

MODELS = ("a", "b", "c")


def both_orders(judge: str, question: int, a: str, b: str, winner: str | None) -> list[Game]:
    def says(first: str, second: str) -> Verdict:
        return "tie" if winner is None else "first" if winner == first else "second"

    return [game(question, x, y, says(x, y), judge=judge) for x, y in ((a, b), (b, a))]


def league(better: dict[str, str], questions: int = 20) -> list[Game]:
    """Each judge orders the models in its own way, always: the text's letters, best first."""
    return [
        one
        for judge, order in better.items()
        for question in range(questions)
        for x, y in itertools.combinations(MODELS, 2)
        for one in both_orders(judge, question, x, y, min(x, y, key=order.index))
    ]


def summarised(games: list[Game]) -> Any:
    return with_panel(judge_summary(games, MODELS), games, MODELS)


def test_the_panel_is_the_mean_of_its_judges() -> None:
    summary = summarised(league({"one": "abc", "two": "abc", "three": "cba"}))
    rates = {model: its[PANEL]["win_rate"] for model, its in summary.models.items()}
    # Two of three say a, a third says c: of each judge a's rate is 1, 1 and 0.
    assert rates == pytest.approx({"a": 2 / 3, "b": 1 / 2, "c": 1 / 3})
    assert next(iter(summary.pairs))["judge"] == PANEL
    assert set(summary.audit) == {PANEL, "one", "two", "three"}


def test_a_model_that_says_the_same_to_everything_is_marked_in_the_panel_too() -> None:
    games = league({"one": "abc", "two": "cba"})
    evidence = Evidence(sameness={"a": Sameness(0.9, 20, "Yes."), "b": Sameness(0.1, 20, "No.")})
    summary = with_panel(judge_summary(games, MODELS, evidence=evidence), games, MODELS)
    for model, flagged in (("a", True), ("b", False)):
        its = summary.models[model]
        assert its[PANEL]["constant_answers"] == its["one"]["constant_answers"]
        assert its[PANEL]["constant_answers"]["flagged"] is flagged
    assert "constant_answers" not in summary.models["c"][PANEL]


def test_leaving_a_judge_out_shows_what_it_does_to_the_panel() -> None:
    summary = summarised(league({"one": "abc", "two": "abc", "three": "cba"}))
    left = summary.audit[PANEL]["leave_one_out"]
    assert left["three"]["models"]["a"]["win_rate"] == 1
    assert left["three"]["agreement"] == 0
    assert left["three"]["largest_change"] == pytest.approx(1 / 3)
    assert left["three"]["same_order"] is True
    # Without one, two and three cancel out and every pair is a tie: "one" agrees with none.
    assert left["one"]["models"]["a"]["win_rate"] == pytest.approx(0.5)
    assert left["one"]["agreement"] == 0


def test_judges_that_agree_leave_nothing_to_tell() -> None:
    summary = summarised(league({"one": "abc", "two": "abc", "three": "abc"}))
    for found in summary.audit[PANEL]["leave_one_out"].values():
        assert found["agreement"] == 1
        assert found["largest_change"] == 0
        assert found["same_order"] is True


def test_one_judge_is_no_panel() -> None:
    games = league({"one": "abc"})
    summary = judge_summary(games, MODELS)
    assert with_panel(summary, games, MODELS) is summary


def test_a_judge_without_a_verdict_leaves_the_others() -> None:
    games = league({"one": "abc"}) + [
        game(question, x, y, "invalid", judge="two")
        for question in range(20)
        for x, y in itertools.permutations(MODELS, 2)
    ]
    summary = summarised(games)
    assert summary.models["a"][PANEL]["win_rate"] == 1
    assert summary.models["a"][PANEL]["invalid"] == 0
    assert summary.audit[PANEL]["leave_one_out"]["two"]["n"] == 0
    assert summary.audit[PANEL]["leave_one_out"]["one"]["models"]["a"]["win_rate"] is None


def test_a_run_with_two_judges_ends_in_a_panel(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    asked = [
        {
            "question_id": number,
            "category": "math",
            "turns": [f"Question: What is {number} + 2?\nAnswer:"],
            "check": {"kind": "number", "answer": str(number + 2)},
        }
        for number in (1, 2, 3)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked))
    with JudgeServer() as server:
        served = f"openai:judge@{server.url}"
        code = main(
            [
                *("run", "--tasks", "starter_commonsense", "--limit", "2", "--progress", "none"),
                *("--judge", served, "reference", "--judge-questions", str(questions)),
                *("--output", str(tmp_path / "run"), "--store", str(tmp_path / "store.db")),
            ]
        )
    assert code == 0
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    assert list(board["models"][0]["judges"]) == [PANEL, served, "reference"]
    assert [pair["judge"] for pair in board["pairs"]] == [PANEL, served, "reference"]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [one["judge"] for one in manifest["judging"]["judges"]] == [served, "reference"]
    played = (tmp_path / "run" / "matches.jsonl").read_text().splitlines()
    assert len(played) == 12
    page = (tmp_path / "run" / "report.html").read_text()
    assert "judge agrees with the other<" in page
