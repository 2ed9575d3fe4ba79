"""The story of a comparison: load both sides, look for differences, test, say what it comes to.

Knows the rest of the gate; knows no engine, no model and no page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from evalsuite.gate.differences import missing, model_pairs, side_differences
from evalsuite.gate.escape import one_line
from evalsuite.gate.records import (
    EXIT_FINE,
    EXIT_NOT_COMPARABLE,
    EXIT_NOT_SHOWN,
    EXIT_PART_FAILED,
    EXIT_REGRESSED,
    NOT_SHOWN,
    REGRESSED,
    UNSEEN,
    GateResult,
    Side,
    Verdict,
)
from evalsuite.gate.sides import NotComparableError, load_side
from evalsuite.gate.verdicts import ORDER, judge_model
from evalsuite.records import UserError


def compare_runs(
    baseline: Sequence[Path],
    run: Sequence[Path],
    *,
    margin: float = 1.0,
    critical: Sequence[str] = (),
    strict: bool = False,
) -> GateResult:
    """Whether the runs are worse than the baselines, several of a side pooled.

    Sides that can't be compared come back with their `differences`, no verdict and exit code 2.

    Raises:
        UserError: something can't be read, a margin that is none, an unknown critical task.
    """
    try:
        before = load_side(baseline)
        after = load_side(run)
    except NotComparableError as error:
        first, second = (" + ".join(Path(p).resolve().name for p in s) for s in (baseline, run))
        return _refused(first, second, error.differences, margin, critical, strict)
    return compare_sides(before, after, margin=margin, critical=critical, strict=strict)


def compare_sides(
    before: Side,
    after: Side,
    *,
    margin: float = 1.0,
    critical: Sequence[str] = (),
    strict: bool = False,
) -> GateResult:
    """compare_runs for sides that are loaded.

    Raises:
        UserError: a margin below 0 or no number, a critical task that no side has.
    """
    check_margin(margin)
    differences = side_differences(before, after)
    pairs = model_pairs(before, after)
    check_critical(before, critical)
    failed = list(missing(before, after))
    if not pairs and not differences:
        if not failed:
            differences.append("neither side has a model")
    elif not differences and not any(b.tasks or b.games or b.untested for b, _ in pairs):
        differences.append("the baseline has no task with items")
    if differences:
        return _refused(before.label, after.label, differences, margin, critical, strict)
    models = tuple(
        judge_model(b, a, margin=margin, critical=critical, families=len(pairs)) for b, a in pairs
    )
    failed += [
        f"{', '.join(part for part in (f.model, f.task, f.stage) if part)}: {f.error}"
        for f in after.failed
    ]
    worst: Verdict = max((m.verdict for m in models), key=ORDER.index, default=UNSEEN)
    lost = sum(line.lost for model in models for line in model.lines)
    return GateResult(
        baseline=before.label,
        run=after.label,
        verdict=worst,
        exit_code=_exit_code(worst, bool(failed), strict),
        models=models,
        differences=(),
        failed=tuple(dict.fromkeys(failed)),
        lost=lost,
        notes=tuple(_notes(before, after, lost)),
        margin=margin,
        critical=tuple(critical),
        strict=strict,
        runs=(before.runs, after.runs),
    )


def check_margin(margin: float) -> None:
    """Raises UserError unless `margin` is a drop in points that makes sense."""
    if not 0 <= margin < 100 or not math.isfinite(margin):
        raise UserError(f"--margin takes points from 0 to 100, not {margin}")


def _exit_code(verdict: Verdict, failed: bool, strict: bool) -> int:
    if verdict == REGRESSED:
        return EXIT_REGRESSED
    if failed:
        return EXIT_PART_FAILED
    return EXIT_NOT_SHOWN if strict and verdict in (NOT_SHOWN, UNSEEN) else EXIT_FINE


def check_critical(before: Side, critical: Sequence[str]) -> None:
    """Raises UserError unless the baseline has every critical task."""
    known = {
        name for model in before.models for name in (*model.tasks, *model.untested, *model.games)
    }
    unknown = [name for name in critical if name not in known]
    if unknown:
        raise UserError(
            # One line: a task's name must not end up as a command in a CI's log.
            f"--critical {one_line(unknown[0], 100)}: the baseline has no such task; "
            f"it has {one_line(', '.join(sorted(known)), 2000) or 'none'}"
        )


def _notes(before: Side, after: Side, lost: int) -> list[str]:
    notes = []
    for old, new in model_pairs(before, after):
        if old.name != new.name:
            notes.append(f"{new.name} is compared with {old.name}.")
        more = [t for t in (*new.tasks, *new.untested) if t not in {**old.tasks, **old.untested}]
        more += [f"judge {judge}" for judge in new.games if judge not in old.games]
        if more:
            notes.append(f"{new.name}: no baseline for {', '.join(more)}, so not compared.")
        for judge, opponents in old.games.items():
            if judge in new.games and not set(opponents) & set(new.games[judge]):
                notes.append(
                    f"{new.name}: the games of judge {judge} are not compared: "
                    "no opponent with the same weights played on both sides."
                )
    known = {model.name for pair in model_pairs(before, after) for model in pair}
    others = [model.name for model in after.models if model.name not in known]
    if others:
        notes.append(f"Models without a baseline are not compared: {', '.join(others)}.")
    if before.failed:
        notes.append(f"Parts of the baseline failed when it was measured: {len(before.failed)}.")
    if lost:
        notes.append(f"Items that an error took from either side are left out: {lost:,}.")
    return notes


def _refused(
    baseline: str,
    run: str,
    differences: Sequence[str],
    margin: float,
    critical: Sequence[str],
    strict: bool,
) -> GateResult:
    return GateResult(
        baseline=baseline,
        run=run,
        verdict=None,
        exit_code=EXIT_NOT_COMPARABLE,
        models=(),
        differences=tuple(differences),
        failed=(),
        lost=0,
        notes=(),
        margin=margin,
        critical=tuple(critical),
        strict=strict,
    )
