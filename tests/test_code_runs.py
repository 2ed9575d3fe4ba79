"""Whole runs with a task that runs programs: the sandbox, the store, runs without either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.config import RunConfig
from evalsuite.preparation import named_by
from evalsuite.records import Failure
from evalsuite.sandbox import Sandbox, probe

SAMPLES = 3


def write_task(folder: Path, samples: int = SAMPLES) -> Path:
    """A task that every program passes: what the demo models write stands in a string."""
    rows = [{"prompt": f"x = {n}\ny = r'''", "want": f"assert x == {n}", "n": n} for n in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "close.py").write_text(
        "def programs(resps, docs):\n"
        "    closed = lambda text: text.replace(\"'\", '') + \" '''\"\n"
        "    return [[doc['prompt'] + closed(r) for r in its] for its, doc in zip(resps, docs)]\n"
    )
    path = folder / "own_code.yaml"
    path.write_text(
        "task: own_code\ndataset_path: json\ndataset_kwargs:\n  data_files: {test: rows.jsonl}\n"
        "test_split: test\nunsafe_code: true\noutput_type: generate_until\n"
        "doc_to_text: 'The answer is'\ndoc_to_target: '{{want}}'\n"
        "generation_kwargs: {until: ['\\n'], max_gen_toks: 6, do_sample: true, temperature: 1.0}\n"
        f"repeats: {samples}\n"
        "metric_list:\n  - metric: !function lm_eval.tasks.humaneval.utils.pass_at_k\n"
        "    aggregation: mean\n    higher_is_better: true\n    k: [1, 2]\n"
        "filter_list:\n  - name: programs\n    filter:\n      - function: custom\n"
        "        filter_fn: !function close.programs\n"
        "metadata: {version: 1, primary: 'pass@1,programs', capability: code}\n"
    )
    return path


def run(place: Path, *flags: str, tasks: Sequence[str], output: str = "run") -> int:
    where = ("--output", str(place / output), "--store", str(place / "store.db"))
    quiet = ("--progress", "none", "--judge", "none")
    return main(["run", "--models", "demo-small", "--tasks", *tasks, *quiet, *where, *flags])


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def samples_of(folder: Path) -> list[dict[str, Any]]:
    file = next((folder / "demo-small").glob("samples_own_code_*.jsonl"))
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_in_the_sandbox_and_one_with_more_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = probe().mode
    if mode == "none":
        pytest.skip("no sandbox on this machine")
    ran: list[int] = []
    real = Sandbox.run_many

    def counted(self: Sandbox, cases: Any, workers: int | None = None) -> Any:
        its = list(cases)
        ran.append(len(its))
        return real(self, its, workers)

    monkeypatch.setattr(Sandbox, "run_many", counted)
    path = write_task(tmp_path)
    assert run(tmp_path, tasks=[str(path)]) == 0
    first = tmp_path / "run"
    assert read(first, "manifest.json")["code_execution"]["mode"] == mode
    board = read(first, "leaderboard.json")
    assert board["run"]["code_execution"] == mode
    task = board["models"][0]["tasks"]["own_code"]
    assert task["metrics"]["pass@1,programs"]["value"] == 1.0
    assert set(task["metrics"]) == {"pass@1,programs", "pass@2,programs"}
    few = samples_of(first)
    assert {p["status"] for sample in few for p in sample["programs"]} == {"passed"}
    results = next((first / "demo-small").glob("results_*.json"))
    assert json.loads(results.read_text())["config"]["code_execution"] == mode

    write_task(tmp_path, samples=SAMPLES + 2)
    assert run(tmp_path, tasks=[str(path)], output="more") == 0
    many = samples_of(tmp_path / "more")
    for a, b in zip(few, many, strict=True):
        assert b["resps"][0][:SAMPLES] == a["resps"][0]
        assert b["seeds"][0][:SAMPLES] == a["seeds"][0]
    distinct = len({text for sample in many for text in sample["filtered_resps"][0]})
    assert ran[0] + ran[1] <= 4 * (SAMPLES + 2)
    assert ran[1] <= 4 * 2, "programs of the first run are in the store"
    usage = read(tmp_path / "more", "manifest.json")["usage"]["demo-small"]
    assert usage["from_store"] > 0
    assert distinct > 4


def test_without_a_sandbox_a_named_task_is_skipped_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalsuite.sandbox.sandbox.MODES", ())  # as where none of them works
    path = str(write_task(tmp_path))
    code = run(tmp_path, "--limit", "2", tasks=["starter_qa", path])
    assert code == 4
    board = read(tmp_path / "run", "leaderboard.json")
    assert set(board["models"][0]["tasks"]) == {"starter_qa"}
    assert [f["task"] for f in board["failed"]] == ["own_code"]
    assert "--unsafe-code-execution" in board["failed"][0]["error"]
    assert "own_code could not be prepared" in (tmp_path / "run" / "report.html").read_text()

    assert run(tmp_path, tasks=[path], output="alone") == 4
    assert "own_code is skipped" in capsys.readouterr().err
    assert not (tmp_path / "alone").exists()


def test_what_a_suite_brought_is_only_said() -> None:
    skipped = [Failure("", name, "plan", "…") for name in ("humaneval", "mbpp", "own")]
    config = RunConfig(tasks=("core", "lm-eval:mbpp"))
    assert [failure.task for failure in named_by(config, skipped)] == ["mbpp"]


def test_a_bare_run_stamps_every_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalsuite.sandbox.sandbox.MODES", ())
    path = str(write_task(tmp_path))
    assert run(tmp_path, "--unsafe-code-execution", tasks=[path]) == 0
    folder = tmp_path / "run"
    assert read(folder, "leaderboard.json")["run"]["code_execution"] == "unsafe"
    assert read(folder, "manifest.json")["code_execution"]["mode"] == "unsafe"
    assert {sample["code_execution"] for sample in samples_of(folder)} == {"unsafe"}
    results = next((folder / "demo-small").glob("results_*.json"))
    assert json.loads(results.read_text())["config"]["code_execution"] == "unsafe"
    assert "were run without a sandbox" in (folder / "report.html").read_text()
