"""What the references of our own questions must say, computed anew from the questions' words.

Knows the questions by id and how to work each answer out: by trying all cases, by playing the story
through, by running the program. It must not read a reference or a check.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from fractions import Fraction
from typing import Any, TypeVar

from evalsuite.judge.records import Question

Proof = Callable[[Question], Any]
T = TypeVar("T")


def only(found: Iterable[T]) -> T:
    """The one element; a question with two answers is no question."""
    [one] = set(found)
    return one


def numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def output_of(turn: str) -> str:
    """What the program below the first line of a question prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(turn.partition("\n")[2].removesuffix("\nAnswer:"), {})
    return printed.getvalue().strip()


def letter(turn: str, right: Callable[[str], bool]) -> str:
    """The letter of the one choice in `turn` that is right."""
    return only(key for key, text in choices(turn).items() if right(text))


def choices(turn: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-D])\) (.*)$", turn, re.MULTILINE))


# ---- reasoning -----------------------------------------------------------------------------------


def queue_end() -> str:
    return only(
        order[-1]
        for order in itertools.permutations(("Ana", "Ben", "Cleo", "Dov", "Eve"))
        if order.index("Cleo") == order.index("Ana") + 1
        and order.index("Ben") < order.index("Dov")
        and order.index("Eve") not in (0, 4)
        and order[-1] != "Dov"
    )


def truthful() -> str:
    found = only(
        (pim, quill, rosa)
        for pim, quill, rosa in itertools.product((True, False), repeat=3)
        if pim == (not quill)
        and quill == (not rosa)
        and rosa == (not pim and not quill)
        and pim + quill + rosa == 1
    )
    return ("Pim", "Quill", "Rosa")[found.index(True)]


def jar() -> str:
    labels = ("salt", "sugar", "flour")
    return only(
        content[0]
        for content in itertools.permutations(labels)
        if all(a != b for a, b in zip(labels, content, strict=True)) and content[1] == "flour"
    )


def day(offset: int) -> str:
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    return days[(days.index("Wednesday") + offset) % 7]


def doors(people: range) -> int:
    return sum(sum(door % person == 0 for person in people) % 2 for door in range(1, 31))


