"""Numbers and places in words: how the page writes a share, an interval, a rank, a tie.

Pure functions of records and numbers. Knows no HTML and no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from evalsuite.leaderboard import listing
from evalsuite.records import ModelScore

MISSING = "–"
CAPABILITY_TITLES = {
    "commonsense": "Commonsense",
    "qa": "Question answering",
    "math": "Mathematics",
    "code": "Code",
    "language": "Language understanding",
    "other": "Other",
}


def title(capability: str) -> str:
    """A capability's name for people."""
    return CAPABILITY_TITLES.get(capability, capability)


def number(value: float | None, unit: str = "share", *, sign: bool = True) -> str:
    """A value in its unit: a share as a percentage with one decimal, others with four digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "share":
        return f"{100 * value:.1f}{' %' if sign else ''}"
    return f"{value:.4g}"


def interval(ci: tuple[float, float] | None, unit: str = "share") -> str:
    """'70.1–76.0': the interval in the unit of its value; '' without one."""
    if ci is None:
        return ""
    low, high = (number(bound, unit, sign=False) for bound in ci)
    # A dash between negative numbers reads as another minus.
    return f"{low} to {high}" if min(ci) < 0 else f"{low}–{high}"


def count(value: float | int | None) -> str:
    """12345 as '12,345'."""
    return MISSING if value is None else f"{round(value):,}"


def duration(seconds: float | None) -> str:
    """Seconds as '45 s', '3 min 20 s' or '2 h 5 min'."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def parameters(n: object) -> str:
    """A number of parameters as '231 k', '6.7 B'; anything else as it stands."""
    if isinstance(n, bool) or not isinstance(n, int | float):
        return "" if n is None else str(n)
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {letter}"
    return str(n)


def memory(n: object) -> str:
    """Bytes as GiB."""
    return f"{n / 2**30:.1f} GiB" if isinstance(n, int | float) else str(n)


def day(stamp: object) -> str:
    """An ISO time as '23 November 2026, 13:20 UTC'; anything else as it stands."""
    if not isinstance(stamp, str):
        return ""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    zone = f" {moment.tzname()}" if moment.tzname() else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


def fragment(kind: str, *parts: str) -> str:
    """'#kind=a/b': a place on the page; slashes inside a part are escaped."""
    return f"#{kind}=" + "/".join(quote(part, safe="") for part in parts)


def plural(n: int, one: str, many: str | None = None) -> str:
    """'1 task', '1,200 tasks'."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def place(rank: tuple[int, int] | None) -> str:
    """'1', '2–4', or a dash without a rank."""
    if rank is None:
        return MISSING
    low, high = rank
    return str(low) if low == high else f"{low}–{high}"


def ties(models: Sequence[ModelScore]) -> dict[str, tuple[str, ...] | None]:
    """Whom each ranked model can't be told from, by name; None where ranks leave it open.

    A range's width is the number of ties. They are the neighbours in the order that fill the
    range, unless a far one differs less surely than a near one: then names would contradict each
    other, and only numbers are certain.
    """
    ranked = [model for model in models if model.rank is not None]
    found: dict[str, tuple[str, ...] | None] = {}
    for position, model in enumerate(ranked):
        low, high = model.rank or (0, 0)
        near = [r.name for i, r in enumerate(ranked) if low - 1 <= i < high and i != position]
        found[model.name] = tuple(near) if len(near) == high - low else None
    return {
        name: names
        if names is not None and all(name in (found[other] or ()) for other in names)
        else None
        for name, names in found.items()
    }


def tied(model: ModelScore, models: Sequence[ModelScore]) -> str:
    """'tied with a and b'; '' when the model's place is certain."""
    if model.rank is None:
        alone = not model.tasks and bool(model.judges)
        return "judged only" if alone else "no place: part of its results is missing"
    many = model.rank[1] - model.rank[0]
    if many == 0:
        return ""
    names = ties(models)[model.name]
    if names and many <= 2:
        return f"tied with {listing(names)}"
    return f"tied with {plural(many, 'other')}"


def verdict(models: Sequence[ModelScore]) -> str:
    """The page's first sentence: who is first, or between whom that is open."""
    ranked = [model for model in models if model.rank is not None]
    if not ranked:
        scored = [model for model in models if model.overall.value is not None]
        if scored:
            return f"{scored[0].name} has the highest score, how surely is not known."
        return "No model has an overall score."
    first = ranked[0]
    if len(ranked) == 1:
        return f"{first.name} scores {number(first.overall.value)} overall."
    if first.rank == (1, 1):
        return f"{first.name} is first, by more than chance."
    rivals = [m.name for m in ranked if m.rank and m.rank[0] == 1]
    if len(rivals) > 3:
        return f"First place is open between {first.name} and {plural(len(rivals) - 1, 'other')}."
    if len(rivals) > 1:
        return f"First place is open between {listing(rivals)}."
    return f"{first.name} has the highest score, but its lead may be chance."
