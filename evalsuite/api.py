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
from evalsuite.records import UserError


def evaluate(models: str | Sequence[str] | None = None, **flags: Any) -> Run:
    """Evaluates models and returns the finished run; `flags` are those of `evalsuite run`.

    Without `models` it is the embedded demo pair.

        run = evaluate(["./my-finetune", "vicuna-7b"], tasks=["core"], limit=100)
        run.leaderboard.models[0].overall

    Flags have the command's names with `_` for `-` and its defaults, but for `progress`, which is
    "none" here. What failed for a part of the run is in `leaderboard.failed`.

    Raises:
        UserError: as the command; an empty list of models.
    """
    from evalsuite.pipeline import run

    given = {"progress": "none", **flags}
    if models is not None:
        given["models"] = [models] if isinstance(models, str) else list(models)
        if not given["models"]:
            # A search that found nothing must not come back as a leaderboard of toys.
            raise UserError("evaluate: the list of models is empty")
    config = make_config(given, "evaluate")
    return load_run(run(config).folder)


def load_run(folder: str | PathLike[str]) -> Run:
    """A finished run on disk: its leaderboard, manifest, samples and games.

    Raises:
        UserError: the folder holds no finished run.
    """
    return _load_run(Path(folder))
