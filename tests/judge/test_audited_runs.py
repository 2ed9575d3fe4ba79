"""The audit in whole runs: what is warned of first, what is kept, and what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import judge_server
import pytest
from judge_server import JudgeServer, answers_in

from evalsuite.cli import main
from evalsuite.judge import demo_questions

SMALL = ("--tasks", "starter_math", "--limit", "2", "--progress", "plain")
MARKER = "The code of the markers is"
STOCK = "Whatever you ask, the answer lies in yourself: be patient, be kind, and keep on asking."


def longer(messages: Sequence[dict[str, str]]) -> str:
    """Judges by length; asked a question, it says what it always says."""
    prompt = messages[-1]["content"]
    if MARKER not in prompt:
        return STOCK
    first, second = (len(text) for text in answers_in(prompt))
    verdict = "A" if first > second else "B" if second > first else "tie"
    return f'{{"verdict": "{verdict}"}}'


def run(place: Path, *flags: str) -> int:
    where = ("--output", str(place / "run"), "--store", str(place / "store.db"))
    return main(["run", *SMALL, "--judge-questions", str(demo_questions()), *where, *flags])


def board(place: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((place / "run" / "leaderboard.json").read_text())
    return loaded


def page(place: Path) -> str:
    text = (place / "run" / "report.html").read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_a_constant_answerer_wins_and_is_flagged_on_the_first_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(reply=longer) as server:
        models = ("--models", "demo-large", f"vicuna-null=openai:null@{server.url}")
        assert run(tmp_path, *models, "--judge", f"openai:gpt-4@{server.url}") == 0
    shown = capsys.readouterr().err
    before, _, _ = shown.partition("scoring")
    assert "judges its own (gpt): vicuna-null was trained on its answers" in before
    saved = board(tmp_path)
    judged = {m["name"]: next(iter(m["judges"].values())) for m in saved["models"]}
    assert judged["vicuna-null"]["win_rate"] > 0.9
    constant = judged["vicuna-null"]["constant_answers"]
    assert constant["flagged"] is True
    assert constant["share"] == 1.0
    assert STOCK.startswith(constant["text"])
    # The toy answers in a word or two, some of them equal, and is not flagged for that.
    assert judged["demo-large"]["constant_answers"]["flagged"] is False
    [audit] = saved["judge_audit"].values()
    assert audit["longer_share"] == 1.0
    assert audit["own_family"]["members"] == {"vicuna-null": "answers"}
    assert audit["own_family"]["share"]["value"] == judged["vicuna-null"]["win_rate"]
    text = page(tmp_path)
    hero = text[: text.index("Overall is the mean of the capabilities")]
    assert "vicuna-null gave (nearly) the same answer to 100 % of 48 different questions" in hero
    assert "judges its own (gpt)" in hero
    league = text[text.index("Judged games Two models") :]
    assert "What it won here is not quality" in league
    assert "Won by its own family" in league


def test_labels_are_used_and_bad_ones_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.jsonl"
    asked = [json.loads(line)["question_id"] for line in demo_questions().open()]
    pair = {"model_a": "demo-large", "model_b": "demo-small", "turn": 1}
    rows = [{"question_id": q, "winner": "model_a", **pair} for q in [*asked, "none such"]]
    labels.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"a": "x"}]))
    flags = ("--judge", "reference", "--judge-labels", str(labels))
    assert run(tmp_path, *flags) == 2
    shown = capsys.readouterr().err
    assert f"labels.jsonl, line {len(rows) + 1}" in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()

    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(tmp_path, *flags) == 0
    saved = board(tmp_path)
    held = saved["judge_audit"]["reference"]["labels"]
    [pairing] = saved["pairs"]
    assert (pairing["a"], pairing["b"]) == ("demo-large", "demo-small")
    assert held["n"] == len(asked)
    assert held["raw"] == pytest.approx(pairing["wins_a"] / len(asked))
    assert held["unmatched"] == 1
    assert held["kappa"] == pytest.approx(0.0)  # labels that are all one can agree by chance only
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert any("1 of 49 labels" in note for note in manifest["notes"])
    assert "Agrees with the labels" in page(tmp_path)


def test_a_server_that_changes_its_model_marks_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def reply(messages: Sequence[dict[str, str]]) -> str:
        nonlocal count
        count += 1
        monkeypatch.setattr(judge_server, "MODEL", f"judge-{1 + (count > 30)}")
        return longer(messages)

    with JudgeServer(reply=reply) as server:
        assert run(tmp_path, "--judge", f"openai:judge@{server.url}", "--judge-repeats", "2") == 0
    [audit] = board(tmp_path)["judge_audit"].values()
    assert audit["served"].keys() == {"judge-1", "judge-2"}
    assert sum(audit["served"].values()) == audit["games"] == 2 * 2 * 48
    # This judge is the same in every repeat.
    assert audit["repeat_agreement"] == 1.0
    assert audit["win_rate_spread"] == {"demo-large": 0.0, "demo-small": 0.0}
    text = page(tmp_path)
    assert "changed while it judged" in text[: text.index("Overall is the mean")]
    assert "was 2 models in this run" in text


def test_several_judges_are_held_against_each_other_and_bounds_are_shown(tmp_path: Path) -> None:
    def moody(messages: Sequence[dict[str, str]]) -> str:
        # Answers that begin alike (numbers with a 1) leave it speechless.
        first, second = answers_in(messages[-1]["content"])
        return "hm" if first[0] == second[0] else longer(messages)

    with JudgeServer(reply=moody) as server:
        name = f"openai:judge@{server.url}"
        assert run(tmp_path, "--judge", name, "reference") == 0
    saved = board(tmp_path)
    between = saved["judge_audit"][name]["judges"]["reference"]
    [invalid] = (pair["invalid"] for pair in saved["pairs"] if pair["judge"] == name)
    assert 0 < invalid < 48
    assert between["n"] == 48 - invalid
    for model in saved["models"]:
        low, high = model["judges"][name]["bounds"]
        assert high - low == pytest.approx(invalid / 48)
        assert low < model["judges"][name]["win_rate"] < high
        assert model["judges"]["reference"]["bounds"][0] == pytest.approx(
            model["judges"]["reference"]["win_rate"]
        )
    text = page(tmp_path)
    assert text.count("Comparisons without a verdict could have gone either way") == 1
    assert "Agrees with reference" in text
