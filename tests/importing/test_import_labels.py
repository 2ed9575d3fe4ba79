"""Published judgments held against labels in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalsuite.cli import main
from evalsuite.leaderboard import load_run
from evalsuite.leaderboard.decisions import decide


def test_published_judgments_are_held_against_labels(test_data: Path, tmp_path: Path) -> None:
    source = str(test_data / "judge" / "mt_bench")
    plain = ("import", "mt-bench", source, "--output", str(tmp_path / "plain"))
    assert main(list(plain)) == 0
    decisions = [d for d in decide(load_run(tmp_path / "plain").games()) if d.points is not None]
    # Labellers who agree with the judge, but for every fifth comparison.
    names = {"a": "model_a", "b": "model_b", "tie": "tie"}
    other = {"a": "tie", "b": "model_a", "tie": "model_b"}
    rows = [
        {
            "question_id": d.question_id,
            "turn": d.turn,
            "model_a": d.a,
            "model_b": d.b,
            "winner": other[d.outcome] if k % 5 == 0 else names[d.outcome],
            "judge": "expert_1",
        }
        for k, d in enumerate(decisions)
    ]
    labels = tmp_path / "human_judgments.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("import", "mt-bench", source, "--output", str(tmp_path / "run"))
    assert main([*asked, "--judge-labels", str(labels)]) == 0
    [audit] = load_run(tmp_path / "run").leaderboard.judge_audit.values()
    found = audit["labels"]
    assert found["n"] == len(rows) > 50
    assert found["unmatched"] == 0
    assert found["raw"] == pytest.approx(1 - (len(rows) + 4) // 5 / len(rows))
    assert audit["own_family"]["family"] == "gpt"
    # Nothing of it where no labels were given.
    [before] = load_run(tmp_path / "plain").leaderboard.judge_audit.values()
    assert before["labels"] is None


def test_bad_labels_are_refused_before_anything_is_written(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text("{}\n")
    source, output = str(test_data / "judge" / "mt_bench"), str(tmp_path / "run")
    given = ["--output", output, "--judge-labels", str(labels)]
    assert main(["import", "mt-bench", source, *given]) == 2
    assert "labels.jsonl, line 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
