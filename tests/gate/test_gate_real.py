"""Real runs of the embedded demo pair: `run --baseline`, a baseline file, the Python API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import evalsuite
from evalsuite.cli import main

SMALL = ("--tasks", "starter_commonsense", "starter_qa_open", "--limit", "60", "--judge", "none",
         "--progress", "none", "--dtype", "float32")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of demo-large and demo-small, one store, a baseline file of the first."""
    place = tmp_path_factory.mktemp("real")
    for name in ("demo-large", "demo-small"):
        where = ("--output", str(place / name), "--store", str(place / "store.db"))
        assert main(["run", "--models", name, *SMALL, *where]) == 0
    assert main(["baseline", str(place / "demo-large"), str(place / "large.json")]) == 0
    return place


def run(place: Path, output: str, *flags: str) -> int:
    where = ("--output", str(place / output), "--store", str(place / "store.db"))
    return main(["run", *SMALL, *where, *flags])


def test_the_smaller_model_has_regressed(place: Path) -> None:
    result = evalsuite.compare(place / "large.json", place / "demo-small")
    assert (result.verdict, result.exit_code) == ("regressed", 1)
    assert result.models[0].mean is not None
    assert result.models[0].mean.difference is not None
    boards = [evalsuite.load_run(place / n).leaderboard for n in ("demo-large", "demo-small")]
    values = [
        sum(t.metrics[t.primary].value for t in board.models[0].tasks.values()) / 2
        for board in boards
    ]
    assert result.models[0].mean.difference == pytest.approx(100 * (values[1] - values[0]))


def test_a_run_gates_itself(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = str(place / "large.json")
    same = ("--models", "demo-large", "--baseline", large, "--margin", "10")
    assert run(place, "same", *same, "--strict") == 0
    assert "shows no drop beyond 10 points" in capsys.readouterr().out
    for name in ("gate.json", "junit.xml", "summary.md"):
        assert (place / "same" / name).is_file()
    assert 'id="gate"' in (place / "same" / "report.html").read_text()
    assert json.loads((place / "same" / "manifest.json").read_text())["status"] == "finished"
    assert run(place, "worse", "--models", "demo-small", "--baseline", large) == 1


def test_other_prompts_are_refused_and_the_run_is_kept(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--models", "demo-large", "--num-fewshot", "1")
    assert run(place, "shots", *flags, "--baseline", str(place / "large.json")) == 2
    assert "starter_commonsense: other prompts" in capsys.readouterr().out
    assert (place / "shots" / "leaderboard.json").is_file()
    assert json.loads((place / "shots" / "gate.json").read_text())["verdict"] is None


def test_what_is_wrong_is_told_before_anything_runs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = str(place / "large.json")
    for flags, said in (
        (("--baseline", str(place / "nowhere")), "no such folder"),
        (("--baseline", large, "--critical", "gsm8k"), "no such task"),
        (("--baseline", large, "--margin", "150"), "--margin"),
        (("--strict",), "name a --baseline"),
    ):
        assert run(place, "never", *flags) == 2
        assert said in capsys.readouterr().err
    assert not (place / "never").exists()