@functools.cache
def weighings(coins: int) -> int:
    """By the game itself: the heavy coin is in the pan that sinks, or in neither."""
    if coins == 1:
        return 0
    return 1 + min(weighings(max(pan, coins - 2 * pan)) for pan in range(1, coins // 2 + 1))


def baking(times: list[int]) -> int:
    """Over all ways to share the cakes between two ovens."""
    first_oven = (
        sum(itertools.compress(times, chosen))
        for chosen in itertools.product((0, 1), repeat=len(times))
    )
    return min(max(first, sum(times) - first) for first in first_oven)


def pea(turn: str) -> list[int]:
    """Where it lies after each of twenty rounds."""
    [(place, swaps)] = re.findall(r"under the cup at place (\d).*six times: (.*?)\.", turn)
    at, after = int(place), []
    for _ in range(20):
        for a, b in re.findall(r"(\d) and (\d)", swaps):
            at = {int(a): int(b), int(b): int(a)}.get(at, at)
        after.append(at)
    return after


BLACK, BROWN = 5, 4  # pairs of gloves


def gloves(taken: int) -> bool:
    """Whether so many gloves, taken blindly, always hold a pair."""
    hands = itertools.product(
        range(BLACK + 1), range(BLACK + 1), range(BROWN + 1), range(BROWN + 1)
    )
    return all(
        (black_left and black_right) or (brown_left and brown_right)
        for black_left, black_right, brown_left, brown_right in hands
        if black_left + black_right + brown_left + brown_right == taken
    )


def felt_gloves(left: int, right: int) -> bool:
    """Whether so many for the left hand and so many for the right always hold a pair."""
    return all(
        (black_left and black_right) or (left - black_left and right - black_right)
        for black_left in range(max(0, left - BROWN), min(BLACK, left) + 1)
        for black_right in range(max(0, right - BROWN), min(BLACK, right) + 1)
    )


def fewest_felt() -> int:
    return min(
        left + right
        for left, right in itertools.product(range(BLACK + BROWN + 1), repeat=2)
        if felt_gloves(left, right)
    )


KEYS = list(itertools.product((False, True), repeat=4))  # brass, old, fits the cellar, the attic
STATEMENTS: dict[str, Callable[[Iterable[tuple[bool, ...]]], bool]] = {
    "Every old key is brass.": lambda ring: all(brass for brass, old, _, _ in ring if old),
    "No key fits both the attic and the cellar.": lambda ring: not any(k[2] and k[3] for k in ring),
    "Some keys that fit the cellar are not brass.": lambda ring: any(
        cellar and not brass for brass, _, cellar, _ in ring
    ),
    "Some keys that fit the attic do not fit the cellar.": lambda ring: any(
        attic and not cellar for _, _, cellar, attic in ring
    ),
}


def forced(with_cellar_key: bool) -> set[str]:
    """The statements that are true of every possible ring; kinds of keys are there or not."""
    rings = [
        ring
        for kinds in itertools.product((False, True), repeat=len(KEYS))
        if (ring := list(itertools.compress(KEYS, kinds)))
        and all(old for brass, old, _, _ in ring if brass)
        and not any(cellar and old for _, old, cellar, _ in ring)
        and any(attic and brass for brass, _, _, attic in ring)
        and (not with_cellar_key or any(cellar for _, _, cellar, _ in ring))
    ]
    return {text for text, true_of in STATEMENTS.items() if all(map(true_of, rings))}


def key_statement(turn: str, after: bool) -> str:
    assert set(choices(turn).values()) == set(STATEMENTS)
    must = forced(True) - forced(False) if after else forced(False)
    return letter(turn, lambda text: text in must)


def flats(instrument: str, harp: int | None = None) -> str:
    """Who plays it, over all ways to give people and instruments to the four flats."""
    return only(
        people[plays.index(instrument)]
        for people in itertools.permutations(("Ada", "Bo", "Cem", "Dora"))
        for plays in itertools.permutations(("cello", "drums", "flute", "harp"))
        if people.index("Bo") == plays.index("harp") + 1
        and plays.index("drums") not in (0, 3)
        and people.index("Cem") < people.index("Ada")
        and people.index("Dora") in (0, 3)
        and plays.index("cello") == people.index("Cem") + 2
        and harp in (None, plays.index("harp") + 1)
    )


# ---- math ----------------------------------------------------------------------------------------


def coins(most: int) -> int:
    return sum(
        5 * a + 10 * b + 20 * c == 50 and a + b + c <= most
        for a in range(11) for b in range(6) for c in range(3)
    )  # fmt: skip


def remainder() -> int:
    return next(n for n in itertools.count(1) if (n % 4, n % 5, n % 7) == (1, 2, 3))


def dice(count: int) -> Fraction:
    throws = list(itertools.product(range(1, 7), repeat=count))
    return Fraction(sum(math.prod(throw) % 6 == 0 for throw in throws), len(throws))


def sides() -> tuple[int, int]:
    return only((a, b) for a in range(1, 23) for b in range(a, 23)
                if a + b == 23 and math.hypot(a, b) == 17)  # fmt: skip


def lamp() -> Fraction:
    cents = only(c for c in range(1, 20_000) if Fraction(c) * 120 / 100 * 80 / 100 == 5760)
    return Fraction(cents, 100)


def lamp_back() -> float:
    """The percentage of one decimal that brings the raised price nearest to the first one."""
    first = lamp()
    raised = first * Fraction(120, 100)
    return min(range(1001), key=lambda tenths: abs(raised * (1000 - tenths) / 1000 - first)) / 10


def shown(minutes: Fraction) -> Fraction:
    """What the slow clock has counted after so many true minutes."""
    return minutes - 4 * (minutes / 60)


def right_again() -> float:
    """In days; the dial is right when the clock is behind by a multiple of twelve hours."""
    minute = next(m for m in itertools.count(1) if (m - shown(Fraction(m))) % 720 == 0)
    return minute / (24 * 60)


def with_seven() -> list[int]:
    return [n for n in range(1, 1001) if "7" in str(n) and "3" not in str(n)]


def crease() -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
    """Where the edges of the sheet are as far from A = (0, 0) as from M = (24, 12)."""
    ends = []
    for steps in range(4 * 24 * 4):  # quarters of a centimetre along AB, BC, CD, DA
        edge, along = divmod(steps, 24 * 4)
        s, side = Fraction(along, 4), Fraction(24)
        x, y = ((s, Fraction(0)), (side, s), (side - s, side), (Fraction(0), side - s))[edge]
        if x**2 + y**2 == (x - 24) ** 2 + (y - 12) ** 2:
            ends.append((x, y))
    on_ab, other = ends  # a straight line meets the edges twice
    return on_ab, other


def stops() -> list[int]:
    """At how many floors the lift stops, for each way in which four people get out."""
    return [len(set(floors)) for floors in itertools.product(range(1, 6), repeat=4)]


# ---- coding --------------------------------------------------------------------------------------


def copied(question: Question) -> str:
    program = question.turns[0].replace("backup = values", "backup = list(values)")
    assert program != question.turns[0]
    assert "backup = list(values)" in question.turns[1]
    return output_of(program)


def nulls_found(question: Question) -> int:
    import sqlite3

    rows, missing = numbers(question.turns[1])
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE loans (reader, book, returned)")
        days = [None] * missing + ["a day"] * (rows - missing)
        database.executemany("INSERT INTO loans VALUES ('x', 'y', ?)", [(d,) for d in days])
        [query] = re.findall(r"SELECT .*? = NULL", question.turns[1])
        [(count,)] = database.execute(query)
    return int(count)


PROOFS: dict[tuple[int, int], Proof] = {
    (13, 0): lambda q: queue_end(),
    (14, 0): lambda q: truthful(),
    (15, 0): lambda q: jar(),
    (16, 0): lambda q: day(100),
    (16, 1): lambda q: day(-200),
    (17, 0): lambda q: doors(range(1, 31)),
    (17, 1): lambda q: doors(range(1, 31, 2)),
    (18, 0): lambda q: weighings(9),
    (18, 1): lambda q: weighings(40),
    (59, 0): lambda q: baking(numbers(q.turns[0])[:4]),
    (59, 1): lambda q: baking([*numbers(q.turns[0])[:4], *numbers(q.turns[1])]),
    (60, 0): lambda q: pea(q.turns[0])[0],
    (60, 1): lambda q: pea(q.turns[0]).index(2) + 1,
    (61, 0): lambda q: next(n for n in itertools.count(1) if gloves(n)),
    (61, 1): lambda q: fewest_felt(),
    (62, 0): lambda q: key_statement(q.turns[0], after=False),
    (62, 1): lambda q: key_statement(q.turns[0], after=True),
    (63, 0): lambda q: flats("flute"),
    (63, 1): lambda q: flats("cello", harp=2),
    (19, 0): lambda q: remainder(),
    (20, 0): lambda q: 1 / (Fraction(1, 6) + Fraction(1, 4) - Fraction(1, 12)),
    (21, 0): lambda q: dice(2),
    (21, 1): lambda q: dice(3),
    (22, 0): lambda q: coins(99),
    (22, 1): lambda q: coins(6),
    (23, 0): lambda q: sum(n for n in range(100, 1000) if n % 7 == 0 and n % 5),
    (24, 0): lambda q: math.prod(sides()),
    (24, 1): lambda q: min(sides()),
    (64, 0): lambda q: lamp(),
    (64, 1): lambda q: lamp_back(),
    (65, 0): lambda q: next(m for m in itertools.count(1) if shown(Fraction(m)) == 4 * 60 + 40),
    (65, 1): lambda q: right_again(),
    (66, 0): lambda q: len(with_seven()),
    (66, 1): lambda q: with_seven()[99],
    (67, 0): lambda q: 24 - crease()[0][0],
    (67, 1): lambda q: sum((a - b) ** 2 for a, b in zip(*crease(), strict=True)),
    (68, 0): lambda q: Fraction(stops().count(3), len(stops())),
    (68, 1): lambda q: sum(stops()) / len(stops()),
    (25, 0): lambda q: output_of(q.turns[0]),
    (27, 0): lambda q: letter(q.turns[0], lambda text: bool(re.search(r"^a(bc)*d?$", text))),
    (30, 0): lambda q: output_of(q.turns[0]),
    (30, 1): copied,
    (69, 1): nulls_found,
    (71, 0): lambda q: output_of(q.turns[0]),
}
