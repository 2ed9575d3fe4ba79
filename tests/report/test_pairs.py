"""Two models against each other, by task and overall: against scipy and the leaderboard itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic import TASKS, make_run

from evalsuite.leaderboard import capability_tasks, load_run
from evalsuite.leaderboard.items import task_items
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.report.pairs import compare_models


def compared(*places: Path) -> tuple[list[str], list[str], dict[str, object]]:
    runs = [load_run(place) for place in places]
    board, origins = merge_runs(runs)
    groups = capability_tasks({task[0]: task[1] for task in TASKS})
    tasks = [task for members in groups.values() for task in members]
    found = compare_models(board, origins, groups, tasks)
    assert found is not None
    return [model.name for model in board.models], tasks, dict(found)


def test_differences_are_those_of_the_items(pair_run: Path) -> None:
    names, tasks, found = compared(pair_run)
    assert names == ["demo-large", "demo-small"]
    pair = found["pairs"]["0/1"]
    run = load_run(pair_run)
    models = {model.name: model for model in run.leaderboard.models}
    raw = []
    for number, task in enumerate(tasks):
        n, one, two, difference, low, high, p, better, worse, asked = pair["tasks"][number]
        a, b = (task_items(run, name, task, models[name].tasks[task]).scores for name in names)
        assert (n, asked) == (a.size, "")
        assert one == pytest.approx(a.mean())
        assert two == pytest.approx(b.mean())
        assert difference == pytest.approx((a - b).mean(), abs=1e-6)
        oracle = stats.ttest_rel(a, b)
        bounds = oracle.confidence_interval(0.95)
        assert low == pytest.approx(bounds.low, abs=0.005)
        assert high == pytest.approx(bounds.high, abs=0.005)
        assert (better, worse) == ((a > b).sum(), (a < b).sum())
        raw.append(oracle.pvalue)
    assert max(line[6] for line in pair["tasks"].values()) >= max(raw) * 0.99
    assert all(pair["tasks"][i][6] >= p * 0.9 for i, p in enumerate(raw))  # Holm only raises them
    difference, low, high, p = pair["overall"]
    overall = [models[name].overall.value for name in names]
    assert difference == pytest.approx(overall[0] - overall[1], abs=1e-6)
    assert low < difference < high
    assert p < 0.0001


def test_what_cannot_be_paired_is_said(pair_run: Path, tmp_path: Path) -> None:
    """Another seed makes other questions; a task of one run only has no partner."""
    other = make_run(tmp_path / "other", [("far", 0.6)], TASKS[:2], 30, seed=11)
    names, tasks, found = compared(pair_run, other)
    a, b = sorted([names.index("far"), names.index("demo-large")])
    pair = found["pairs"][f"{a}/{b}"]
    assert pair["overall"] is None
    assert pair["tasks"] == {}
    assert pair["without"][tasks.index("piqa")] == "no item has a result of both"
    assert pair["without"][tasks.index("gsm8k")] == "measured for one of the two only"


def test_prompts_that_differ_are_named(tmp_path: Path) -> None:
    def longer(model: str, task: str, line: dict[str, object]) -> dict[str, object]:
        return line | {"prompt_hash": "other"} if model == "b" else line

    run = make_run(tmp_path / "run", [("a", 0.9), ("b", 0.4)], TASKS[3:4], 20, change=longer)
    names, _, found = compared(run)
    assert names == ["a", "b"]
    (line,) = found["pairs"]["0/1"]["tasks"].values()
    assert line[-1] == "other prompts"
    assert np.isclose(line[3], line[1] - line[2])


def test_one_model_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", [("a", 0.9)], TASKS[:1], 5))
    board, origins = merge_runs([run])
    assert compare_models(board, origins, {"commonsense": ["piqa"]}, ["piqa"]) is None
