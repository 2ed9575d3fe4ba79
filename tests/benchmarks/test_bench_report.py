"""The report's benchmark at a small size: real files, a real build in its own process."""

from __future__ import annotations

from pathlib import Path

import report

from evalsuite.leaderboard import load_run


def test_a_small_run_is_built_and_measured(tmp_path: Path) -> None:
    size = report.Size(models=2, tasks=3, items=6, letters=900)
    report.make_run(tmp_path, size)
    run = load_run(tmp_path)
    assert [model.name for model in run.leaderboard.models] == ["model-0", "model-1"]
    for task in ("task_0", "task_1"):
        samples = list(run.samples("model-1", task))
        assert len(samples) == 6
        assert len(samples[0]["arguments"]["gen_args_0"]["arg_0"]) == 600
    figures = report.build(tmp_path)
    assert figures["page MB"] * 1e6 == (tmp_path / "report.html").stat().st_size
    assert figures["parts beside"] == 0
    assert 50 < figures["peak MB"] < 2000
    assert 0 < figures["build s"] < 60
