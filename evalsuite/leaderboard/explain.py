"""Says in words what a leaderboard doesn't show: which numbers are missing, and why.

Knows the records only. Nothing is stored: the sentences follow from the leaderboard itself, so the
terminal, the manifest and the report can't disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evalsuite.leaderboard.aggregate import capability_tasks, enters_a_mean
from evalsuite.leaderboard.doubts import doubts
from evalsuite.leaderboard.wording import listing
from evalsuite.records import Leaderboard, ModelScore

_LEAST_AGREEMENT = (
    0.5  # of verdicts in both orders; below it, the place counts for more than content
)
_LENGTH = 0.9  # of games won by the longer answer
_FEW_ANSWERS = 10  # that may well have got the same score


def explain(leaderboard: Leaderboard, capability_of: Mapping[str, str]) -> tuple[str, ...]:
    """Why capabilities, overall scores and ranks are null; nothing to say gives no sentences.

    `capability_of` names the capability of each task, as TaskInfo does.
    """
    models = leaderboard.models
    measured = dict.fromkeys(task for model in models for task in model.tasks)
    groups = capability_tasks({task: capability_of.get(task, "other") for task in measured})
    notes: list[str] = []
    for capability, tasks in groups.items():
        for task in tasks:
            reason = _not_a_share(models, task)
            if reason:
                notes.append(
                    f"{capability} has no score: the main metric of {task}, {reason}. Overall is "
                    f"the mean of the other capabilities."
                )
    alone = [m.name for m in models if measured and not m.tasks and m.judges]
    if alone:
        were = "was judged only, so it has" if len(alone) == 1 else "were judged only, so they have"
        notes.append(f"{listing(alone)} {were} no place in the order.")
    for model in models:
        missing = [task for task in measured if task not in model.tasks]
        if not model.tasks and model.judges:
            continue  # told above; or a run of judged games only
        if not model.tasks:
            notes.append(f"{model.name} has no result at all, so it has no place in the order.")
        elif missing:
            lost = [c for c, tasks in groups.items() if any(task in missing for task in tasks)]
            notes.append(
                f"{model.name} has no result for {listing(missing)}, which other models have: "
                f"its score for {listing(lost)} and its overall score are left out, "
                "and it has no rank."
            )
    absent = sorted({f.task for f in leaderboard.failed if f.task} - set(measured))
    if absent and measured:
        notes.append(
            f"No model has a result for {listing(absent)}: the scores are over the other tasks."
        )
    if any(model.overall.value is not None and model.rank is None for model in models):
        notes.append("Nothing is known of the spread of some task's metric, so there are no ranks.")
    return (*doubts(leaderboard), *notes)


def _not_a_share(models: Sequence[ModelScore], task: str) -> str | None:
    for model in models:
        if task not in model.tasks:
            continue
        score = model.tasks[task]
        metric = score.metrics.get(score.primary)
        if metric is None:
            return f"{score.primary}, was not measured for {model.name}"
        if not enters_a_mean(metric.unit, metric.higher_is_better):
            better = "" if metric.higher_is_better else " and is better when lower"
            kind = "a share" if metric.unit == "share" else f"in {metric.unit}, not a share of 1"
            return f"{score.primary}, is {kind}{better}"
        if not math.isfinite(metric.value):
            return f"{score.primary}, is not a number for {model.name}"
    return None
