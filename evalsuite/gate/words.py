"""A comparison in words: one sentence for the whole, one for each line that needs one.

Knows the gate's records; knows no output. The terminal, GitHub's annotations, JUnit and the summary
all say the same sentences, each escaping them for itself.
"""

from __future__ import annotations

from evalsuite.gate.records import HELD, REGRESSED, UNSEEN, GateResult, Line, ModelGate


def headline(result: GateResult) -> str:
    """What the comparison comes to, in one sentence."""
    if result.verdict is None:
        return f"the run {result.run} can't be compared with {result.baseline}."
    if result.verdict == REGRESSED:
        said = f"the run {result.run} has regressed against {result.baseline}"
    elif result.verdict == HELD:
        said = (
            f"the run {result.run} shows no drop beyond {_points(result.margin)} against "
            f"{result.baseline}"
        )
    elif result.verdict == UNSEEN:
        said = (
            f"a drop of {_points(result.margin)} from {result.baseline} to {result.run} could not "
            "have been seen with these items"
        )
    else:
        said = (
            f"neither a drop from {result.baseline} to {result.run} nor that there is none beyond "
            f"{_points(result.margin)} is shown"
        )
    return said + ("; a part of the run failed." if result.failed else ".")


def sentence(line: Line) -> str:
    """A line's numbers: '61.3 → 56.1 (−5.2 points, not below −7.0; p 0.0001, 1,319 items)'."""
    if line.difference is None or line.baseline is None or line.run is None:
        return line.reason or "no numbers"
    unit = "points" if line.unit == "points" else line.unit
    parts = [f"p {p_value(line.p_adjusted)}"]
    if line.kind == "mean":
        parts.append(f"{line.groups} {'task' if line.groups == 1 else 'tasks'}")
    else:
        parts.append(f"{line.items:,} {'item' if line.items == 1 else 'items'}")
    if line.verdict == UNSEEN and line.visible_drop is not None:
        parts.append(f"smallest visible drop {line.visible_drop:.1f} {unit}")
    bound = "" if line.lower is None else f", not below {signed(line.lower)}"
    return (
        f"{line.baseline:.1f} → {line.run:.1f} ({signed(line.difference)} {unit}{bound}; "
        f"{', '.join(parts)})"
    )


def regressions(result: GateResult) -> list[tuple[ModelGate, Line]]:
    """Every line that has regressed: the mean first, then critical tasks, the surest first."""
    found = [
        (model, line)
        for model in result.models
        for line in (*([model.mean] if model.mean else ()), *model.lines)
        if line.verdict == REGRESSED
    ]
    found.sort(key=lambda one: (one[1].kind != "mean", not one[1].critical, one[1].p_adjusted or 0))
    return found


def signed(value: float) -> str:
    """A difference with its sign, a true minus sign for drops."""
    return f"{value:+.1f}".replace("-", "−")


def _points(margin: float) -> str:
    return f"{margin:g} {'point' if margin == 1 else 'points'}"


def p_value(value: float | None) -> str:
    """A p value to four places."""
    if value is None:
        return "unknown"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
