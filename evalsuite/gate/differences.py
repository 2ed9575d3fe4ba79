"""Why two sides can't be compared: every difference in words, for a person to mend.

Knows the gate's records; knows no files and no tests. What differs on purpose, the model, its
weights, its precision, is no difference here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evalsuite.gate.records import ModelSide, Side
from evalsuite.leaderboard.items import NOT_A_MEAN, Items

Pairs = tuple[tuple[ModelSide, ModelSide], ...]

_DIGESTS = {
    "prompts": "other prompts",
    "targets": "other targets",
    "decoding": "other decoding settings",
}


def model_pairs(baseline: Side, run: Side) -> Pairs:
    """The models to compare: the only ones of both sides, else those of the same name."""
    if len(baseline.models) == len(run.models) == 1:
        return ((baseline.models[0], run.models[0]),)
    found = {model.name: model for model in run.models}
    return tuple((model, found[model.name]) for model in baseline.models if model.name in found)


def side_differences(
    baseline: Side, run: Side, first: str = "the baseline", second: str = "the run"
) -> list[str]:
    """What keeps the sides from being compared, one sentence each; [] when nothing does.

    What is missing from `run` because it failed there is no difference: it is counted apart.
    """
    found = [
        f"{name}: {value} in {first}, {run.settings[name]} in {second}"
        for name, value in baseline.settings.items()
        if value and run.settings.get(name) and value != run.settings[name]
    ]
    pairs = model_pairs(baseline, run)
    paired = {before.name for before, _ in pairs}
    for model in baseline.models:
        if model.name not in paired and not has_failed(run, model.name):
            found.append(
                f"{model.name}: a model of {first} that {second} does not have ({_named(run)}; "
                "--models NAME=MODEL gives a model the name it had)"
            )
    unjudged = any(f.stage == "judge" for f in (*baseline.failed, *run.failed))
    ours = dict.fromkeys(judge for before, _ in pairs for judge in before.games)
    theirs = dict.fromkeys(judge for _, after in pairs for judge in after.games)
    gone = [judge for judge in ours if judge not in theirs]
    # A judge more than the baseline has is no obstacle; one that an error took is counted apart.
    excused = unjudged or any(not f.task for f in run.failed)
    if gone and not (excused and theirs.keys() <= ours.keys()):
        found.append(
            f"judge: {', '.join(gone)} in {first}, {', '.join(theirs) or 'no games'} in {second}"
        )
    by_task: dict[str, list[str]] = {}  # the same difference in several models is said once
    for before, after in pairs:
        for task, items in before.tasks.items():
            if task in after.tasks:
                said = items_differences(items, after.tasks[task], first, second)
            elif has_failed(run, after.name, task):
                said = []
            elif task not in after.untested:
                said = [f"measured in {first} only"]
            elif after.untested[task].endswith(NOT_A_MEAN):
                said = []
            else:
                said = [f"compared item by item in {first}, but {after.untested[task]} in {second}"]
            for one in said:
                by_task.setdefault(f"{task}: {one}", []).append(after.name)
        for judge, opponents in before.games.items():
            for opponent, items in opponents.items():
                if opponent in after.games.get(judge, {}):
                    other = after.games[judge][opponent]
                    said = items_differences(items, other, first, second, "questions")
                    if unjudged:  # games that an error or a budget left over are no difference
                        said = [one for one in said if not one.startswith("other questions")]
                    for one in said:
                        by_task.setdefault(f"judge {judge}: {one}", []).append(after.name)
    return [*found, *by_task]


def items_differences(
    before: Items, after: Items, first: str, second: str, what: str = "items"
) -> list[str]:
    """What differs in how a task was measured."""
    found = []
    if (before.unit, before.higher_is_better) != (after.unit, after.higher_is_better):
        found.append(f"unit: {_unit(before)} in {first}, {_unit(after)} in {second}")
    left = np.setdiff1d(before.keys, after.keys, assume_unique=True).size
    right = np.setdiff1d(after.keys, before.keys, assume_unique=True).size
    if left or right:
        found.append(f"other {what}: {left:,} only in {first}, {right:,} only in {second}")
    for name, value in before.asked.items():
        other = after.asked.get(name, "")
        if value == other or not (value and other):
            continue
        if name not in _DIGESTS:
            found.append(f"{name}: {value} in {first}, {other} in {second}")
        elif not left and not right:  # digests are over all items: other items, other digests
            found.append(_DIGESTS[name])
    return found


def _unit(items: Items) -> str:
    return f"{items.unit} ({'higher' if items.higher_is_better else 'lower'} is better)"


def _named(side: Side) -> str:
    return f"it has {', '.join(model.name for model in side.models) or 'none'}"


def has_failed(side: Side, model: str, task: str = "") -> bool:
    """Whether a side says that a model, or this task of it, failed there."""
    return any(
        f.model in (model, "") and f.task in (task, "") and (f.task or f.stage != "judge")
        for f in side.failed
    )


def missing(baseline: Side, run: Side) -> Mapping[str, None]:
    """What the baseline has and the run lacks because it failed there, in words."""
    found: dict[str, None] = {}
    pairs = model_pairs(baseline, run)
    paired = {before.name for before, _ in pairs}
    for model in baseline.models:
        if model.name not in paired:
            found[f"{model.name}: the model failed in the run"] = None
    for before, after in pairs:
        for task in before.tasks:
            if task not in after.tasks and task not in after.untested:
                found[f"{after.name}, {task}: failed in the run"] = None
    return found
