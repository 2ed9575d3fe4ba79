"""Whole runs: the files they leave, the store, a kill, and what people do wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.models.names import DEMO_FOLDER

TASKS = ("starter_commonsense", "starter_code_output")
# Enough documents for several batches, few enough for a test.
SMALL = ("--tasks", *TASKS, "--limit", "40", "--progress", "none", "--dtype", "float32")


def run(*flags: str) -> int:
    return main(["run", *flags])


def read_board(folder: Path) -> dict[str, Any]:
    """leaderboard.json without what may differ between two equal runs."""
    board = json.loads((folder / "leaderboard.json").read_text())
    board["run"].pop("times")
    return board


def read_manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the demo pair; its store lies beside its folder."""
    place = tmp_path_factory.mktemp("whole")
    code = run(*SMALL, "--output", str(place / "run"), "--store", str(place / "store.db"))
    assert code == 0
    return place


def test_a_run_leaves_the_files_of_the_contract(whole: Path) -> None:
    folder = whole / "run"
    names = {path.name for path in folder.iterdir()}
    wanted = {"report.html", "leaderboard.json", "leaderboard.csv", "manifest.json"}
    wanted |= {"matches.jsonl", "questions.jsonl", "items.json"}
    wanted |= {"samples.parquet", "matches.parquet"}
    assert names == wanted | {"demo-small", "demo-large"}
    board = json.loads((folder / "leaderboard.json").read_text())
    assert board["schema"] == 1
    assert {model["name"] for model in board["models"]} == {"demo-small", "demo-large"}
    for model in board["models"]:
        assert set(model["tasks"]) == set(TASKS)
        for task in model["tasks"].values():
            metric = task["metrics"][task["primary"]]
            assert metric["n"] == 40
            assert metric["ci"][0] <= metric["value"] <= metric["ci"][1]
    assert set(board["run"]["times"]["models"]) == {"demo-small", "demo-large"}


def test_samples_add_up_to_the_scores(whole: Path) -> None:
    board = read_board(whole / "run")
    for model in board["models"]:
        for name, task in model["tasks"].items():
            files = list((whole / "run" / model["name"]).glob(f"samples_{name}_*.jsonl"))
            assert len(files) == 1
            samples = [json.loads(line) for line in files[0].read_text().splitlines()]
            metric = task["primary"].split(",")[0]
            mean = sum(sample[metric] for sample in samples) / len(samples)
            assert mean == pytest.approx(task["metrics"][task["primary"]]["value"], abs=1e-12)


def test_the_manifest_says_what_the_numbers_depend_on(whole: Path) -> None:
    manifest = read_manifest(whole / "run")
    assert manifest["status"] == "finished"
    assert manifest["versions"]["lm_eval"] == "0.4.13"
    hashes = {model["weights_sha256"] for model in manifest["models"]}
    assert len(hashes) == 2
    assert all(len(digest) == 64 for digest in hashes)
    for usage in manifest["usage"].values():
        assert 0 < usage["distinct_tokens"] < usage["total_tokens"]
        assert usage["batches"] == usage["batches_begun"] > 0


def test_a_second_run_computes_nothing_and_gives_the_same_numbers(whole: Path) -> None:
    flags = (*SMALL, "--output", str(whole / "run"), "--store", str(whole / "store.db"))
    before = (whole / "run" / "report.html").read_bytes()
    assert run(*flags) == 0
    assert (whole / "run" / "report.html").read_bytes() == before
    assert read_board(whole / "run-2") == read_board(whole / "run")
    for usage in read_manifest(whole / "run-2")["usage"].values():
        assert usage["batches"] == 0
        assert 0 < usage["from_store"] <= usage["requests"]


def test_refresh_computes_again(whole: Path) -> None:
    flags = ("--output", str(whole / "again"), "--store", str(whole / "store.db"), "--refresh")
    assert run(*SMALL, *flags) == 0
    assert read_board(whole / "again") == read_board(whole / "run")
    assert all(u["batches"] > 0 for u in read_manifest(whole / "again")["usage"].values())


def test_the_demo_models_play_games_that_references_decide(whole: Path) -> None:
    lines = (whole / "run" / "matches.jsonl").read_text().splitlines()
    games = [json.loads(line) for line in lines]
    questions = (whole / "run" / "questions.jsonl").read_text().splitlines()
    # Every question in both orders, and no money, no network, no language model.
    assert len(games) == 2 * len(questions) >= 40
    assert {game["judge"] for game in games} == {"reference"}
    assert sum(game["cost"] for game in games) == 0
    for model in ("demo-small", "demo-large"):
        answers = (whole / "run" / model / "answers.jsonl").read_text().splitlines()
        assert len(answers) == len(questions)
    board = read_board(whole / "run")
    assert len(board["pairs"]) == 1
    pair = board["pairs"][0]
    assert pair["wins_a"] + pair["wins_b"] + pair["ties"] == len(questions)
    assert pair["invalid"] == 0
    for model in board["models"]:
        low, high = model["judges"]["reference"]["ci"]
        assert low <= model["judges"]["reference"]["win_rate"] <= high
    assert board["judge_audit"]["reference"]["swap_agreement"] == 1


