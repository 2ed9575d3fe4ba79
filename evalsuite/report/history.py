"""Writes index.html of a folder of runs: what was run, newest first, and how numbers developed.

Knows the leaderboards and manifests of runs on disk, never their samples; a run that can't be read
is listed with the reason and costs no other its place. Writes over no page but its own.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalsuite.files import write_atomically
from evalsuite.leaderboard import Run, load_run
from evalsuite.records import Leaderboard, UserError
from evalsuite.report import words
from evalsuite.report.gate import level
from evalsuite.report.html import policy, style, template
from evalsuite.report.judge_words import short
from evalsuite.report.trends import Trend, sparkline, trends
from evalsuite.report.view import Score

INDEX = "index.html"
# Stands at the head of a page of ours: without it index.html is somebody else's.
MARK = '<meta name="generator" content="evalsuite history">'
DEFAULT_FOLDER = "reports"
_MOST_NAMED = 4  # models of a run in its row


@dataclass(frozen=True, slots=True)
class Entry:
    """A run's row. `scores` are (model, overall), the best first; `link` is "" without a report."""

    name: str
    link: str
    when: str
    status: str
    level: str  # of the status: "good", "bad" or "open"
    scores: tuple[tuple[str, Score], ...]
    more: int  # models that are not named
    tasks: int
    gate: str
    gate_level: str
    gate_title: str
    judged: str = ""  # what `scores` are where no task was measured


@dataclass(frozen=True, slots=True)
class Line:
    """A trend ready to be shown."""

    trend: Trend
    score: Score
    change: str
    label: str
    broken: str


@dataclass(frozen=True, slots=True)
class History:
    title: str
    entries: tuple[Entry, ...]
    unreadable: tuple[tuple[str, str], ...]  # a folder and why
    models: tuple[tuple[str, tuple[Line, ...]], ...]
    alone: tuple[str, ...]  # models of one run only: no line yet


def write_history(folder: Path) -> Path:
    """Writes `folder`/index.html out of the runs in it and returns its path.

    Raises:
        UserError: no such folder, no run in it, an index.html that is not ours, a place that can't
            be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a folder that holds runs")
    path = folder / INDEX
    if path.exists() and not _is_ours(path):
        raise UserError(
            f"{path} was not written by evalsuite and is left alone; move it away for a history"
        )
    history = read_history(folder)
    if not history.entries and not history.unreadable:
        raise UserError(f"{folder}: holds no run; name the folder that the runs' folders lie in")
    look, digest = style("report.css", "history.css")
    text = template("history.html.jinja").render(
        history=history, policy=policy(digest), style=look, sparkline=sparkline
    )
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from error
    return path


def refresh_history(run: Path) -> str:
    """After a run: its folder's parent gets its history where it is a place for one.

    That is a folder called reports, or one that has a history already. Returns what went wrong in
    words, '' when nothing did: a run is not lost over its place in a list.
    """
    folder = run.resolve().parent
    if folder.name != DEFAULT_FOLDER and not _is_ours(folder / INDEX):
        return ""
    if (folder / INDEX).exists() and not _is_ours(folder / INDEX):
        return ""  # somebody's own page
    try:
        write_history(folder)
    except UserError as error:
        return f"the list of runs is not up to date: {error}"
    return ""


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(4_000)
    except OSError:
        return False


def read_history(folder: Path) -> History:
    """All runs in a folder, newest first. Of each its leaderboard, manifest and gate are read."""
    runs: list[Run] = []
    unreadable: list[tuple[str, str]] = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or not any(
            (path / name).exists() for name in ("leaderboard.json", "manifest.json")
        ):
            continue
        try:
            run = load_run(path)
            _entry(run)  # whatever is damaged shows here, and costs this run alone
            trends([run])
        except UserError as error:
            unreadable.append(
                (path.name, str(error).removeprefix(f"{path}: ").replace(f"{path}", path.name))
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            unreadable.append((path.name, f"its manifest is damaged ({error!r})"))
        else:
            runs.append(run)
    runs.sort(key=lambda run: (_moment(run), run.path.name))
    found = {
        model: tuple(_line(trend) for trend in its)
        for model, its in trends(runs).items()
        if any(len(trend.points) > 1 for trend in its)
    }
    named = dict.fromkeys(m.name for run in reversed(runs) for m in run.leaderboard.models)
    return History(
        title=folder.resolve().name,
        entries=tuple(_entry(run) for run in reversed(runs)),
        unreadable=tuple(unreadable),
        models=tuple((name, found[name]) for name in named if name in found),
        alone=tuple(name for name in named if name not in found),
    )


def _moment(run: Run) -> str:
    """When a run was begun, to sort by; one that doesn't say so is the oldest."""
    try:
        return datetime.fromisoformat(str(run.manifest.get("created"))).isoformat()
    except ValueError:
        return ""


