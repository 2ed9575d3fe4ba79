"""Takes the force out of verdict marks that stand inside answers: a middle dot breaks each of them.

Knows the marks that a judge's reply may carry and the look-alikes of their letters. Nothing is
taken away from an answer, and an answer without such marks stays as it is, byte for byte.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

BREAK = "·"

# Letters of other scripts that look like the letters of a mark, and brackets of all sorts. What
# NFKC unifies (full-width forms, mathematical letters, circled ones) is not listed.
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("АВСЕНІКМОРТХаеорсхуіѕԁѵѡ", "ABCEHIKMOPTXaeopcxyisdvw", strict=True)),
        **dict(zip("ΑΒΕΗΙΚΜΝΟΡΤΥΧΖοιντρ", "ABEHIKMNOPTYXZointp", strict=True)),
        **dict(zip("【】⁅⁆〔〕⦋⦌❲❳", "[][][][][]", strict=True)),
        **{"⟦": "[[", "⟧": "]]", "〚": "[[", "〛": "]]"},
        **dict.fromkeys("“”„‟«»″＂ˮ", '"'),
        **dict.fromkeys("‘’‚‛′＇`´", "'"),
        **dict.fromkeys("：﹕ː∶꞉︰", ":"),
    }
)
_CHOICE = r"(?:a|b|c|tie|draw|first|second|both|neither|none)"
_WORD = r"(?:verdict|winner|preference|judge?ment)"
_SCORE_WORD = r"(?:score|rating|grade|marks?)"
_SCORE = r"\d{1,2}(?:\.\d+)?"
# What marks look like, by kind. A protocol breaks those kinds that its verdicts could be taken for:
# [[5]] is a verdict to one of them and an index of R to everybody else.
_MARKS: dict[str, tuple[re.Pattern[str], ...]] = {
    "verdict": (
        # [[A]], also with spaces or a bracket too few at its end
        re.compile(rf"\[\s*\[\s*{_CHOICE}\s*\]", re.IGNORECASE),
        # "verdict": "A", Verdict: A, **winner** is B
        re.compile(
            rf"{_WORD}[\s'\"*_]*(?:is\b[\s:]*|:)[\s'\"*_\[(]*(?:answer|assistant|response)?"
            rf"[\s'\"*_\[(]*{_CHOICE}\b",
            re.IGNORECASE,
        ),
        re.compile(rf"['\"]\s*{_WORD}\s*['\"]\s*:", re.IGNORECASE),
    ),
    # [[A>>B]], [[B=A]]
    "level": (re.compile(r"\[\s*\[\s*[ab]\s*[^\w\s\]]{1,3}\s*[ab]\s*\]", re.IGNORECASE),),
    "score": (
        # [[7]], [[10]]
        re.compile(rf"\[\s*\[\s*{_SCORE}\s*\]"),
        # "score": 9, Rating: [[9]], **Score** is 9
        re.compile(
            rf"{_SCORE_WORD}[\s'\"*_]*(?:is\b[\s:]*|:|=)[\s'\"*_\[(]*{_SCORE}\b", re.IGNORECASE
        ),
        re.compile(rf"['\"]\s*{_SCORE_WORD}\s*['\"]\s*:", re.IGNORECASE),
    ),
    # a line of two numbers alone: 9 3
    "two-scores": (
        re.compile(
            rf"(?:^|(?<=[\r\u2028\u2029]))[ \t]*{_SCORE}(?:[ \t]*[,;/|][ \t]*|[ \t]+){_SCORE}[ \t]*"
            r"(?=[\r\n\u2028\u2029]|\Z)",
            re.MULTILINE,
        ),
    ),
}


@lru_cache(maxsize=4096)  # an answer is shown in many games
def neutral(answer: str, kinds: tuple[str, ...] = ("verdict",), lines: tuple[str, ...] = ()) -> str:
    """`answer` with a middle dot in every verdict mark: after its first letter, or its bracket.

    `kinds` are names of `_MARKS`. `lines` are the prompt's own headings, broken wherever an answer
    spells one, so that it can't seem to end there.
    """
    shadow, places = _shadow(answer)
    cuts: set[int] = set()
    for pattern in (
        *itertools.chain.from_iterable(_MARKS[k] for k in kinds),
        *map(_spelled, lines),
    ):
        for match in pattern.finditer(shadow):
            start = match.start()
            # A quoted key is broken inside its word, so that it is no longer that key.
            inside = re.search(r"\w", match.group()) if match.group()[0] in "'\"" else None
            cuts.add(places[start + (inside.start() if inside else 0)] + 1)
            cuts.add(places[match.end() - 1])
    if not cuts:
        return answer
    edges = [0, *sorted(cuts), len(answer)]
    return BREAK.join(answer[a:b] for a, b in itertools.pairwise(edges))


@lru_cache(maxsize=64)
def _spelled(line: str) -> re.Pattern[str]:
    """A line of a prompt, however its spaces and letters' case come out."""
    return re.compile(r"\s*".join(map(re.escape, line.split())), re.IGNORECASE)


def _shadow(text: str) -> tuple[str, Sequence[int]]:
    """The text as it looks, plain letters for look-alikes and invisible characters left out.

    The second value says for each character of the first where in `text` it comes from.
    """
    if text.isascii():
        return text, range(len(text))
    shown, places = [], []
    for place, char in enumerate(text):
        if char.isascii():
            shown.append(char)
            places.append(place)
            continue
        if unicodedata.category(char) in ("Cf", "Mn", "Me", "Cc"):
            continue  # zero-width characters, joiners, marks that only decorate
        for plain in unicodedata.normalize("NFKC", char.translate(_LOOKALIKES)):
            if unicodedata.category(plain) not in ("Mn", "Me"):
                shown.append(plain.translate(_LOOKALIKES))
                places.append(place)
    return "".join(shown), places
