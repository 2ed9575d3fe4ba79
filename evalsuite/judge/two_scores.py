"""Reads replies of the Vicuna evaluation of 2023: two scores on the first line, for either answer.

Knows texts only. The first line alone counts, as that protocol asked for it there; a reply that
begins otherwise has no scores, whatever stands further down.
"""

from __future__ import annotations

import re

from evalsuite.records import Verdict

_NUMBER = r"(\d{1,2}(?:\.\d+)?)"
_FIRST_LINE = re.compile(rf"\s*{_NUMBER}(?:\s*,\s*|\s+){_NUMBER}\s*")


def parse_two_scores(reply: str) -> tuple[float, float] | None:
    """The scores of the first and the second answer; None unless line 1 is these two alone.

    Scores outside the protocol's scale of 0 to 10 are none.
    """
    line = reply.split("\n", 1)[0]
    match = _FIRST_LINE.fullmatch(line)
    if match is None:
        return None
    first, second = float(match[1]), float(match[2])
    return (first, second) if max(first, second) <= 10 else None


def verdict_of_scores(scores: tuple[float, float] | None) -> Verdict:
    """The verdict that two scores mean; "invalid" without them."""
    if scores is None:
        return "invalid"
    first, second = scores
    return "tie" if first == second else "first" if first > second else "second"
