"""The gate: is a run worse than its baseline? Compares runs on disk; knows no models or engines."""

from evalsuite.gate.baseline import read_baseline, write_baseline
from evalsuite.gate.compare import check_critical, check_margin, compare_runs, compare_sides
from evalsuite.gate.kept import keep_items
from evalsuite.gate.outputs import (
    append_step_summary,
    remove_outputs,
    terminal_lines,
    write_outputs,
)
from evalsuite.gate.records import GateResult, Line, ModelGate, ModelSide, Side
from evalsuite.gate.sides import NotComparableError, load_side, pool, run_side

__all__ = [
    "GateResult",
    "Line",
    "ModelGate",
    "ModelSide",
    "NotComparableError",
    "Side",
    "append_step_summary",
    "check_critical",
    "check_margin",
    "compare_runs",
    "compare_sides",
    "keep_items",
    "load_side",
    "pool",
    "read_baseline",
    "remove_outputs",
    "run_side",
    "terminal_lines",
    "write_baseline",
    "write_outputs",
]
