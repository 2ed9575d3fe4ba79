"""The same things that the commands do, as functions: typed, raising UserError, printing nothing.

A thin face over pipeline and leaderboard; decides nothing of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from evalsuite.config import make_config
from evalsuite.leaderboard import Run
from evalsuite.leaderboard import load_run as _load_run


def evaluate(models: str | Sequence[str] = (), **flags: Any) -> Run:
    """Evaluates models and returns the finished run; `flags` are those of `evalsuite run`.

        run = evaluate(["./my-finetune", "vicuna-7b"], tasks=["core"], limit=100)
        run.leaderboard.models[0].overall

    Flags have the command's names with `_` for `-` and its defaults, but for `progress`, which is
    "none" here. What failed for a part of the run is in `leaderboard.failed`.

    Raises:
        UserError: as the command, with exit_code 2.
    """
    from evalsuite.pipeline import run

    given = {"progress": "none", **flags}
    named = [models] if isinstance(models, str) else list(models)
    config = make_config({"models": named, **given}, "evaluate")
    return load_run(run(config).folder)


def load_run(folder: str | PathLike[str]) -> Run:
    """A finished run on disk: its leaderboard, manifest, samples and games.

    Raises:
        UserError: the folder holds no finished run.
    """
    return _load_run(Path(folder))
