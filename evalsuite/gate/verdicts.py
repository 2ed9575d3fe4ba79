"""Two sides in, verdicts out: every task, judge and mean paired item by item and tested.

Knows the gate's records and stats; knows no files. What a verdict means is decided here alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evalsuite.gate.records import (
    HELD,
    NOT_SHOWN,
    REGRESSED,
    UNSEEN,
    Line,
    ModelGate,
    ModelSide,
    Verdict,
)
from evalsuite.leaderboard.items import Items
from evalsuite.stats.paired import EXACT_BELOW, Floats, PairedMeans, paired_difference
from evalsuite.stats.regression import Regression, find_regressions

# From the best to the worst: a model is as good as the worst of what it is held to.
ORDER: tuple[Verdict, ...] = (HELD, NOT_SHOWN, UNSEEN, REGRESSED)
_POINTS = 100.0
CRITICAL_SHARE = 0.5  # of the tasks' 4 %, for the critical ones where some are named


@dataclass(frozen=True, slots=True)
class _Pair:
    """A task's two measurements on the items that both have. `line` is what is known so far."""

    line: Line
    means: PairedMeans
    scale: float


def judge_model(
    before: ModelSide,
    after: ModelSide,
    *,
    margin: float,
    critical: Sequence[str] = (),
    families: int = 1,
) -> ModelGate:
    """The verdicts on one model; `margin` in points, `families` how many models are compared.

    A regression of the mean or of any task is one of the model. Otherwise the model's verdict is
    the mean's, or the worst of a critical task's.
    """
    found: list[_Pair | Line] = []
    for task, items in before.tasks.items():
        if task in after.tasks:
            found.append(_pair(task, "task", items, after.tasks[task], task in critical))
    for judge, opponents in before.games.items():
        joined = _joined(opponents, after.games.get(judge, {}))
        if joined is not None:
            found.append(_pair(judge, "judge", *joined, judge in critical))
    pairs = [one for one in found if isinstance(one, _Pair)]
    without = [one for one in found if isinstance(one, Line)]
    for task, why in {**before.untested, **after.untested}.items():
        if task in {**before.tasks, **before.untested}:
            line = Line(task, "task", UNSEEN, critical=task in critical, reason=why)
            without.append(line)
    mean: Line | None = None
    lines: list[Line] = []
    if pairs:
        tested = _tested(pairs, margin, families)
        lines = [_line(pair, tested, i, margin) for i, pair in enumerate(pairs)]
        mean = _mean_line(pairs, tested, margin)
    lines += without
    held_to = [line.verdict for line in lines if line.critical]
    held_to.append(mean.verdict if mean is not None else UNSEEN)
    held_to += [line.verdict for line in lines if line.verdict == REGRESSED]
    verdict = max(held_to, key=ORDER.index)
    return ModelGate(after.name, before.name, verdict, mean, tuple(lines))


def _pair(
    name: str, kind: Literal["task", "judge"], before: Items, after: Items, critical: bool
) -> _Pair | Line:
    """Both sides are over the same keys, sorted: that was made sure of before."""
    known = ~(np.isnan(before.scores) | np.isnan(after.scores))
    lost = int((~known).sum())
    n = int(known.sum())
    scale = _POINTS if before.unit == "share" else 1.0
    line = Line(
        name,
        kind,
        UNSEEN,
        unit="points" if before.unit == "share" else before.unit,
        items=n,
        lost=lost,
        critical=critical,
    )
    if n == 0:
        return replace(line, reason="no item has a result on both sides")
    old, new = before.scores[known], after.scores[known]
    differences = new - old if before.higher_is_better else old - new
    groups = None if before.groups is None else before.groups[known]
    if groups is not None and np.unique(groups).size == n:
        groups = None
    means = paired_difference(differences, groups)
    changed = int((differences > 0).sum()), int((differences < 0).sum())
    exact = groups is None and sum(changed) < EXACT_BELOW and np.isin(differences, (-1, 0, 1)).all()
    line = replace(
        line,
        groups=None if groups is None else int(np.unique(groups).size),
        baseline=_number(old.mean() * scale),
        run=_number(new.mean() * scale),
        difference=_number(means.mean * scale),
        stderr=_number(means.careful * scale),
        p=_number(means.p_drop),
        changed=changed,
        test="McNemar's mid-p"
        if exact
        else "paired t"
        if groups is None
        else "paired t, cluster-robust",
    )
    return _Pair(line, means, scale)


