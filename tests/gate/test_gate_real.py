"""Real runs of the embedded demo pair and of copies with other weights.

`run --baseline`, a baseline file, the Python API; and demo-large against itself, int8, noise of
three strengths and demo-small, where the verdicts must be what the samples say (paired_data.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from noisy_models import STRENGTHS, measure, variants
from paired_data import Said, sign_flips, what_they_say
from simulated_runner import run_job

import evalsuite
from evalsuite.cli import main
from evalsuite.gate import GateResult

SMALL = ("--tasks", "starter_commonsense", "starter_qa_open", "--limit", "60", "--judge", "none",
         "--progress", "none", "--dtype", "float32")  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder and one store for all runs: what one has computed the next need not."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def found(stores: Path) -> dict[str, tuple[GateResult, Said, Path]]:
    """By variant: what the gate says of it against demo-large, what the data say, its run."""
    large = measure("demo-large", {"models": "demo-large"}, stores)
    runs = {name: measure(name, flags, stores) for name, flags in variants(stores).items()}
    return {
        name: (evalsuite.compare(large, run), what_they_say(large, run), run)
        for name, run in runs.items()
    }


VARIANTS = ("itself", "int8", *(f"noise {strength:g}" for strength in STRENGTHS), "demo-small")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_real_model_gets_the_verdict_that_its_data_say(
    found: dict[str, tuple[GateResult, Said, Path]], name: str
) -> None:
    result, said, _ = found[name]
    (model,) = result.models
    assert result.verdict == said.verdict
    assert result.exit_code == (1 if said.verdict == "regressed" else 0)
    assert model.mean is not None
    assert model.mean.difference == pytest.approx(said.difference)
    assert model.mean.p == pytest.approx(said.mean_p, rel=1e-3)
    regressed = tuple(sorted(line.name for line in model.lines if line.verdict == "regressed"))
    assert regressed == said.dropped
    changes = [line.changed for line in model.lines if line.changed]
    assert len(changes) == 8
    assert tuple(map(sum, zip(*changes, strict=True))) == said.changed


def test_the_variants_go_from_no_change_to_a_plain_one(
    found: dict[str, tuple[GateResult, Said, Path]], stores: Path
) -> None:
    assert list(found) == list(VARIANTS)
    # Computed twice, the same; other weights' numbers were computed and not taken from the first.
    assert found["itself"][1].changed == (0, 0)
    assert found["itself"][0].verdict == "no drop beyond the margin"
    drops = [found[name][1].difference for name in VARIANTS[2:5]]
    assert drops == sorted(drops, reverse=True)
    for name in (VARIANTS[4], "demo-small"):
        assert found[name][0].verdict == "regressed"
        assert sign_flips(stores / "run-demo-large", found[name][2]) < 0.001
    manifest = json.loads((found["int8"][2] / "manifest.json").read_text())
    assert manifest["models"][0]["quantize"] == "int8"


def test_a_run_leaves_its_items_behind(found: dict[str, tuple[GateResult, Said, Path]]) -> None:
    run = found["int8"][2]
    kept = json.loads((run / "items.json").read_text())
    (tasks,) = kept["models"].values()
    assert {task: entry["items"]["n"] for task, entry in tasks.items()} == {
        line.name: line.items for line in found["int8"][0].models[0].lines
    }
    (run / "items.json").rename(run / "aside.json")
    again = evalsuite.compare(run.parent / "run-demo-large", run)
    (run / "aside.json").rename(run / "items.json")
    assert again == found["int8"][0]


@pytest.fixture(scope="module")
def place(stores: Path) -> Path:
    """Finished runs of demo-large and demo-small, one store, a baseline file of the first."""
    place = stores
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


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_the_action_fails_a_job_whose_model_is_worse(place: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "work space"
    workspace.mkdir()
    shutil.copyfile(place / "large.json", workspace / "main.json")
    (tmp_path / "runner" / "evalsuite-store").mkdir(parents=True)
    # As actions/cache restores it.
    shutil.copyfile(place / "store.db", tmp_path / "runner" / "evalsuite-store" / "store.db")
    inputs = {
        "models": "demo-small",
        "tasks": "starter_commonsense\n  starter_qa_open",
        "baseline": "main.json",
        "output": "the run",
        "arguments": "--limit\n60\n--judge\nnone\n--dtype\nfloat32\n",
    }
    job = run_job(tmp_path, workspace, inputs)
    assert (job.code, job.outputs) == (1, {"restore": "true", "save": "false", "exit-code": "1"})
    errors = [line for line in job.printed.splitlines() if line.startswith("::error")]
    assert 1 <= len(errors) <= 9
    assert "regressed" in (tmp_path / "summary").read_text()
    assert 'id="gate"' in (workspace / "the run" / "report.html").read_text()
    usage = json.loads((workspace / "the run" / "manifest.json").read_text())["usage"]
    assert usage["demo-small"]["from_store"] == usage["demo-small"]["requests"]


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
