"""The same things that the commands do, as functions: typed, raising UserError, printing nothing.

A thin face over pipeline and leaderboard; decides nothing of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from evalsuite.flags import make_config
from evalsuite.gate import GateResult, compare_runs, write_outputs
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


def compare(
    baseline: str | PathLike[str] | Sequence[str | PathLike[str]],
    run: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    output: str | PathLike[str] | None = None,
    margin: float = 1.0,
    critical: Sequence[str] = (),
    strict: bool = False,
) -> GateResult:
    """Whether a run is worse than its baseline: each a run's folder, a baseline file, or several.

        result = compare("baseline.json", "reports/today", critical=["gsm8k"])
        result.verdict, result.exit_code

    Several runs of a side are pooled. Runs that can't be compared come back with their
    `differences` and no verdict. With `output` gate.json, junit.xml and summary.md are written
    there, and the report gets its section when that is the run's own folder.

    Raises:
        UserError: as the command.
    """
    sides = [_paths(side) for side in (baseline, run)]
    result = compare_runs(*sides, margin=margin, critical=critical, strict=strict)
    if output is None:
        return result
    folder = Path(output)
    if folder.is_file():
        # A baseline file may stand for the run as well: then there is no folder of its own.
        raise UserError(f"{folder} is a file; name a folder for the outcome with --output")
    write_outputs(result, folder)
    if folder.resolve() in {place.resolve() for place in sides[1]}:
        from evalsuite.report import refresh_history, update_gate

        update_gate(folder)
        if problem := refresh_history(folder):
            warnings.warn(problem, stacklevel=2)
    return result


def _paths(side: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    return [Path(p) for p in ([side] if isinstance(side, str | PathLike) else side)]


def load_run(folder: str | PathLike[str]) -> Run:
    """A finished run on disk: its leaderboard, manifest, samples and games.

    Raises:
        UserError: the folder holds no finished run.
    """
    return _load_run(Path(folder))
