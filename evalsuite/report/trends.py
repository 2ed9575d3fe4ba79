"""What a number did from run to run: series of one model, cut where it was asked something else.

Pure functions of leaderboards and manifests already read; draws a series as inline SVG. Knows no
file and no page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evalsuite.leaderboard import Run, capability_tasks
from evalsuite.records import ModelScore
from evalsuite.report import words

WIDTH, HEIGHT, EDGE = 220, 44, 5

Asked = Mapping[str, str]  # what a number depends on besides the model, in words


@dataclass(frozen=True, slots=True)
class Point:
    """A run's number; `asked` says what it was measured on, `broken` what changed before it."""

    run: str
    when: str
    value: float
    ci: tuple[float, float] | None
    asked: Asked
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Trend:
    """One number of one model, oldest run first. `kind` is overall, capability or task."""

    name: str
    kind: str
    unit: str
    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def since(self) -> tuple[Point, ...]:
        """The points that were asked the same as the last one, up to it."""
        start = max((i for i, point in enumerate(self.points) if point.broken), default=0)
        return self.points[start:]

    @property
    def change(self) -> float | None:
        """From the run before that was asked the same to the last one; None without such a run."""
        same = self.since
        return same[-1].value - same[-2].value if len(same) > 1 else None

    def change_text(self) -> str:
        """'+1.3': in points for a share, in the unit otherwise."""
        if self.change is None:
            return words.MISSING
        value = f"{100 * self.change:+.1f}" if self.unit == "share" else f"{self.change:+.4g}"
        return value.replace("-", "−")


def trends(runs: Sequence[Run]) -> dict[str, tuple[Trend, ...]]:
    """Each model's trends by its name, of runs in their order of time; overall comes first."""
    found: dict[str, dict[tuple[str, str, str], list[Point]]] = {}
    for run in runs:
        for model in run.leaderboard.models:
            series = found.setdefault(model.name, {})
            for key, value, ci, asked in _numbers(run, model):
                points = series.setdefault(key, [])
                point = Point(
                    run.path.resolve().name,
                    str(run.manifest.get("created") or ""),
                    value,
                    ci,
                    asked,
                    changed(points[-1].asked, asked) if points else "",
                )
                points.append(point)
    order = {"overall": 0, "capability": 1, "task": 2}
    return {
        model: tuple(
            Trend(name, kind, unit, tuple(points))
            for (kind, name, unit), points in sorted(series.items(), key=lambda s: order[s[0][0]])
        )
        for model, series in found.items()
    }


def _numbers(
    run: Run, model: ModelScore
) -> Iterator[tuple[tuple[str, str, str], float, tuple[float, float] | None, Asked]]:
    infos = run.manifest.get("tasks") or {}
    asked = {task: asked_of(run, model, task) for task in model.tasks}
    groups = capability_tasks(
        {task: str((infos.get(task) or {}).get("capability", "other")) for task in asked}
    )
    if model.overall.value is not None:
        key = ("overall", "Overall", "share")
        yield key, model.overall.value, model.overall.ci, _joined(asked)
    for capability, estimate in model.capabilities.items():
        if estimate.value is not None:
            its = {task: asked[task] for task in groups.get(capability, ())}
            key = ("capability", words.title(capability), "share")
            yield key, estimate.value, estimate.ci, _joined(its)
    for task, score in model.tasks.items():
        metric = score.metrics.get(score.primary)
        if metric is not None:
            yield ("task", task, metric.unit), metric.value, metric.ci, asked[task]


def asked_of(run: Run, model: ModelScore, task: str) -> Asked:
    """What a task's number depends on besides the model, as far as a manifest tells it.

    It is what the gate refuses to compare, without a look at each item: the number of items stands
    for which ones they are.
    """
    info = (run.manifest.get("tasks") or {}).get(task) or {}
    measured = run.manifest.get("measured") or {}
    score = model.tasks[task]
    metric = score.metrics.get(score.primary)
    return {
        "metric": score.primary,
        "version": str(info.get("version", "")),
        "examples": str(info.get("num_fewshot", "")),
        "data": str(info.get("source") or ""),
        "items": str(metric.n + score.errors if metric else 0),
        "lm-eval": str((run.manifest.get("versions") or {}).get("lm_eval", "")),
        "chat": str(measured.get("chat") or ""),
    }


def _joined(asked: Mapping[str, Asked]) -> Asked:
    """What a mean over tasks depends on: which they are, and all that each depends on."""
    return {
        "tasks": ", ".join(sorted(asked)),
        **{f"{task}: {name}": value for task, its in asked.items() for name, value in its.items()},
    }


def changed(before: Asked, after: Asked) -> str:
    """What of it changed, in words; '' when nothing did. What one side lacks is no change."""
    if before.get("tasks") != after.get("tasks"):
        old = set(before.get("tasks", "").split(", "))
        new = set(after.get("tasks", "").split(", "))
        parts = [("with", new - old), ("without", old - new)]
        return " and ".join(f"{word} {_few(sorted(its))}" for word, its in parts if its)
    found = [
        f"{name} {before[name]} → {value}"
        for name, value in after.items()
        if name in before and before[name] != value and before[name] and value
    ]
    return _few(found)


def _few(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:3])} and {more} more"


# ---- drawing ------------------------------------------------------------------------------------


def sparkline(trend: Trend, label: str) -> Markup:
    """A line a stretch of runs that were asked the same, its interval a band; dashes between them.

    Its height is the series' own range, 2 points at least for a share; `label` is what a screen
    reader says.
    """
    points = trend.points
    bounds = [bound for p in points for bound in (p.value, *(p.ci or ()))]
    low, high = min(bounds), max(bounds)
    room = max(high - low, 0.02 if trend.unit == "share" else abs(high) * 0.02, 1e-12)
    middle = (low + high) / 2
    step = (WIDTH - 2 * EDGE) / max(len(points) - 1, 1)

    def x(i: int) -> str:
        return f"{EDGE + i * step:.4g}"

    def y(value: float) -> str:
        return f"{HEIGHT / 2 - (value - middle) / room * (HEIGHT - 2 * EDGE):.4g}"

    starts = [i for i, point in enumerate(points) if i == 0 or point.broken]
    parts: list[Markup] = []
    for start, stop in zip(starts, [*starts[1:], len(points)], strict=True):
        places = range(start, stop)
        known = [(i, ci) for i in places if (ci := points[i].ci) is not None]
        if len(known) > 1:
            top = [f"{x(i)},{y(ci[1])}" for i, ci in known]
            under = [f"{x(i)},{y(ci[0])}" for i, ci in reversed(known)]
            parts.append(
                Markup('<polygon class="band" points="{}"/>').format(" ".join(top + under))
            )
        elif known:
            ((i, ci),) = known
            parts.append(
                Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                    x(i), y(ci[0]), y(ci[1])
                )
            )
        line = " ".join(f"{x(i)},{y(points[i].value)}" for i in places)
        parts.append(Markup('<polyline class="trend" points="{}"/>').format(line))
        if start:
            at = f"{EDGE + (start - 0.5) * step:.4g}"
            parts.append(
                Markup('<line class="break" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(at, HEIGHT)
            )
    last = len(points) - 1
    parts.append(
        Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>').format(x(last), y(points[-1].value))
    )
    return Markup(
        '<svg class="spark" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup("").join(parts))
