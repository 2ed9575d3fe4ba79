"""When an answer ends and what its text is.

Knows a tokenizer's `decode` and stop strings; no model. The text is what lm-eval's hf backend
returns one request at a time: all new tokens decoded without special tokens, cut at the stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# A window of tokens decodes differently at its left edge (a leading space goes, a character that
# was split is broken); this many tokens more keep the edge away from the stop string.
_SLACK = 4

# What decoders write for bytes that are no character, or not yet.
_BROKEN = "\ufffd"


class StopTokens:
    """Which tokens can complete one of some stop strings: few, so most steps decode nothing."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._last = tuple({s[-1] for s in stop if s})
        self._known: dict[int, bool] = {}

    def can_complete(self, token: int) -> bool:
        """Whether a stop string may end within this token; never False where one does."""
        known = self._known.get(token)
        if known is None:
            # Twice, because a decoder strips the left edge. A token of broken characters may
            # complete one, and one without text may be anything.
            text = self._tokenizer.decode([token, token], skip_special_tokens=False)
            known = not text or _BROKEN in text or any(last in text for last in self._last)
            self._known[token] = known
        return known


class StopWatch:
    """Watches one answer grow, token by token, for any of its stop strings."""

    def __init__(
        self, tokenizer: Any, stop: Sequence[str], tokens: StopTokens | None = None
    ) -> None:
        """`tokens`, made for the same tokenizer and stop strings, may be shared by many."""
        self._tokenizer = tokenizer
        self._stop = tuple(s for s in stop if s)
        self._tokens = tokens or StopTokens(tokenizer, stop)
        # A token adds a byte at least, so a stop string of n bytes spans n tokens at most.
        self._window = max((len(s.encode()) for s in self._stop), default=0) + _SLACK
        self._special = frozenset(getattr(tokenizer, "all_special_ids", ()))

    def reached(self, tokens: Sequence[int]) -> bool:
        """Whether the answer `tokens`, the newest last, now contains a stop string.

        To be asked after every token: only what the newest one completes is noticed. A stop
        string may be the name of a special token, which the text itself leaves out.
        """
        if not self._stop or not self._tokens.can_complete(tokens[-1]):
            return False
        window = list(tokens[-self._window :])
        found = self._found(self._decode(window, special=True))
        if not found and not self._special.isdisjoint(window):
            found = self._found(self._decode(window, special=False))
        # What the window shows may be an artefact of its edge: the whole answer decides.
        return found and (
            len(tokens) <= self._window
            or self._found(self._decode(tokens, special=True))
            or self._found(self._decode(tokens, special=False))
        )

    def text(self, tokens: Sequence[int]) -> str:
        """The answer's text, ending before the first stop string."""
        text = self._decode(tokens, special=False)
        for stop in self._stop:
            text = text.split(stop)[0]
        return text

    def _found(self, text: str) -> bool:
        return any(stop in text for stop in self._stop)

    def _decode(self, tokens: Sequence[int], *, special: bool) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=not special)
