"""leaderboard.json and leaderboard.csv as values: from records to JSON and back, and to a table.

Knows the records, the contract's keys and pandas; opens no file. The same leaderboard always gives
the same text: keys in a fixed order, floats as Python writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evalsuite.records import (
    Estimate,
    Failure,
    Leaderboard,
    MetricScore,
    ModelScore,
    PaperValue,
    TaskScore,
)

# ---- leaderboard.json ---------------------------------------------------------------------------


def to_json(board: Leaderboard) -> dict[str, Any]:
    """What leaderboard.json holds; numbers that are not finite are null."""
    return {
        "schema": board.schema,
        "models": [
            {
                "name": model.name,
                "rank": None if model.rank is None else list(model.rank),
                "overall": _estimate(model.overall),
                "capabilities": {c: _estimate(e) for c, e in model.capabilities.items()},
                "tasks": {name: _task(task) for name, task in model.tasks.items()},
                "judges": dict(model.judges),
            }
            for model in board.models
        ],
        "pairs": [dict(pair) for pair in board.pairs],
        "judge_audit": dict(board.judge_audit),
        "failed": [
            {"model": f.model, "task": f.task, "stage": f.stage, "error": f.error}
            for f in board.failed
        ],
        "run": {
            "times": dict(board.times),
            **({"code_execution": board.code_execution} if board.code_execution else {}),
        },
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": _finite(estimate.value), "ci": _ci(estimate.ci)}


def _task(task: TaskScore) -> dict[str, Any]:
    metrics = {
        name: {
            "value": _finite(metric.value),
            "ci": _ci(metric.ci),
            "n": metric.n,
            "stderr": _finite(metric.stderr),
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
        }
        for name, metric in task.metrics.items()
    }
    return {
        "primary": task.primary,
        "metrics": metrics,
        "truncated": task.truncated,
        "errors": task.errors,
        **({} if task.paper is None else {"paper": asdict(task.paper)}),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: both are null there."""
    return None if value is None or not math.isfinite(value) else float(value)


def _ci(ci: tuple[float, float] | None) -> list[float] | None:
    return None if ci is None else [float(ci[0]), float(ci[1])]


# ---- leaderboard.csv ----------------------------------------------------------------------------


def to_csv(board: Leaderboard) -> str:
    """One row a model, task and metric, a model and capability, a model's overall; two to four a
    judge.

    A name that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    rows: list[dict[str, Any]] = []
    for model in board.models:
        low, high = model.rank or (None, None)
        rank = {"rank_low": low, "rank_high": high}
        whole = {"metric": "mean", "unit": "share", "higher_is_better": True}
        name = _as_text(model.name)
        rows.append({"model": name, "level": "overall", "name": "overall"} | whole | rank)
        rows[-1] |= _bounds(model.overall.value, model.overall.ci)
        for capability, estimate in model.capabilities.items():
            row = {"model": name, "level": "capability", "name": _as_text(capability)} | whole
            rows.append(row | _bounds(estimate.value, estimate.ci))
        for task, score in model.tasks.items():
            for metric, its in score.metrics.items():
                row = {
                    "model": name,
                    "level": "task",
                    "name": _as_text(task),
                    "metric": _as_text(metric),
                    "primary": metric == score.primary,
                    "n": its.n,
                    "stderr": _finite(its.stderr),
                    "unit": _as_text(its.unit),
                    "higher_is_better": its.higher_is_better,
                    "truncated": score.truncated,
                    "errors": score.errors,
                }
                rows.append(row | _bounds(its.value, its.ci))
        for judge, said in model.judges.items():
            rows += _judge_rows(name, judge, said)
    # Here, since it would be a third of the time that a command takes to begin.
    import pandas as pd

    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
    return str(table.to_csv(index=False, lineterminator="\n"))


def _judge_rows(model: str, judge: str, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A judge's win rate and rating of a model; `n` counts games, ranks are the rating's.

    Where there are such, a row more for the win rate at equal length and for the mean score of
    answers judged alone (`n` counts these).
    """
    low, high = said.get("rank") or (None, None)
    row = {"model": model, "level": "judge", "name": _as_text(judge), "higher_is_better": True}
    row |= {"n": said.get("games")}
    rating = {"metric": "rating", "unit": "Elo", "rank_low": low, "rank_high": high}
    rows = [
        row
        | {"metric": "win_rate", "unit": "share", "stderr": _finite(said.get("stderr"))}
        | _bounds(said.get("win_rate"), said.get("ci")),
        row | rating | _bounds(said.get("rating"), said.get("rating_ci")),
    ]
    if controlled := said.get("length_controlled"):
        rows.append(
            row
            | {"metric": "win_rate_length_controlled", "unit": "share"}
            | _bounds(controlled["win_rate"], controlled["ci"])
        )
    if score := said.get("score"):
        rows.append(
            row
            | {"metric": "score", "unit": "score", "n": score["n"]}
            | _bounds(score["value"], score["ci"])
        )
    return rows


_COLUMNS = [
    *("model", "level", "name", "metric", "primary", "value", "ci_low", "ci_high", "n", "stderr"),
    *("unit", "higher_is_better", "rank_low", "rank_high", "truncated", "errors"),
]


def _bounds(value: float | None, ci: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = ci or (None, None)
    return {"value": _finite(value), "ci_low": low, "ci_high": high}


def _as_text(name: str) -> str:
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else name


def from_json(data: Mapping[str, Any]) -> Leaderboard:
    """The records again; a value that is null becomes NaN.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the data are no leaderboard.
    """
    return Leaderboard(
        models=tuple(
            ModelScore(
                name=model["name"],
                rank=_pair(model["rank"], int),
                overall=_read_estimate(model["overall"]),
                capabilities={c: _read_estimate(e) for c, e in model["capabilities"].items()},
                tasks={name: _read_task(task) for name, task in model["tasks"].items()},
                judges=model.get("judges", {}),
            )
            for model in data["models"]
        ),
        failed=tuple(
            Failure(f["model"], f["task"], f["stage"], f["error"]) for f in data["failed"]
        ),
        pairs=tuple(data.get("pairs", ())),
        judge_audit=data.get("judge_audit", {}),
        times=data.get("run", {}).get("times", {}),
        code_execution=data.get("run", {}).get("code_execution"),
        schema=data["schema"],
    )


def _read_estimate(data: Mapping[str, Any]) -> Estimate:
    return Estimate(data["value"], _pair(data["ci"], float))


def _read_task(data: Mapping[str, Any]) -> TaskScore:
    metrics = {
        name: MetricScore(
            value=math.nan if m["value"] is None else m["value"],
            ci=_pair(m["ci"], float),
            n=m["n"],
            stderr=m["stderr"],
            unit=m["unit"],
            higher_is_better=m["higher_is_better"],
        )
        for name, m in data["metrics"].items()
    }
    paper = PaperValue(**data["paper"]) if data.get("paper") else None
    return TaskScore(data["primary"], metrics, data["truncated"], data["errors"], paper)


def _pair(data: Any, kind: type) -> Any:
    if data is None:
        return None
    low, high = data
    return kind(low), kind(high)
