"""One letter and how likely it was: what a judge is kept by that is asked for a single token.

A kept reply is the tokens that could have come first, with their log-probabilities, as JSON, so
that it is read again like any other. Knows tokens' texts only: no server, no engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

# With less than this on A and B together the judge was about to say something else.
LEAST_MASS = 0.5
# What a judge on this machine is asked the probabilities of. As one token or two, these are
# different beginnings of a reply, so their probabilities add up.
CANDIDATES = ("A", " A", "B", " B")
# Spaces as tokenizers write them, and what may stand around a letter.
_AROUND = " \t\r\n▁ĠĊ\"'`*_.:()[]{}"


def keep_probabilities(tokens: Iterable[tuple[str, float]]) -> str:
    """The text that is kept: tokens with their natural log-probabilities, likeliest first."""
    ordered = sorted(tokens, key=lambda one: -one[1])
    return json.dumps({"logprobs": [list(one) for one in ordered]}, ensure_ascii=False)


def has_probabilities(kept: str) -> bool:
    """Whether a kept reply is a list of probabilities, whatever these are of.

    The same prompt would bring the same list, so asking again could change nothing.
    """
    return kept.startswith('{"logprobs": [[')


def weigh_letters(kept: str) -> float | None:
    """A's share of the probability of A and B together, 0 to 1.

    Tokens count for the letter that they are, whatever space or quotes are around it; small
    letters don't, "a" begins too many sentences. None when the text is none that was kept, or less
    than `LEAST_MASS` fell on either letter.
    """
    try:
        pairs = json.loads(kept)["logprobs"]
        mass = {"A": 0.0, "B": 0.0}
        for token, logprob in pairs:
            letter = str(token).strip(_AROUND)
            if letter in mass:
                mass[letter] += math.exp(min(float(logprob), 0.0))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    both = mass["A"] + mass["B"]
    if not both >= LEAST_MASS:  # so that a log-probability that is no number counts as none
        return None
    return mass["A"] / both
