"""Runs on disk for the gate's tests: made by the same writers as the report's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from synthetic import TASKS, make_run

MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model on six tasks of 600 items: as it is, again, and with a much lower skill."""
    place = tmp_path_factory.mktemp("gate")
    return {
        name: make_run(place / name, [("llama", skill)], TASKS, 600)
        for name, skill in (("before", 0.7), ("same", 0.7), ("worse", 0.5))
    }


@pytest.fixture
def small_run(tmp_path: Path) -> MakeRun:
    """Makes a run of one model on two tasks of 60 items below `tmp_path`."""

    def make(name: str, **more: Any) -> Path:
        models = more.pop("models", [("llama", 0.7)])
        tasks = more.pop("tasks", (TASKS[0], TASKS[3]))
        return make_run(tmp_path / name, models, tasks, more.pop("items", 60), **more)

    return make
