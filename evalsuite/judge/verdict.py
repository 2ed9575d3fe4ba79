"""Reads a judge's reply: the verdict is what its last line says, or there is none.

A mark in the middle of a reply is a quotation, a plan or a change of mind; tools that search for
the first one are won by an answer that quotes it. Knows texts only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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
# Small models put the object into the sentence that announces it: The verdict is {"verdict": "A"}.
_ANNOUNCED = re.compile(r"(?P<lead>[^{}\[\]]*(?:\bis|:))[\s`*]*(?P<object>\{[^{}]*\})[`*]*\.?")
_ALONE = re.compile(r"[`*]*(?P<object>\{[^{}]*\})[`*]*\.?")
# What may turn an announced verdict into its opposite, or into somebody else's.
_DENIED = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|if|unless|would|could|might|claims?|says?|said|"
    r"asks?|tells?|orders?)\b|n['’]t\b",
    re.IGNORECASE,
)


def parse_verdict(reply: str, *, finished: bool = True) -> Verdict:
    """The verdict of a reply by position; "invalid" for anything but one clear last line.

    The last line is a JSON object whose "verdict" is A, B or tie, or an anchored mark: [[A]],
    [[B]], [[C]] (a tie) or "Verdict: A". Around the JSON see `reply_end`. `finished` False says
    that the reply was cut off: then it has no last line.
    """
    if not finished:
        return "invalid"
    end = reply_end(reply, "verdict")
    if end.is_object:
        value = end.value
        return (
            _MEANING.get(value.strip().lower(), "invalid") if isinstance(value, str) else "invalid"
        )
    match = _ANCHORED.fullmatch(end.line)
    if match is None:
        return "invalid"
    return _MEANING[(match["mark"] or match["word"]).lower()]


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ends: with a JSON object (`value` is what its key holds), or with a `line`."""

    is_object: bool
    value: Any = None
    line: str = ""


def reply_end(reply: str, key: str) -> ReplyEnd:
    """The JSON object that the reply is or ends with, by its `key`, or else its last line.

    The object may be the whole reply, stand in a code fence, on one line or several, in bold type
    or with a full stop, or end the sentence that announces it ("the verdict is {…}."), unless that
    sentence denies or doubts something or is about what others say. An object that names the key
    but is no JSON, or has a key twice, has no value.
    """
    whole = _object_end(reply.strip(), key)
    if whole is not None:
        return whole
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    if not lines:
        return ReplyEnd(False)
    if lines[-1] == "```":
        fences = [place for place, line in enumerate(lines[:-1]) if line.startswith("```")]
        if fences and _FENCE.fullmatch(lines[fences[-1]]):
            fenced = _object_end("\n".join(lines[fences[-1] + 1 : -1]), key)
            if fenced is not None:
                return fenced
    last = lines[-1]
    announced = _ANNOUNCED.fullmatch(last)
    if announced is not None and not _DENIED.search(announced["lead"]):
        last = announced["object"]
    elif (alone := _ALONE.fullmatch(last)) is not None:
        last = alone["object"]
    return _object_end(last, key) or ReplyEnd(False, line=lines[-1])


def _object_end(text: str, key: str) -> ReplyEnd | None:
    """The value in a text that is a JSON object; None when it is no JSON object."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        loaded = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return ReplyEnd(True) if f'"{key}"' in text else None
    return ReplyEnd(True, loaded.get(key))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
