"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMES = 4


def some(names: Sequence[str]) -> str:
    """All names where they are few, else the first of them and how many more."""
    if len(names) <= _MOST_NAMES:
        return listing(names)
    return listing([*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"])


def listing(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
