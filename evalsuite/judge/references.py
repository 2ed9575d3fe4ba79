"""Decides whether an answer is right where a question has a checkable reference; no model needed.

Knows texts and numbers, and where in an answer its result stands. It must not know who answered.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from evalsuite.judge.records import Check

# Digits in groups of three ("1,234" or "1 234" with a no-break space) are one number.
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?"
)
_ANNOUNCED = re.compile(r"\banswer\s*(?:is|:|=)\s*(.+)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_LETTER = re.compile(r"^\W*(?:option|choice)?\W*([A-Ja-j])(?=[\s).:,\]*]|$)")


def is_right(check: Check, answer: str) -> bool:
    """Whether `answer` is one of the check's, by its kind.

    - number: the last number of the result (see `result_of`), or of the answer when the result
      holds none, is equal as a number (1,200 = 1200.0, 1/2 = 0.5).
    - choice: the result begins with the letter.
    - exact: the result is the text letter by letter, but for spacing and quotes around it.
    - contains: the text stands somewhere in the answer as whole words, letter case, accents'
      forms and punctuation aside.
    """
    if check.kind == "number":
        found = _number_in(answer)
        return found is not None and any(found == _value(text) for text in check.answers)
    if check.kind == "choice":
        match = _LETTER.match(result_of(answer))
        return match is not None and match[1].upper() in {a.upper() for a in check.answers}
    if check.kind == "exact":
        return _bare(result_of(answer)) in {_bare(text) for text in check.answers}
    words = f" {_plain(answer)} "
    return any(f" {_plain(text)} " in words for text in check.answers)


def result_of(answer: str) -> str:
    """What an answer states as its result: after its last "answer is", else its last line.

    Of an answer of one line that is the line itself.
    """
    boxed = _BOXED.findall(answer)
    if boxed:
        return str(boxed[-1]).strip()
    announced = _ANNOUNCED.findall(answer)
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    if announced:
        return str(announced[-1]).strip().strip("*").strip()
    return lines[-1] if lines else ""


def problem_with(check: Check) -> str | None:
    """Why a check can't be used, in words; None when it can."""
    for text in check.answers:
        if check.kind == "number" and _value(text) is None:
            return f"{text!r} is not a number"
        if check.kind == "choice" and not re.fullmatch(r"[A-Ja-j]", text):
            return f"{text!r} is not a letter of a choice"
        plain = {"exact": _bare, "contains": _plain}.get(check.kind, str)
        if not plain(text):
            return f"{text!r} has nothing to compare"
    return None


def _number_in(answer: str) -> Fraction | None:
    result = result_of(answer)
    numbers = [_value(text) for text in _NUMBER.findall(result)]
    if not numbers:
        numbers = [_value(text) for text in _NUMBER.findall(answer)]
    return numbers[-1] if numbers else None


def _value(text: str) -> Fraction | None:
    bare = re.sub(r"[,\s]", "", text).replace("−", "-")
    if not re.fullmatch(r"[-+]?\d+(\.\d+)?(/\d+(\.\d+)?)?", bare):
        return None
    top, _, bottom = bare.partition("/")
    if bottom and Fraction(bottom) == 0:
        return None
    return Fraction(top) / Fraction(bottom or 1)


def _bare(text: str) -> str:
    """Spacing collapsed, quotes, code marks and a final full stop taken off."""
    return " ".join(text.split()).removesuffix(".").strip("`\"'*“”‘’ ")


def _plain(text: str) -> str:
    """Letters and digits in small letters, words apart by one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]|_", " ", folded).split())
