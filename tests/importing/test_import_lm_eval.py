"""lm-eval's results as a run: the numbers of the run that wrote the files come back, paired."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evalsuite.cli import main

TASKS = ("starter_commonsense", "starter_code_output")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demo pair, whose model folders have lm-eval's own layout."""
    place = tmp_path_factory.mktemp("lm-eval")
    flags = ["--tasks", *TASKS, "--limit", "12", "--progress", "none", "--judge", "none"]
    where = ["--output", str(place / "run"), "--store", str(place / "store.db")]
    assert main(["run", *flags, *where]) == 0
    return place / "run"


def test_numbers_intervals_and_ranks_are_those_of_the_run(original: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    for name in ("demo-small", "demo-large"):
        shutil.copytree(original / name, foreign / name)
    assert main(["import", "lm-eval", str(foreign), "--output", str(tmp_path / "run")]) == 0
    wanted = json.loads((original / "leaderboard.json").read_text())
    found = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    for board in (wanted, found):
        board.pop("run")
        for model in board["models"]:
            for task in model["tasks"].values():
                task.pop("primary")
    assert found == wanted
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert set(manifest["tasks"]) == set(TASKS)
    assert manifest["tasks"][TASKS[0]]["capability"] == "commonsense"
    assert all(not Path(source).is_absolute() for source in manifest["imported"]["sources"])
    assert main(["report", str(tmp_path / "run")]) == 0
    # What a comparison needs is kept, the same items as in the run.
    kept = [json.loads((path / "items.json").read_text()) for path in (original, tmp_path / "run")]
    for name, tasks in kept[0]["models"].items():
        for task, entry in tasks.items():
            its = kept[1]["models"][name][task]["items"]
            assert (its["n"], its["keys"]) == (12, entry["items"]["keys"])


def test_results_without_samples_keep_their_values_and_say_so(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results,) = (original / "demo-small").glob("results_*.json")
    shutil.copy(results, tmp_path / results.name)
    out = tmp_path / "run"
    assert main(["import", "lm-eval", str(tmp_path / results.name), "--output", str(out)]) == 0
    assert "no samples of starter_commonsense" in capsys.readouterr().err
    (model,) = json.loads((out / "leaderboard.json").read_text())["models"]
    its = model["tasks"]["starter_commonsense"]
    assert its["metrics"][its["primary"]]["ci"] is not None  # from lm-eval's standard error


def test_two_models_of_one_name_are_refused(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("one", "two"):
        shutil.copytree(original / "demo-small", tmp_path / "in" / place)
    code = main(["import", "lm-eval", str(tmp_path / "in"), "--output", str(tmp_path / "run")])
    assert code == 2
    assert "another folder already" in capsys.readouterr().err
