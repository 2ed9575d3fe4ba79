"""The baseline file: the same verdicts as the run it was made of, no texts, and damage refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import add_games

import evalsuite
from evalsuite.cli import main
from evalsuite.gate import load_side
from evalsuite.records import UserError


@pytest.fixture
def baseline(shared_runs: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "baselines" / "main.json"
    assert main(["baseline", str(shared_runs["before"]), str(path)]) == 0
    return path


def test_a_file_says_what_its_run_says(baseline: Path, shared_runs: dict[str, Path]) -> None:
    for name in ("same", "worse"):
        by_file = evalsuite.compare(baseline, shared_runs[name])
        assert by_file == evalsuite.compare(shared_runs["before"], shared_runs[name])


def test_it_is_small_and_holds_no_text(baseline: Path, shared_runs: dict[str, Path]) -> None:
    text = baseline.read_text()
    assert len(text) < 12 * 6 * 600 + 6000  # items; names, digests
    sample = next(evalsuite.load_run(shared_runs["before"]).samples("llama", "gsm8k"))
    for secret in (sample["doc"]["question"], sample["resps"][0][0].split(".")[0]):
        assert secret not in text


def test_games_passages_lost_and_pooled_items_come_back(small_run: Any, tmp_path: Path) -> None:
    def change(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
        doc = {**sample["doc"], "passage": f"Passage {sample['doc_id'] // 3}"}
        lost = {"error": "KeyError: 'x'"} if sample["doc_id"] == 4 else {}
        return {**sample, "doc": doc, **lost}

    models = [("llama", 0.7), ("other", 0.5)]
    run = add_games(small_run("run", models=models, change=change), "gpt-4", 12)
    again = add_games(small_run("again", models=models, change=change), "gpt-4", 12)
    path = tmp_path / "b.json"
    assert main(["baseline", str(run), str(again), str(path)]) == 0
    one, other = load_side([run, again]), load_side([path])
    assert (other.runs, other.settings, other.label) == (2, one.settings, one.label)
    for ours, theirs in zip(one.models, other.models, strict=True):
        assert list(ours.tasks) == list(theirs.tasks)
        pairs = [(items, theirs.tasks[task]) for task, items in ours.tasks.items()]
        pairs += [
            (items, theirs.games[judge][name])
            for judge, opponents in ours.games.items()
            for name, items in opponents.items()
        ]
        assert len(pairs) == 3
        for a, b in pairs:
            for field in dataclasses.fields(a):
                left, right = getattr(a, field.name), getattr(b, field.name)
                np.testing.assert_array_equal(left, right, err_msg=field.name)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: c.update(format="other"), "neither the folder of a run nor a baseline"),
        (lambda c: c.update(schema=2), "schema 2"),
        (lambda c: c.pop("models"), "damaged"),
        (lambda c: c["models"][0]["tasks"]["piqa"].update(n=599), "damaged"),
        (lambda c: c["models"][0]["tasks"]["piqa"].update(bits="AAAA"), "damaged"),
        (lambda c: c["models"][0]["tasks"]["piqa"].update(keys="%"), "damaged"),
    ],
)
def test_damage_is_told(baseline: Path, damage: Any, said: str, tmp_path: Path) -> None:
    content = json.loads(baseline.read_text())
    damage(content)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        load_side([broken])


def test_what_is_no_baseline_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_bytes(b"\xff\xfe not json")
    assert main(["compare", str(tmp_path / "text"), str(tmp_path)]) == 2
    assert "can't be read as a baseline" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere"), str(tmp_path)]) == 2
    assert "no such folder" in capsys.readouterr().err
