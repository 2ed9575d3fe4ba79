"""Reads a judge's reply: the verdict is what its last line says, or there is none.

A mark in the middle of a reply is a quotation, a plan or a change of mind; tools that search for
the first one are won by an answer that quotes it. Knows texts only.
"""

from __future__ import annotations

import json
import re
from typing import Any

from evalsuite.records import Verdict

_MEANING: dict[str, Verdict] = {
    **dict.fromkeys(("a", "first"), "first"),
    **dict.fromkeys(("b", "second"), "second"),
    **dict.fromkeys(("tie", "c"), "tie"),
}
_ANCHORED = re.compile(
    r"(?:\*\*|`)?(?:(?:final\s+)?verdict\s*:\s*)?(?:\*\*|`)?"
    r"(?:\[\[(?P<mark>[ABC])\]\]|(?<=[:*` ])(?P<word>A|B|tie))(?:\*\*|`){0,2}\.?",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)


def parse_verdict(reply: str, *, finished: bool = True) -> Verdict:
    """The verdict of a reply by position; "invalid" for anything but one clear last line.

    The last line is a JSON object whose "verdict" is A, B or tie, or an anchored mark: [[A]],
    [[B]], [[C]] (a tie) or "Verdict: A". A code fence around the JSON is allowed, and a reply
    that is one JSON object as a whole. `finished` False says that the reply was cut off: then it
    has no last line.
    """
    if not finished:
        return "invalid"
    whole = _from_json(reply.strip())
    if whole is not None:
        return whole
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    if len(lines) >= 3 and lines[-1] == "```" and _FENCE.fullmatch(lines[-3]):
        lines = lines[:-1]
    if not lines:
        return "invalid"
    from_json = _from_json(lines[-1])
    if from_json is not None:
        return from_json
    match = _ANCHORED.fullmatch(lines[-1])
    if match is None:
        return "invalid"
    return _MEANING[(match["mark"] or match["word"]).lower()]


def _from_json(text: str) -> Verdict | None:
    """The verdict of a text that is a JSON object; None when it is no JSON object."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        loaded = json.loads(text, object_pairs_hook=_distinct)
    except ValueError:
        return "invalid" if '"verdict"' in text else None
    value = loaded.get("verdict")
    return _MEANING.get(value.strip().lower(), "invalid") if isinstance(value, str) else "invalid"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
