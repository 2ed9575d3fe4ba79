"""A side of a comparison: a run on disk or a baseline file, or several of them pooled.

Knows runs and baseline files; knows no tests. Pooled runs are averaged item by item: taking the
best of them would make every later run look like a drop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evalsuite.gate.baseline import read_baseline
from evalsuite.gate.differences import side_differences
from evalsuite.gate.kept import run_items
from evalsuite.gate.records import ModelSide, Side
from evalsuite.leaderboard import Run, load_run
from evalsuite.leaderboard.items import Items, judged_items
from evalsuite.records import UserError


class NotComparableError(Exception):
    """Runs of one side that are not runs of the same thing; `differences` say how."""

    def __init__(self, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        super().__init__("; ".join(self.differences))


def load_side(places: Sequence[Path]) -> Side:
    """One side out of run folders and baseline files.

    Raises:
        UserError: none, one named twice, or one that can't be read.
        NotComparableError: they measure different things.
    """
    if not places:
        raise UserError("name the folder of a run, or a baseline file")
    resolved = [Path(place).resolve() for place in places]
    for number, place in enumerate(resolved):
        if place in resolved[:number]:
            raise UserError(f"{places[number]}: named twice; name each run once")
    return pool([_load(Path(place)) for place in places])


def _load(place: Path) -> Side:
    return read_baseline(place) if place.is_file() else run_side(load_run(place))


def run_side(run: Run) -> Side:
    """A run on disk as a side.

    Raises:
        UserError: damaged samples or games.
    """
    games, found = judged_items(run), run_items(run)
    models = []
    for model in run.leaderboard.models:
        tasks: dict[str, Items] = {}
        untested: dict[str, str] = {}
        for task in model.tasks:
            items = found[model.name, task]
            if isinstance(items, str):
                untested[task] = items
            else:
                tasks[task] = items
        models.append(ModelSide(model.name, tasks, games.get(model.name, {}), untested))
    settings = {"lm-eval": str((run.manifest.get("versions") or {}).get("lm_eval", ""))}
    label = run.path.resolve().name
    return Side(label, tuple(models), settings, run.leaderboard.failed)


def pool(sides: Sequence[Side]) -> Side:
    """Sides of the same thing as one: each item's score is its mean over them.

    An item that an error took from some of them keeps the others' mean.

    Raises:
        NotComparableError: they measure different things.
    """
    first = sides[0]
    for other in sides[1:]:
        differences = side_differences(first, other, first.label, other.label)
        if differences:
            raise NotComparableError(differences)
    if len(sides) == 1:
        return first
    counts = [side.runs for side in sides]
    models = []
    for place, model in enumerate(first.models):
        others = [_same(side, model.name, place) for side in sides]
        tasks = {
            task: _pooled([other.tasks[task] for other in others], counts)
            for task in model.tasks
            if all(task in other.tasks for other in others)
        }
        games = {
            judge: {
                opponent: _pooled([other.games[judge][opponent] for other in others], counts)
                for opponent in opponents
                if all(opponent in other.games.get(judge, {}) for other in others)
            }
            for judge, opponents in model.games.items()
        }
        untested = {task: why for other in others for task, why in other.untested.items()}
        models.append(ModelSide(model.name, tasks, games, untested))
    failed = tuple(failure for side in sides for failure in side.failed)
    label = " + ".join(side.label for side in sides)
    return Side(label, tuple(models), first.settings, failed, sum(counts))


def _same(side: Side, name: str, place: int) -> ModelSide:
    found = {model.name: model for model in side.models}
    # Sides of one model each are of the same one whatever it was called.
    return found[name] if name in found else side.models[place]


def _pooled(parts: Sequence[Items], counts: Sequence[int]) -> Items:
    scores = np.array([part.scores for part in parts])  # [sides, n]
    known = ~np.isnan(scores) * np.array(counts, np.float64)[:, None]
    with np.errstate(invalid="ignore"):
        mean = (np.nan_to_num(scores) * known).sum(0) / known.sum(0)
    one = parts[0]
    return Items(one.keys, mean, one.groups, one.asked, one.unit, one.higher_is_better)


def settings_text(settings: Mapping[str, str]) -> str:
    """'lm-eval 0.4.13, judge reference': what a side was measured with."""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value)