def _entry(run: Run) -> Entry:
    board, name = run.leaderboard, run.path.resolve().name
    status = str(run.manifest.get("status") or "unknown")
    failed = len(board.failed)
    said = run.gate()
    verdict = said.get("verdict")
    tasks = len({task for model in board.models for task in model.tasks})
    scores = [(m.name, _score(m.overall)) for m in board.models]
    judged = ""
    if not tasks:
        judged, scores = _judged(board) or (judged, scores)
    return Entry(
        name=name,
        link=f"{quote(name)}/report.html" if (run.path / "report.html").is_file() else "",
        when=words.day(run.manifest.get("created")),
        status=f"{words.plural(failed, 'part')} failed" if failed else status,
        level="bad" if failed else "good" if status == "finished" else "open",
        scores=tuple(scores[:_MOST_NAMED]),
        more=max(0, len(scores) - _MOST_NAMED),
        tasks=tasks,
        judged=judged,
        gate="" if not said else str(verdict) if verdict else "not comparable",
        gate_level=level(said) if said else "",
        gate_title=str(said.get("headline", "")),
    )


def _judged(board: Leaderboard) -> tuple[str, list[tuple[str, Score]]] | None:
    """Of a run without tasks what its numbers are, and the models' by the judge that met most."""
    judges = Counter(judge for model in board.models for judge in model.judges)
    if not judges:
        return None
    judge = judges.most_common(1)[0][0]
    its = {model.name: model.judges[judge] for model in board.models if judge in model.judges}
    # As on the report's first screen: two models have win rates, more have ratings.
    kinds = (
        ("rating", "rating", "rating", "rating_ci"),
        ("wins, %", "share", "win_rate", "ci"),
    )
    asked = kinds if len(its) > 2 else kinds[1:]
    known = [kind for kind in asked if any(one.get(kind[2]) is not None for one in its.values())]
    if known:
        said, unit, value, interval = known[0]
        numbers = {name: (one.get(value), one.get(interval)) for name, one in its.items()}
    else:
        said, unit = "mean score", "score"
        marks = {name: one.get("score") or {} for name, one in its.items()}
        numbers = {name: (mark.get("value"), mark.get("ci")) for name, mark in marks.items()}
    found = [(name, _number(*both, unit)) for name, both in numbers.items()]
    found.sort(key=lambda pair: math.inf if pair[1].value is None else -pair[1].value)
    return f"{said}, judge {short(judge)}", found


def _number(value: float | None, ci: Any, unit: str) -> Score:
    bounds = None if ci is None else (ci[0], ci[1])
    return Score(value, bounds, words.number(value, unit, sign=False), words.interval(bounds, unit))


def _score(estimate: Any) -> Score:
    value, ci = estimate.value, estimate.ci
    return Score(value, ci, words.number(value, sign=False), words.interval(ci))


def _line(trend: Trend) -> Line:
    last = trend.last
    score = Score(
        last.value,
        last.ci,
        words.number(last.value, trend.unit, sign=False),
        words.interval(last.ci, trend.unit),
    )
    many = words.plural(len(trend.points), "run")
    values = [words.number(p.value, trend.unit, sign=False) for p in trend.since[-8:]]
    earlier = len(trend.since) - len(values)
    before = f"{words.plural(earlier, 'earlier run')}, then " if earlier else ""
    label = f"{trend.name} over {many}; asked the same: {before}{', '.join(values)}"
    broken = next((p for p in reversed(trend.points) if p.broken), None)
    why = f"asked otherwise since {broken.run}: {broken.broken}" if broken else ""
    return Line(trend, score, trend.change_text(), label, why)
