"""The last step of a run that is told a baseline: the baseline read first, the verdict last.

Knows the flags and the gate; knows no model and no task.
"""

from __future__ import annotations

from pathlib import Path

from evalsuite.config import RunConfig
from evalsuite.gate import (
    GateResult,
    NotComparableError,
    Side,
    check_critical,
    check_margin,
    compare_sides,
    load_side,
    remove_outputs,
    run_side,
    write_outputs,
)
from evalsuite.leaderboard import load_run
from evalsuite.records import UserError


def load_baseline(config: RunConfig) -> Side | None:
    """What the run will be compared with, read before anything long begins; None without.

    Raises:
        UserError: a baseline that can't be read or pooled, flags that don't go with it.
    """
    if not config.baseline:
        if config.strict or config.critical:
            raise UserError("--strict and --critical are for comparing: name a --baseline too")
        return None
    check_margin(config.margin)
    try:
        side = load_side([Path(place).expanduser() for place in config.baseline])
    except NotComparableError as error:
        raise UserError(f"--baseline: its runs can't be pooled: {error}") from error
    check_critical(side, config.critical)
    return side


def gate_run(config: RunConfig, baseline: Side | None, folder: Path) -> GateResult | None:
    """The finished run against its baseline, if any; what it says lies in the run's folder.

    Raises:
        UserError: the files can't be written.
    """
    remove_outputs(folder)  # of a comparison before the run was gone on with
    if baseline is None:
        return None
    result = compare_sides(
        baseline,
        run_side(load_run(folder)),
        margin=config.margin,
        critical=config.critical,
        strict=config.strict,
    )
    write_outputs(result, folder)
    return result
