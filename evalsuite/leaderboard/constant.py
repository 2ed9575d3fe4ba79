"""Finds models that say the same thing whatever they are asked.

A model that gives one well-chosen text to every question won more than four of five games on three
published benchmarks. Knows questions and answers as texts; knows no judge and no file.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# From this share of a model's questions on, one answer for them all is no accident. A coin-flipper
# between "yes" and "no" comes to a quarter (half of its answers are one text, and half of those are
# right), one who always says "yes" to a half.
CONSTANT_SHARE = 0.4
# Fewer different questions say nothing.
FEWEST_QUESTIONS = 5
# Two answers are nearly the same when so much of all their runs of words is in both.
_ALIKE = 0.8
_RUN = 3  # words
_SKETCH = 6  # smallest hashes of a text's runs: texts that are alike share one of them
_SHOWN = 80  # characters of the answer that is kept to be shown


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer with what it answers; `right`: a check or the reference says it is right."""

    question: str
    answer: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Sameness:
    """How much of what a model says is one text.

    `share`: of its different questions, those that got the answer it gives most often, or nearly
    that, and for which that is not known to be right. `text` is the beginning of that answer.
    """

    share: float
    questions: int
    text: str

    @property
    def flagged(self) -> bool:
        """Whether that is too often to be the questions' doing."""
        return self.questions >= FEWEST_QUESTIONS and self.share >= CONSTANT_SHARE

    def record(self) -> dict[str, Any]:
        """As leaderboard.json holds it."""
        flagged = self.flagged
        found = {"share": self.share, "questions": self.questions, "flagged": flagged}
        return {**found, "text": self.text} if flagged else found


def sameness(given: Iterable[GivenAnswer]) -> Sameness:
    """How often a model gave one answer, or nearly it, to different questions.

    Answers are compared as words in small letters; near means four fifths of all runs of three
    words in common, words that the answer took from its own question left out. Right answers
    count among the questions, but not as repeated: questions may rightly have equal answers.
    """
    distinct: dict[str, GivenAnswer] = {}
    for one in given:
        distinct.setdefault(_plain(one.question), one)
    groups: list[list[GivenAnswer]] = []
    leaders: list[frozenset[int]] = []
    sketched: defaultdict[int, list[int]] = defaultdict(list)
    for one in distinct.values():
        runs = _runs(one)
        sketch = sorted(runs)[:_SKETCH]
        near = dict.fromkeys(group for key in sketch for group in sketched[key])
        home = next((group for group in near if _alike(runs, leaders[group])), None)
        if home is None:
            home = len(groups)
            groups.append([])
            leaders.append(runs)
            for key in sketch:
                sketched[key].append(home)
        groups[home].append(one)
    if not groups:
        return Sameness(0.0, 0, "")
    worst = max(groups, key=_unexplained)
    repeated = _unexplained(worst)
    shown = " ".join(worst[0].answer.split())[:_SHOWN] if repeated else ""
    return Sameness(repeated / len(distinct), len(distinct), shown)


def _unexplained(group: list[GivenAnswer]) -> int:
    """Answers of a group that are not known to be right; an answer given once is no repetition."""
    return sum(not one.right for one in group) if len(group) > 1 else 0


def _alike(one: frozenset[int], other: frozenset[int]) -> bool:
    return len(one & other) >= _ALIKE * len(one | other)


def _runs(given: GivenAnswer) -> frozenset[int]:
    """Hashes of an answer's runs of words, without those that stand in its question.

    A short answer is one run; so is one that only repeats its question. Python's own hashes differ
    from process to process.
    """
    words = _plain(given.answer).split()
    runs = {" ".join(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)}
    asked = f" {_plain(given.question)} "
    own = {run for run in runs if f" {run} " not in asked}
    return frozenset(zlib.crc32(run.encode()) for run in own or {" ".join(words)})


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]|_", " ", folded).split())
