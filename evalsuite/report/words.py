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


def tied(model: ModelScore, models: Sequence[ModelScore]) -> str:
    """'tied with a and b'; '' when the model's place is certain."""
    if model.rank is None:
        return "no rank"
    ties = model.rank[1] - model.rank[0]  # that many models can't be told from this one
    if ties == 0:
        return ""
    others = [m.name for m in models if m is not model and m.rank and _overlap(m.rank, model.rank)]
    if len(others) == ties and ties <= 3:
        return f"tied with {listing(others)}"
    return f"tied with {plural(ties, 'other model')}"


def verdict(models: Sequence[ModelScore]) -> str:
    """The page's first sentence: who is first, or who can't be told apart."""
    ranked = [model for model in models if model.rank is not None]
    if not ranked:
        scored = [model for model in models if model.overall.value is not None]
        if scored:
            return f"{scored[0].name} has the highest score, of unknown certainty."
        return "No model has an overall score."
    first = ranked[0]
    if len(ranked) == 1:
        return f"{first.name} scores {number(first.overall.value)} overall."
    if first.rank == (1, 1):
        return f"{first.name} is first, and the lead is more than chance."
    rivals = tied(first, ranked).removeprefix("tied with ")
    return f"{first.name} has the highest score, but can’t be told apart from {rivals}."


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
