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
from evalsuite.records import Failure, UserError


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
        (lambda c: c.update(runs=0), "damaged"),
        (lambda c: c.update(runs=float("inf")), "damaged"),
        (lambda c: c["models"].append(c["models"][0]), "a model stands in it twice"),
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
    (tmp_path / "deep").write_text("[" * 200_000)
    assert main(["compare", str(tmp_path / "deep"), str(tmp_path)]) == 2
    assert "nested too deeply" in capsys.readouterr().err


def test_line_ends_and_a_byte_order_mark_do_no_harm(baseline: Path, tmp_path: Path) -> None:
    other = tmp_path / "crlf.json"
    other.write_bytes(b"\xef\xbb\xbf" + baseline.read_bytes().replace(b"\n", b"\r\n"))
    ours, theirs = (load_side([path]).models[0].tasks for path in (baseline, other))
    assert list(ours) == list(theirs)
    for task, items in ours.items():
        np.testing.assert_array_equal(items.scores, theirs[task].scores)


def test_an_edited_unit_or_direction_is_told(
    baseline: Path, shared_runs: dict[str, Path], tmp_path: Path
) -> None:
    content = json.loads(baseline.read_text())
    content["models"][0]["tasks"]["piqa"]["higher_is_better"] = False
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(content))
    assert evalsuite.compare(edited, shared_runs["worse"]).differences == (
        "piqa: unit: share (lower is better) in the baseline, share (higher is better) in the run",
    )


def test_only_a_baseline_is_written_over(
    baseline: Path, small_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run("run")
    board = (run / "leaderboard.json").read_bytes()
    assert main(["baseline", str(run), str(run / "leaderboard.json")]) == 2
    assert "is there and no baseline; name another file" in capsys.readouterr().err
    assert (run / "leaderboard.json").read_bytes() == board
    # A merge left marks in it: it is read by nobody, and writing it again is the way out.
    baseline.write_text("<<<<<<< HEAD\n" + baseline.read_text())
    assert main(["baseline", str(run), str(baseline)]) == 0
    assert load_side([baseline]).models[0].name == "llama"


def test_what_failed_is_said_when_the_baseline_is_made(
    small_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = [Failure("llama", "piqa", "infer", "boom")]
    half = small_run("half", failures=failures, skip=[("llama", "piqa")])
    assert main(["baseline", str(half), str(tmp_path / "b.json")]) == 0
    said = capsys.readouterr()
    assert "note: llama, piqa, infer failed in the run and is not in the baseline" in said.err
    nothing = small_run("nothing", skip=[("llama", "piqa"), ("llama", "gsm8k")])
    assert main(["baseline", str(nothing), str(tmp_path / "n.json")]) == 2
    assert "nothing: no task or game to compare later runs with" in capsys.readouterr().err