def _joined(before: Mapping[str, Items], after: Mapping[str, Items]) -> tuple[Items, Items] | None:
    """One judge's games against the opponents of both sides, grouped by question."""
    shared = [name for name in before if name in after]
    if not shared:
        return None
    # Games that an error left over on one side are missing from both.
    common = {
        name: np.intersect1d(before[name].keys, after[name].keys, assume_unique=True)
        for name in shared
    }
    keys = np.concatenate(list(common.values()))
    groups = np.unique(keys, return_inverse=True)[1].ravel()
    old, new = (
        np.concatenate([side[n].scores[np.isin(side[n].keys, its)] for n, its in common.items()])
        for side in (before, after)
    )
    return Items(keys, old, groups, {}), Items(keys, new, groups, {})


def _tested(pairs: Sequence[_Pair], margin: float, families: int) -> Regression:
    shares = np.array([pair.scale == _POINTS for pair in pairs])
    in_mean = shares & np.array([pair.line.kind == "task" for pair in pairs])
    critical = np.array([pair.line.critical for pair in pairs])
    weights = np.ones(len(pairs))
    if critical.any() and not critical.all():
        weights[critical] = CRITICAL_SHARE / critical.sum()
        weights[~critical] = (1 - CRITICAL_SHARE) / (~critical).sum()
    return find_regressions(
        PairedMeans.stack([pair.means for pair in pairs]),
        np.where(shares, margin / _POINTS, np.nan),
        in_mean=in_mean,
        weights=weights,
        families=families,
    )


def _line(pair: _Pair, tested: Regression, i: int, margin: float) -> Line:
    visible = _number(tested.visible[i] * pair.scale)
    if pair.scale == _POINTS and visible is not None:
        visible = min(visible, _POINTS)
    return replace(
        pair.line,
        verdict=_verdict(
            bool(tested.regressed[i]), bool(tested.within[i]), visible, margin, pair.scale
        ),
        lower=_number(tested.lower[i] * pair.scale),
        visible_drop=visible,
        p_adjusted=_number(tested.p_adjusted[i]),
    )


def _mean_line(pairs: Sequence[_Pair], tested: Regression, margin: float) -> Line | None:
    lines = [p.line for p in pairs if p.line.kind == "task" and p.scale == _POINTS]
    if not lines:
        return None
    visible = _number(tested.mean_visible * _POINTS)
    visible = None if visible is None else min(visible, _POINTS)
    verdict = _verdict(
        bool(tested.mean_regressed), bool(tested.mean_within), visible, margin, _POINTS
    )
    return Line(
        name="mean over tasks",
        kind="mean",
        verdict=verdict,
        items=sum(line.items for line in lines),
        groups=len(lines),
        baseline=math.fsum(line.baseline or 0.0 for line in lines) / len(lines),
        run=math.fsum(line.run or 0.0 for line in lines) / len(lines),
        difference=_number(tested.mean * _POINTS),
        stderr=_number(tested.mean_stderr * _POINTS),
        lower=_number(tested.mean_lower * _POINTS),
        visible_drop=visible,
        p=_number(tested.mean_p),
        p_adjusted=_number(tested.mean_p),
        test="paired t",
        lost=sum(line.lost for line in lines),
    )


def _verdict(
    regressed: bool, within: bool, visible: float | None, margin: float, scale: float
) -> Verdict:
    if regressed:
        return REGRESSED
    if within:
        return HELD
    if scale == _POINTS and (visible is None or visible > margin):
        return UNSEEN
    return NOT_SHOWN


def _number(value: float | Floats) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
