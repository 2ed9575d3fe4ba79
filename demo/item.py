"""One question with its answer, as it travels between the generators, the corpus and the tasks.

Knows how held-out material is told from training material (a hash of a key, so that both sides
decide alike without sharing a list). Knows nothing of any capability.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

SEED = 20261
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """`prompt + " " + answer` is the text; a model is trained and scored on the answer alone.

    choices: empty for a generated answer, else the options with the right one among them.
    operands: every number that the prompt holds, in order, for computed items.
    key: what must not be shared with the training text besides the prompt itself, if anything.
    """

    capability: str
    kind: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    operands: tuple[int, ...] = ()
    key: str = ""


def words(text: str) -> tuple[str, ...]:
    """A table's words from one string: easier to read and to extend than a list of strings."""
    return tuple(text.split())


def held_out(part: int, *key: object) -> bool:
    """True for one key in `part`: such keys belong to the starter tasks, never to the training."""
    text = "|".join(map(str, key))
    return zlib.crc32(text.encode()) % part == 0


@cache
def pair_held_out(a: int, b: int) -> bool:
    """True when the two numbers, in either order, are kept for the starter tasks."""
    return held_out(12, "pair", min(a, b), max(a, b))


def any_pair_held_out(operands: Sequence[int]) -> bool:
    """True when any two of the numbers form a held-out pair."""
    return any(pair_held_out(a, b) for i, a in enumerate(operands) for b in operands[i + 1 :])


def ask(question: str) -> str:
    """The form that every open question of the project has."""
    return f"Question: {question}\nAnswer:"


def article(noun: str) -> str:
    """`noun` with a or an before it."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def listed(words: Sequence[str]) -> str:
    """The words as English lists them: one, two, three or four."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def collect(
    make: Callable[[random.Random], Item | None], count: int, rng: random.Random
) -> list[Item]:
    """`count` items with different prompts; `make` may answer None for a draw that does not fit."""
    found: dict[str, Item] = {}
    for _ in range(count * 20_000):
        item = make(rng)
        if item is not None:
            found.setdefault(item.prompt, item)
        if len(found) == count:
            return list(found.values())
    raise RuntimeError(f"only {len(found)} of {count} different items could be drawn")


def choose(
    rng: random.Random, answer: str, others: Sequence[str], count: int = 4
) -> tuple[str, ...]:
    """The answer and `count - 1` of the others; the place of the answer is settled later."""
    pool = sorted(set(others) - {answer})
    return (answer, *rng.sample(pool, count - 1))
