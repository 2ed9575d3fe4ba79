"""Answers from files, in the formats that others publish, as models of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from evalsuite.cli import main
from evalsuite.judge import Question, read_answers, read_questions, references_beside
from evalsuite.records import UserError

QUESTIONS = (
    Question(81, "writing", ("Write a line.", "Again.")),
    Question(82, "math", ("What is 2 + 2?",)),
)
SHARED = os.environ.get("EVALSUITE_TEST_DATA")


def fastchat(model: str, answers: dict[int, list[str]]) -> str:
    rows = (
        {"question_id": q, "model_id": model, "choices": [{"index": 0, "turns": turns}]}
        for q, turns in answers.items()
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_fastchat_answers_are_found_by_their_question(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(fastchat("vicuna/13b", {82: ["4"], 81: ["one", "two"], 99: ["x"]}))
    [given] = read_answers(str(path), QUESTIONS)
    assert given.label == "vicuna-13b"
    assert [answer.turns for answer in given.answers] == [("one", "two"), ("4",)]
    [named] = read_answers(f"mine={path}", QUESTIONS)
    assert named.label == "mine"
    assert named.answers == given.answers


def test_alpaca_eval_outputs_are_found_by_their_instruction(tmp_path: Path) -> None:
    outputs = [
        {"instruction": "What is 2 + 2?", "output": "four", "generator": "alpaca"},
        {"instruction": "Who?", "output": "me", "generator": "alpaca", "dataset": "koala"},
    ]
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(outputs))
    questions = read_questions(path)
    assert [(q.question_id, q.category, q.turns) for q in questions] == [
        (0, "general", ("What is 2 + 2?",)),
        (1, "koala", ("Who?",)),
    ]
    assert all(not q.reference for q in questions)
    [given] = read_answers(str(path), questions)
    assert [answer.turns for answer in given.answers] == [("four",), ("me",)]
    [same] = read_answers(str(path), QUESTIONS[1:])
    assert same.answers[0].question_id == 82


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no answer in it"),
        ("{broken\n", "line 1: not JSON"),
        ('{"question_id": 81, "model_id": "m", "choices": []}\n', "line 1: no answer in FastChat"),
        ('{"question_id": 81, "model_id": "m", "choices": 3}\n', "line 1: no answer in FastChat"),
        (fastchat("m", {81: ["one"], 82: ["4"]}), "no answer to question 81, turn 2"),
        (fastchat("m", {81: ["one", "two"]}), "no answer to question 82, turn 1"),
        (fastchat("m", {81: ["a", "b"]}) * 2, "answers this question twice"),
        ('[{"instruction": "What?"}]', "entry 0: no output in alpaca_eval"),
        ("[3]", "entry 0: a JSON object is wanted in the answers"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_answers(str(path), QUESTIONS)
    assert "\n" not in str(caught.value)


def test_one_label_cannot_name_several_models(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(fastchat("a", {82: ["4"]}) + fastchat("b", {82: ["5"]}))
    assert [its.label for its in read_answers(str(path), QUESTIONS[1:])] == ["a", "b"]
    with pytest.raises(UserError, match="2 models"):
        read_answers(f"x={path}", QUESTIONS[1:])


@pytest.fixture
def two_files(tmp_path: Path) -> list[str]:
    (tmp_path / "questions.jsonl").write_text(
        "".join(
            json.dumps({"question_id": q.question_id, "category": q.category, "turns": q.turns})
            + "\n"
            for q in QUESTIONS
        )
    )
    good = fastchat("good", {81: ["excellent", "excellent again"], 82: ["excellent 4"]})
    (tmp_path / "good.jsonl").write_text(good)
    (tmp_path / "poor.jsonl").write_text(fastchat("poor", {81: ["a", "b"], 82: ["c"]}))
    return [str(tmp_path / name) for name in ("questions.jsonl", "good.jsonl", "poor.jsonl")]


def run(place: Path, *flags: str) -> int:
    where = ("--output", str(place / "run"), "--store", str(place / "store.db"))
    return main(["run", *where, "--progress", "none", *flags])


def read(place: Path, name: str) -> Any:
    return json.loads((place / "run" / name).read_text())


def test_files_alone_are_a_run_of_games_without_a_model(
    tmp_path: Path, two_files: list[str]
) -> None:
    questions, *files = two_files
    with JudgeServer() as server:
        judge = ("--judge", f"openai:judge@{server.url}", "--judge-questions", questions)
        assert run(tmp_path, *judge, "--judge-answers", *files) == 0
    [pair] = read(tmp_path, "leaderboard.json")["pairs"]
    assert (pair["a"], pair["wins_a"], pair["wins_b"]) == ("good", 3, 0)
    about = {model["name"]: model for model in read(tmp_path, "manifest.json")["models"]}
    assert about["poor"]["source"] == "poor.jsonl"
    assert len(about["poor"]["sha256"]) == 64
    kept = (tmp_path / "run" / "poor" / "answers.jsonl").read_text().splitlines()
    assert json.loads(kept[1])["turns"] == ["c"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "good" in page


def test_a_file_plays_against_a_model_of_the_run(tmp_path: Path, two_files: list[str]) -> None:
    questions, good, _ = two_files
    with JudgeServer() as server:
        judge = ("--judge", f"openai:judge@{server.url}", "--judge-questions", questions)
        what = ("--models", "demo-small", "--tasks", "starter_commonsense", "--limit", "2")
        assert run(tmp_path, *what, *judge, "--judge-answers", good) == 0
    board = read(tmp_path, "leaderboard.json")
    names = {model["name"]: model for model in board["models"]}
    assert set(names) == {"demo-small", "good"}
    assert names["good"]["overall"]["value"] is None
    assert names["good"]["judges"][f"openai:judge@{server.url}"]["win_rate"] == 1


def test_another_file_of_answers_is_another_run(tmp_path: Path, two_files: list[str]) -> None:
    questions, *files = two_files
    with JudgeServer() as server:
        judge = ("--judge", f"openai:judge@{server.url}", "--judge-questions", questions)
        assert run(tmp_path, *judge, "--judge-answers", *files) == 0
        changed = Path(files[1])
        changed.write_text(changed.read_text().replace('"c"', '"excellent excellent d"'))
        assert run(tmp_path, *judge, "--judge-answers", *files) == 0
    assert (tmp_path / "run-2" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--judge-answers", "{good}", "{good}"], "two models would be called good"),
        (["--judge-answers", "report.html={good}"], "the run's own files"),
        (["--judge-answers", "nowhere.jsonl"], "cannot read the answers"),
        (["--judge-answers", "_x={good}"], "a label is made of"),
        (["--judge-temperature", "hot"], "--judge-temperature takes a number"),
        (["--judge-temperature", "nan"], "--judge-temperature takes a number"),
        (["--judge", "reference", "reference"], "there twice"),
        (["--judge", "none", "reference"], "stands alone"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(
    tmp_path: Path,
    two_files: list[str],
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
) -> None:
    questions, good, _ = two_files
    judge = () if "--judge" in flags else ("--judge", "openai:judge@http://127.0.0.1:9")
    filled = [flag.format(good=good) for flag in flags]
    assert run(tmp_path, "--judge-questions", questions, *judge, *filled) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(SHARED is None, reason="EVALSUITE_TEST_DATA is not set: published answers")
def test_published_answers_of_fastchat_are_read_as_they_are() -> None:
    folder = Path(str(SHARED)) / "judge" / "mt_bench"
    questions = read_questions(folder / "question.jsonl")
    for path in sorted((folder / "model_answer").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        answered = {row["question_id"]: row["choices"][0]["turns"] for row in lines}
        here = [q for q in questions if q.question_id in answered]
        [given] = read_answers(f"m={path}", here)
        assert [list(a.turns) for a in given.answers] == [answered[q.question_id] for q in here]
        assert here


@pytest.mark.skipif(SHARED is None, reason="EVALSUITE_TEST_DATA is not set: published references")
def test_references_beside_published_questions_are_found(tmp_path: Path) -> None:
    path = Path(str(SHARED)) / "judge" / "mt_bench" / "question.jsonl"
    questions = read_questions(path, references_beside(path))
    # One question of coding has its reference in the folder only.
    assert sum(bool(q.reference) for q in questions) == 40
    assert sum(bool(q.reference) for q in read_questions(path)) == 39
    assert references_beside(tmp_path / "question.jsonl") is None
