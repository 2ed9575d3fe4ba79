"""Charts as inline SVG: dot and whisker on a scale (0 to 100 % or any other), a bar of a share.

Numbers in, markup out. Knows no record and no page. Places are percentages of the drawing's width,
so a chart fits a phone and a poster without distorting its dots. Colours come from classes: the
stylesheet gives them for light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_HEIGHT = 28


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, with a grid line at each of `ticks`; `unit` is what a tick counts."""

    low: float
    high: float
    ticks: tuple[float, ...]
    unit: float = 1.0

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """A scale with at most six round ticks that holds all `values` (one at least)."""
        low, high = min(values), max(values)
        rough = max((high - low) / 4, 1.0)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
        first, last = math.floor(low / step), math.ceil(high / step)
        last = max(last, first + 1)
        return cls(first * step, last * step, tuple(i * step for i in range(first, last + 1)))

    def at(self, value: float) -> str:
        """Where a value stands, in percent of the width; what lies outside stands at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


SHARE = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), unit=0.01)


def whisker(
    value: float | None,
    ci: tuple[float, float] | None,
    *,
    label: str,
    leads: bool = False,
    chance: float | None = None,
    scale: Scale = SHARE,
) -> Markup:
    """A dot at `value` with its interval `ci` (shares of 1), and a tick where guessing would be.

    `label` is what a screen reader says. Without a value the scale stands empty.
    """
    middle = _HEIGHT / 2
    at = scale.at
    parts = [_line("grid", at(x), 4, at(x), _HEIGHT - 4) for x in scale.ticks]
    if chance is not None:
        parts.append(_line("chance", at(chance), 3, at(chance), _HEIGHT - 3))
    if value is not None:
        if ci is not None:
            low, high = ci
            parts.append(_line("whisker", at(low), middle, at(high), middle))
            for end in (low, high):
                parts.append(_line("whisker", at(end), middle - 5, at(end), middle + 5))
        parts.append(
            Markup('<circle class="dot" cx="{}" cy="{}" r="5.5"/>').format(at(value), middle)
        )
    return Markup(
        '<svg class="chart{}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(" leads" if leads else "", _HEIGHT, label, Markup("").join(parts))


def axis(scale: Scale = SHARE) -> Markup:
    """The scale's numbers, to stand under a column of whisker charts."""
    anchors = {scale.low: "start", scale.high: "end"}
    parts = [
        Markup('<text x="{}" y="12" text-anchor="{}">{}</text>').format(
            scale.at(x), anchors.get(x, "middle"), f"{x / scale.unit:.0f}".replace("-", "−")
        )
        for x in scale.ticks
    ]
    return Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def share_bar(part: float, label: str) -> Markup:
    """A bar filled to `part` of 1."""
    return Markup(
        '<svg class="bar" width="100%" height="10" role="img" aria-label="{}">'
        '<rect class="rest" x="0" y="0" width="100%" height="10" rx="5"/>'
        '<rect class="part" x="0" y="0" width="{}" height="10" rx="5"/></svg>'
    ).format(label, SHARE.at(part))


def _line(kind: str, x1: str, y1: float, x2: str, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        escape(kind), x1, y1, x2, y2
    )
