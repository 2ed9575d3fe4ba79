"""What a comparison takes and what it says: the records of the gate.

Knows the items of leaderboard/items.py; knows no files and no tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evalsuite.leaderboard.items import Items
from evalsuite.records import Failure

Verdict = Literal["regressed", "no drop beyond the margin", "not shown", "could not have been seen"]
REGRESSED: Verdict = "regressed"
HELD: Verdict = "no drop beyond the margin"
NOT_SHOWN: Verdict = "not shown"
UNSEEN: Verdict = "could not have been seen"

EXIT_FINE, EXIT_REGRESSED, EXIT_NOT_COMPARABLE, EXIT_NOT_SHOWN, EXIT_PART_FAILED = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class ModelSide:
    """One model of a side. `games` is {judge: {opponent: items}}; `untested` {task: why}."""

    name: str
    tasks: Mapping[str, Items]
    games: Mapping[str, Mapping[str, Items]] = field(default_factory=dict)
    untested: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """A baseline or a run, several runs pooled into one. `settings` have to be equal to compare."""

    label: str
    models: tuple[ModelSide, ...]
    settings: Mapping[str, str]
    failed: tuple[Failure, ...] = ()
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    """What one task, judge or mean shows. Numbers are in `unit`: points (hundredths) for shares.

    `difference` is run minus baseline with the sign that makes a drop negative, `stderr` its
    standard error with one more item for the better and one for the worse, `lower` its one-sided
    95 % bound, `visible_drop` what would have been found in 80 % of such runs. `p` is one-sided,
    `p_adjusted` by Holm. `changed` counts items that got better and worse, `lost` items that an
    error took from either side. `reason` says why there are no numbers.
    """

    name: str
    kind: Literal["task", "judge", "mean"]
    verdict: Verdict
    unit: str = "points"
    items: int = 0
    groups: int | None = None
    baseline: float | None = None
    run: float | None = None
    difference: float | None = None
    stderr: float | None = None
    lower: float | None = None
    visible_drop: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    changed: tuple[int, int] | None = None
    test: str = ""
    lost: int = 0
    critical: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelGate:
    """One model's verdicts: `mean` over its tasks, and each task and judge."""

    name: str
    baseline: str
    verdict: Verdict
    mean: Line | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class GateResult:
    """The whole comparison. `verdict` is None when `differences` forbid one.

    `failed` names the parts that are missing on account of an error, `lost` counts items that an
    error took. `exit_code` is the command's.
    """

    baseline: str
    run: str
    verdict: Verdict | None
    exit_code: int
    models: tuple[ModelGate, ...]
    differences: tuple[str, ...]
    failed: tuple[str, ...]
    lost: int
    notes: tuple[str, ...]
    margin: float
    critical: tuple[str, ...]
    strict: bool
    runs: tuple[int, int] = (1, 1)
