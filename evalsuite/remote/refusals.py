"""Refusals that come whatever is in flight, told from those that too many calls bring.

A cumulative sum (Page 1954) of how much better "more are refused than with fewer calls in flight"
explains what came back than "as many as ever". Knows counts; no limits, times or calls.
"""

from __future__ import annotations

import math

# A share to begin with, until so many tries have shown another.
_EXPECTED, _EXPECTED_TRIES = 0.03, 50.0
_SMALLEST, _LARGEST = 0.01, 0.25  # of the usual share: never sure of none, never used to half
_TOO_MANY = 0.25  # more than usual; one call above a hard limit brings more than that
# Natural logarithms of the odds: two or three refusals close together, or where some come anyway,
# four to eight.
_SURE, _SURER = 5.0, 8.0
_MEMORY = 600.0  # tries
_KNOWN_AFTER = 100.0  # tries


class Refusals:
    """What one server's refusals say. `refused` and `answered` are told of every try."""

    def __init__(self) -> None:
        self._usual_tries, self._usual_refused = _EXPECTED_TRIES, _EXPECTED * _EXPECTED_TRIES
        self._seen = 0.0
        self._tries = self._refused = 0  # since they were last counted
        self._score = 0.0

    @property
    def usual(self) -> float:
        """The share of tries that is refused while there are not too many in flight."""
        return min(max(self._usual_refused / self._usual_tries, _SMALLEST), _LARGEST)

    @property
    def expected(self) -> bool:
        """Whether some refusals are known to come however few are in flight."""
        return self._seen >= _KNOWN_AFTER and self.usual >= 1.5 * _SMALLEST

    def answered(self) -> None:
        """A try was not refused."""
        self._tries += 1
        self._score = max(0.0, self._score + math.log1p(-self._many) - math.log1p(-self.usual))

    def refused(self) -> bool:
        """A try was refused. Returns whether that makes it too many."""
        self._tries += 1
        self._refused += 1
        self._score += math.log(self._many / self.usual)
        sure = _SURER if self.expected else _SURE
        if self._score < sure:
            return False
        # Others that were sent together with it need less to count, too.
        self._score = sure / 2
        return True

    def count(self) -> None:
        """A round has ended. Trying for more is rare, so that all that comes is about the usual."""
        kept = max(0.0, 1 - self._tries / _MEMORY)
        self._usual_tries = self._usual_tries * kept + self._tries
        # A round that met a limit is not to make the next one hard to see.
        refused = min(float(self._refused), _LARGEST * self._tries)
        self._usual_refused = self._usual_refused * kept + refused
        self._seen += self._tries
        self._tries = self._refused = 0

    def forget(self, tries: int, refused: int) -> None:
        """So many are usual, and nothing before counts any more."""
        self._usual_tries = _EXPECTED_TRIES + tries
        self._usual_refused = _EXPECTED_TRIES * _SMALLEST + refused
        self._tries = self._refused = 0

    @property
    def _many(self) -> float:
        return self.usual + _TOO_MANY
