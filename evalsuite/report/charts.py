"""Charts as inline SVG: dot and whisker on a scale of 0 to 100 %, and a bar of shared tokens.

Numbers in, markup out. Knows no record and no page. Places are percentages of the drawing's width,
so a chart fits a phone and a poster without distorting its dots. Colours come from classes: the
stylesheet gives them for light, dark and paper.
"""

from __future__ import annotations

from markupsafe import Markup, escape

_GRID = (0, 25, 50, 75, 100)
_HEIGHT = 28


def whisker(
    value: float | None,
    ci: tuple[float, float] | None,
    *,
    label: str,
    leads: bool = False,
    chance: float | None = None,
) -> Markup:
    """A dot at `value` with its interval `ci` (shares of 1), and a tick where guessing would be.

    `label` is what a screen reader says. Without a value the scale stands empty.
    """
    middle = _HEIGHT / 2
    parts = [_line("grid", _at(x / 100), 4, _at(x / 100), _HEIGHT - 4) for x in _GRID]
    if chance is not None:
        parts.append(_line("chance", _at(chance), 3, _at(chance), _HEIGHT - 3))
    if value is not None:
        if ci is not None:
            low, high = (min(max(bound, 0.0), 1.0) for bound in ci)
            parts.append(_line("whisker", _at(low), middle, _at(high), middle))
            for end in (low, high):
                parts.append(_line("whisker", _at(end), middle - 5, _at(end), middle + 5))
        parts.append(
            Markup('<circle class="dot" cx="{}" cy="{}" r="5.5"/>').format(_at(value), middle)
        )
    return Markup(
        '<svg class="chart{}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(" leads" if leads else "", _HEIGHT, label, Markup("").join(parts))


def axis() -> Markup:
    """The scale's numbers, to stand under a column of whisker charts."""
    anchors = {0: "start", 100: "end"}
    parts = [
        Markup('<text x="{}" y="12" text-anchor="{}">{}</text>').format(
            _at(x / 100), anchors.get(x, "middle"), x
        )
        for x in _GRID
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
    ).format(label, _at(min(max(part, 0.0), 1.0)))


def _at(share: float) -> str:
    return f"{100 * share:.2f}%"


def _line(kind: str, x1: str, y1: float, x2: str, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        escape(kind), x1, y1, x2, y2
    )
