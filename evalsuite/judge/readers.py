"""Reads replies into verdicts: one small function a protocol, by the name that a preset gives.

Each accepts one clear form at one fixed place and nothing else; a reply that has it elsewhere says
nothing. Knows texts only: no prompt, no answer, no call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from evalsuite.judge.letters import weigh_letters
from evalsuite.judge.two_scores import parse_two_scores, verdict_of_scores
from evalsuite.judge.verdict import parse_verdict, reply_end
from evalsuite.records import Verdict


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says; the fields are a Game's.

    `preference` is the first answer's share of the win where the protocol weighs its verdict,
    `scores` are the judge's own numbers where it gives any.
    """

    verdict: Verdict
    scores: tuple[float, ...] | None = None
    preference: float | None = None


INVALID: Final = Reading("invalid")
# The reply, and whether it ended by itself (False: it was cut off at the most tokens).
Reader = Callable[[str, bool], Reading]

_LEVELS: dict[str, Reading] = {
    "a much better": Reading("first", preference=1.0),
    "a better": Reading("first", preference=0.75),
    "tie": Reading("tie", preference=0.5),
    "b better": Reading("second", preference=0.25),
    "b much better": Reading("second", preference=0.0),
}
_LEVEL_LINE = re.compile(
    r"(?:\*\*|`)?(?:final\s+)?verdict\s*:\s*(?:\*\*|`)?\s*(?P<level>[^*`.]+?)(?:\*\*|`){0,2}\.?",
    re.IGNORECASE,
)
_NUMBER = r"([0-9]{1,2}(?:\.[0-9]+)?)"
_SCORE_LINE = re.compile(
    rf"(?:\*\*|`)?(?:final\s+)?(?:score|rating)\s*:\s*(?:\*\*|`)?\s*(?:\[\[{_NUMBER}\]\]|{_NUMBER})"
    rf"(?:\s*/\s*10)?(?:\*\*|`){{0,2}}\.?|(?:\*\*|`)?\[\[{_NUMBER}\]\](?:\*\*|`)?\.?",
    re.IGNORECASE,
)
_LOWEST, _HIGHEST = 1.0, 10.0

# FastChat's prompts ask for a mark at the very end of a reply, inside a sentence as often as not.
_TRAILING = r"[\"'”’*`_\s]*\.?[\"'”’*`_\s]*"
_MARK = re.compile(r"\[\[([ABC])\]\]")
# GPT-4 repeats these prompts' own words for the third mark, and may go on to say why: that ending
# is read, too, or nothing but ties would be lost.
_MARK_AT_END = re.compile(rf"\[\[[ABC]\]\]{_TRAILING}|\[\[C\]\] for a tie\b[^\[\]]*")
_RATING = re.compile(r"\[\[([^\[\]]*)\]\]")
_RATING_AT_END = re.compile(rf"\[\[{_NUMBER}\]\]{_TRAILING}")
_OF_MARK: dict[str, Verdict] = {"A": "first", "B": "second", "C": "tie"}


def read_verdict(reply: str, finished: bool) -> Reading:
    """A, B or tie on an anchored last line; see `parse_verdict`."""
    return Reading(parse_verdict(reply, finished=finished))


def read_level(reply: str, finished: bool) -> Reading:
    """One of five levels on the last line: JSON, or "Verdict: A much better"."""
    if not finished:
        return INVALID
    end = reply_end(reply, "verdict")
    said = end.value
    if not end.is_object:
        match = _LEVEL_LINE.fullmatch(end.line)
        said = match["level"] if match else None
    return (
        _LEVELS.get(" ".join(said.lower().split()), INVALID) if isinstance(said, str) else INVALID
    )


def read_score(reply: str, finished: bool) -> Reading:
    """A score of 1 to 10 on the last line: JSON, "Score: 7" or [[7]]."""
    if not finished:
        return INVALID
    end = reply_end(reply, "score")
    if end.is_object:
        known = isinstance(end.value, int | float) and not isinstance(end.value, bool)
        return _scored(end.value) if known else INVALID
    match = _SCORE_LINE.fullmatch(end.line)
    return _scored(next(filter(None, match.groups()))) if match else INVALID


def read_two_scores(reply: str, finished: bool) -> Reading:
    """Two scores alone on the first line; what follows is the reason and may be cut off."""
    if not finished and "\n" not in reply:
        return INVALID
    scores = parse_two_scores(reply)
    return Reading(verdict_of_scores(scores), scores)


def read_letters(reply: str, finished: bool) -> Reading:
    """The letters' probabilities as `keep_probabilities` wrote them; the better one wins.

    One token is all that was asked for, so every reply is cut off.
    """
    preference = weigh_letters(reply)
    if preference is None:
        return INVALID
    verdict: Verdict = "tie" if preference == 0.5 else "first" if preference > 0.5 else "second"
    return Reading(verdict, preference=preference)


def read_mark_at_end(reply: str, finished: bool) -> Reading:
    """[[A]], [[B]] or [[C]] at the very end of the reply; no other mark stands on its last line."""
    line = _last_line(reply) if finished else ""
    marks = set(_MARK.findall(line))
    if len(marks) != 1 or not re.search(rf"(?:{_MARK_AT_END.pattern})\Z", line):
        return INVALID
    return Reading(_OF_MARK[marks.pop()])


def read_rating_at_end(reply: str, finished: bool) -> Reading:
    """[[5]] at the very end of the reply, 1 to 10; no other number in such brackets beside it."""
    line = _last_line(reply) if finished else ""
    match = re.search(rf"(?:{_RATING_AT_END.pattern})\Z", line)
    if match is None or set(_RATING.findall(line)) != {match[1]}:
        return INVALID
    return _scored(match[1])


def _scored(number: str | float) -> Reading:
    score = float(number)
    return Reading("tie", (score,)) if _LOWEST <= score <= _HIGHEST else INVALID


def _last_line(reply: str) -> str:
    return next((line.strip() for line in reversed(reply.splitlines()) if line.strip()), "")


READERS: Final[dict[str, Reader]] = {
    "verdict": read_verdict,
    "level": read_level,
    "score": read_score,
    "two-scores": read_two_scores,
    "letters": read_letters,
    "mark-at-end": read_mark_at_end,
    "rating-at-end": read_rating_at_end,
}