def test_the_demo_spends_nothing_although_a_key_is_set(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    flags = ("--output", str(tmp_path / "run"), "--store", str(tmp_path / "store.db"))
    assert run("--tasks", TASKS[0], "--limit", "2", "--progress", "none", *flags) == 0
    games = (tmp_path / "run" / "matches.jsonl").read_text()
    assert '"judge": "reference"' in games
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"sk-secret-of-a-test" not in file.read_bytes()


def test_no_judge_plays_no_games(tmp_path: Path) -> None:
    flags = ("--output", str(tmp_path / "run"), "--store", str(tmp_path / "store.db"))
    small = ("--tasks", TASKS[0], "--limit", "2", "--progress", "none", "--judge", "none")
    assert run(*small, *flags) == 0
    assert not (tmp_path / "run" / "matches.jsonl").exists()
    assert read_board(tmp_path / "run")["pairs"] == []


def start(place: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalsuite", "run", *SMALL, "--progress", "json", *flags]
    return subprocess.Popen(
        [*command, "--output", str(place / "run"), "--store", str(place / "store.db")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], event: str, times: int = 1) -> None:
    """Returns as soon as the run has told of an event so many times: of batches, "advance"."""
    assert process.stderr is not None
    for line in process.stderr:
        times -= line.startswith("{") and json.loads(line)["event"] == event
        if not times:
            return
    raise AssertionError(f"the run ended with {process.wait()}")


@dataclass(frozen=True)
class Broken:
    """A run that was interrupted and then killed; while it ran, a second one wanted its store."""

    place: Path
    process: int
    second: int
    second_said: str
    interrupted: int
    said: str
    between: str


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Broken:
    place = tmp_path_factory.mktemp("broken")
    process = start(place)
    try:
        wait_for(process, "start")
        process.send_signal(signal.SIGSTOP)  # until the second one has been refused
        refused = io.StringIO()
        with contextlib.redirect_stderr(refused):
            second = run(
                *SMALL, "--output", str(place / "other"), "--store", str(place / "store.db")
            )
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    killed = start(place)
    try:
        wait_for(killed, "advance", 2)
    finally:
        killed.kill()
    assert killed.stderr is not None
    killed.stderr.close()
    assert killed.wait() == -signal.SIGKILL
    status = read_manifest(place / "run")["status"]
    return Broken(place, process.pid, second, refused.getvalue(), process.returncode, said, status)


def test_a_killed_run_goes_on_and_repeats_only_what_was_in_flight(
    whole: Path, broken_off: Broken
) -> None:
    place = broken_off.place
    assert broken_off.between == "running"
    assert run(*SMALL, "--output", str(place / "run"), "--store", str(place / "store.db")) == 0
    assert not (place / "run-2").exists()
    assert read_board(place / "run") == read_board(whole / "run")

    db = sqlite3.connect(place / "store.db")
    counts = db.execute("SELECT begun, committed FROM batches").fetchall()
    db.close()
    assert all(committed == 1 for _, committed in counts)
    # An interruption and a kill: at most one batch in flight each.
    assert len(counts) <= sum(begun for begun, _ in counts) <= len(counts) + 2


def test_a_second_writer_is_told_so(broken_off: Broken) -> None:
    assert broken_off.second == 2
    assert f"in use by another run (process {broken_off.process})" in broken_off.second_said
    assert broken_off.second_said.count("\n") == 1
    assert not (broken_off.place / "other").exists()


def test_interrupting_is_said_and_resumable(broken_off: Broken) -> None:
    assert broken_off.interrupted == 130
    assert "the same command goes on" in broken_off.said
    assert "Traceback" not in broken_off.said


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Checkpoints that are wrong in one way each."""
    for name in ("no-config", "gpt", "short", "garbage", "no-tokenizer", "cut-tokenizer"):
        shutil.copytree(DEMO_FOLDER / "demo-small", tmp_path / name)
    (tmp_path / "no-config" / "config.json").unlink()
    config = json.loads((tmp_path / "gpt" / "config.json").read_text())
    config |= {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
    (tmp_path / "gpt" / "config.json").write_text(json.dumps(config))
    weights = tmp_path / "short" / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size // 2)
    (tmp_path / "garbage" / "config.json").write_text("{")
    (tmp_path / "no-tokenizer" / "tokenizer.json").unlink()
    tokenizer = tmp_path / "cut-tokenizer" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text()[:1000])
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models", "demo-smal"], "did you mean demo-small"),
        (["--models", "{broken}/no-config"], "no config.json"),
        (["--models", "{broken}/gpt"], "GPT2LMHeadModel"),
        (["--models", "{broken}/short"], "model.safetensors"),
        (["--models", "{broken}/garbage"], "config.json"),
        (["--models", "{broken}/no-tokenizer"], "tokenizer"),
        (["--models", "{broken}/cut-tokenizer"], "tokenizer.json is not whole JSON"),
        (["--models", "a/b={broken}/gpt"], "because of '/'"),
        (["--models", "manifest.json=demo-small"], "the run's own files"),
        (["--models", "{broken}/nowhere"], "no model folder"),
        (["--tasks", "starter_comonsense"], "starter_commonsense"),
        (["--tasks", "piqa", "--data-dir", "{broken}/nowhere"], "nowhere"),
        (["--tasks", "piqa", "--data-dir", "{broken}"], "baber/piqa"),
        (["--output", "{broken}/gpt/config.json"], "is a file"),
        (["--output", "{broken}/gpt/config.json/run"], "cannot make the output folder"),
        (["--limit", "-1"], "--limit must be 1 or more"),
        (["--store", "{broken}"], "is a folder"),
        (["--device", "tpu"], "tpu"),
        (["--judge", "gpt4"], "no judge 'gpt4'"),
        (["--judge", "gpt-4"], "needs an API key"),
        (["--judge", "openai:m@localhost:1"], "http"),
        (["--judge-questions", "{broken}/nowhere.jsonl"], "nowhere.jsonl"),
        (["--template", "vicunna"], "vicuna"),
        (["--models", "vicuna-13"], "vicuna-13b"),
        (["--models", "demo-small+{broken}/gpt"], "adapter_config.json"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_what_people_get_wrong_is_a_line_or_two_and_writes_nothing(
    broken: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    output, store = broken / "out", broken / "store.db"
    before = sorted(broken.rglob("*"))
    given = [flag.format(broken=broken) for flag in flags]
    if "--tasks" not in given:
        given += ["--tasks", *TASKS]
    for name, value in (("--output", output), ("--store", store)):
        if name not in given:
            given += [name, str(value)]
    code = main(["run", "--progress", "none", "--limit", "2", *given])
    shown = capsys.readouterr().err
    assert code == 2
    assert message in shown
    assert 1 <= shown.count("\n") <= 2
    left = [p for p in sorted(broken.rglob("*")) if p not in before and "store.db" not in p.name]
    assert left == []


def test_a_wrong_dtype_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--dtype", "float12")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_one_models_failure_leaves_the_others_their_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(DEMO_FOLDER / "demo-small", bad)
    # Whole and of the right form, so that only loading tells.
    (bad / "tokenizer.json").write_text('{"model": {"type": "Unheard"}}')
    code = run(
        *("--models", "demo-small", str(bad), "--tasks", TASKS[0], "--limit", "3"),
        *("--progress", "none", "--output", str(tmp_path / "run")),
        *("--store", str(tmp_path / "store.db")),
    )
    assert code == 4
    assert "failed: bad" in capsys.readouterr().err
    board = read_board(tmp_path / "run")
    assert [failure["model"] for failure in board["failed"]] == ["bad"]
    good = next(model for model in board["models"] if model["name"] == "demo-small")
    assert good["tasks"][TASKS[0]]["metrics"]


def test_a_plan_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = os.listdir(tmp_path)
    flags = ["--output", str(tmp_path / "run"), "--store", str(tmp_path / "store.db")]
    assert main(["plan", *SMALL, *flags]) == 0
    shown = capsys.readouterr().out
    assert "demo-small: " in shown
    assert "demo-large: " in shown
    assert "tokens to compute" in shown or "to compute, instead of" in shown
    assert os.listdir(tmp_path) == before


def test_a_plan_is_exact(whole: Path) -> None:
    from evalsuite.flags import make_config
    from evalsuite.plan import plan

    values = {"tasks": list(TASKS), "limit": 40, "progress": "none", "dtype": "float32"}
    usage = read_manifest(whole / "run")["usage"]
    for planned in plan(make_config(values)).models:
        done = usage[planned.model]
        assert planned.score_requests + planned.generate_requests == done["requests"]
        # Answers are planned at their longest.
        shorter = planned.most_new_tokens - done["new_tokens"]
        assert planned.distinct_tokens - shorter == done["distinct_tokens"]
        assert planned.total_tokens - shorter == done["total_tokens"]
