"""Out of a run's gate.json, the words and numbers that the page's section of it shows.

Knows that file's form; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.leaderboard import Run
from evalsuite.records import UserError
from evalsuite.report.view import GateRow, GateView


def gate_view(run: Run) -> GateView | None:
    """The gate's section; None when the run was not compared with a baseline.

    Raises:
        UserError: gate.json is damaged.
    """
    said = run.gate()
    if not said:
        return None
    try:
        headline = str(said["headline"])
        return GateView(
            headline[:1].upper() + headline[1:],
            level(said),
            str(said["verdict"] or "can’t be compared"),
            _worst(said),
            tuple(map(str, said["differences"])),
            tuple(_table(model) for model in said["models"]),
            (*(f"Failed: {part}" for part in said["failed"]), *map(str, said["notes"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run.path / "gate.json"
        raise UserError(
            f"{path}: damaged ({error!r}); compare again, or remove the file"
        ) from error


def _worst(said: Mapping[str, Any]) -> str:
    """'demo-small: starter_qa −5.2': the tasks that have regressed; '' without any."""
    found = [
        f"{model['name']}: {line['name']} {_number(line['difference'], sign='+')}"
        for model in said["models"]
        for line in (*([model["mean"]] if model["mean"] else ()), *model["lines"])
        if line["verdict"] == "regressed"
    ]
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return ", ".join(found[:2]) + more


def level(said: Mapping[str, Any]) -> str:
    """How a comparison came out: "bad", "good" or "open", for its colour."""
    if said.get("verdict") == "regressed":
        return "bad"
    good = said.get("verdict") == "no drop beyond the margin" and not said.get("failed")
    return "good" if good else "open"


def _table(model: Mapping[str, Any]) -> tuple[str, tuple[GateRow, ...]]:
    lines = [*([model["mean"]] if model["mean"] else ()), *model["lines"]]
    return f"{model['name']}: {model['verdict']}", tuple(_row(line) for line in lines)


def _row(line: Mapping[str, Any]) -> GateRow:
    name = f"judge {line['name']}" if line["kind"] == "judge" else str(line["name"])
    verdict = f"{line['verdict']} ({line['reason']})" if line["reason"] else str(line["verdict"])
    cells = (
        _number(line["baseline"]),
        _number(line["run"]),
        _number(line["difference"], sign="+"),
        _number(line["lower"], sign="+"),
        _number(line["visible_drop"]),
        f"{line['items']:,}",
    )
    return GateRow(
        f"{name} (critical)" if line["critical"] else name,
        verdict,
        line["verdict"] == "regressed",
        cells,
    )


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.1f}".replace("-", "−")
