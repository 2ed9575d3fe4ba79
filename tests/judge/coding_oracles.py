"""Runs the code of a reference answer against a second way to the same result.

A program of its own, started by the tests once a reference: `coding_oracles.py ID TURN`, with
{"code", "turns"} in JSON on its standard input. Exit code 0 means that the code did what the
question asks. Knows Python's library alone.
"""

from __future__ import annotations

import calendar
import io
import itertools
import json
import math
import random
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

Oracle = Callable[[str, list[str]], None]


def scope_of(code: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope


def refused(function: Callable[[Any], Any], value: Any) -> bool:
    try:
        function(value)
    except ValueError:
        return True
    return False


def texts(alphabet: str, longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        yield from map("".join, itertools.product(alphabet, repeat=length))


# ---- a list of one's own, runs, years ------------------------------------------------------------


def own_list(code: str, turns: list[str]) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        add = scope_of(code)["add"]
    assert printed.getvalue() == "[2]\n"
    given: list[int] = []
    assert add(7, given) is given == [7]
    assert add(1) is not add(1)


def longest_run(code: str, turns: list[str]) -> None:
    function = scope_of(code)["longest_run"]
    for text in texts("abc", 6):
        runs = ["".join(run) for _, run in itertools.groupby(text)]
        assert function(text) == max(runs, key=len, default=""), text


def leap_year(code: str, turns: list[str]) -> None:
    right, wrong = (
        scope_of(code)["is_leap"],
        scope_of(turns[0][turns[0].index("def ") :].split("\n\n")[0]),
    )
    for year in range(1, 4001):
        assert right(year) == calendar.isleap(year)
        assert (wrong["is_leap"](year) != calendar.isleap(year)) == (year % 400 == 0)


# ---- intervals -----------------------------------------------------------------------------------


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) <= int(other)

    def __gt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) > int(other)

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return isinstance(other, int) and int(self) == int(other)

    __hash__ = int.__hash__


def joined(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """By the points that are covered, in halves, so that neighbours that don't touch stay apart."""
    points = sorted({p for start, end in intervals for p in range(2 * start, 2 * end + 1)})
    found: list[tuple[int, int]] = []
    for point in points:
        if found and point == found[-1][1] + 1:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return [(low // 2, high // 2) for low, high in found]


def merged(code: str, turns: list[str]) -> None:
    merge = scope_of(code)["merge"]
    every = [(a, b) for a in range(5) for b in range(a, 5)]
    for count in range(4):
        for intervals in itertools.product(every, repeat=count):
            assert merge(list(intervals)) == joined(list(intervals)), intervals
    rng = random.Random(1)
    for n in (500, 1000, 2000):  # the running time that the second reference states
        Counted.compared = 0
        merge([(Counted(s), Counted(s + 3)) for s in rng.choices(range(10**6), k=n)])
        assert Counted.compared <= 2 * n * math.log2(n) + 4 * n


def inserted(code: str, turns: list[str]) -> None:
    insert, rng = scope_of(code)["insert"], random.Random(2)
    for _ in range(400):
        held: list[tuple[int, int]] = []
        seen: list[tuple[int, int]] = []
        for _ in range(8):
            start = rng.randrange(20)
            seen.append((start, start + rng.randrange(5)))
            insert(held, *seen[-1])
            assert held == joined(seen), seen
    n = 4096
    Counted.compared = 0
    insert([(Counted(4 * i), Counted(4 * i + 1)) for i in range(n)], Counted(9000), Counted(9007))
    assert Counted.compared <= 2 * math.log2(n) + 8


# ---- SQL, durations, lists -----------------------------------------------------------------------


def still_out(code: str, turns: list[str]) -> None:
    rng = random.Random(3)
    for size in range(30):
        rows = [(rng.choice("abcd"), "book", rng.choice([None, "a day"])) for _ in range(size)]
        with sqlite3.connect(":memory:") as database:
            database.execute("CREATE TABLE loans (reader TEXT, book TEXT, returned TEXT)")
            database.executemany("INSERT INTO loans VALUES (?, ?, ?)", rows)
            found = database.execute(code).fetchall()
        out = {reader: 0 for reader, _, _ in rows}
        for reader, _, returned in rows:
            out[reader] += returned is None
        assert found == sorted(out.items(), key=lambda item: (-item[1], item[0]))


def duration(text: str) -> int | None:
    """Read by hand, character by character; None when it is none."""
    units, total, digits = "hms", 0, ""
    for char in text:
        if char in "0123456789":
            digits += char
        elif char in units and digits:
            total += int(digits) * {"h": 3600, "m": 60, "s": 1}[char]
            units, digits = units[units.index(char) + 1 :], ""
        else:
            return None
    return total if text and not digits else None


def to_seconds(code: str, turns: list[str]) -> None:
    function = scope_of(code)["to_seconds"]
    for text in (*texts("06hms -", 5), "2h5m", "45s", "1h30s", "100h99m61s", "5s\n", "1.5h"):
        wanted = duration(text)
        assert refused(function, text) if wanted is None else function(text) == wanted, text
    assert (function("2h5m"), function("45s"), function("1h30s")) == (7500, 45, 3630)


def to_text(code: str, turns: list[str]) -> None:
    function = scope_of(code)["to_text"]
    for seconds in (*range(20_000), 360_000, 359_999):
        text = function(seconds)
        assert duration(text) == seconds
        parts = re.findall(r"(\d+)([hms])", text)
        assert all(int(number) < 60 for number, unit in parts if unit != "h")
        assert seconds == 0 or all(int(number) for number, _ in parts)
    assert function(0) == "0s"
    assert refused(function, -1)


def dropped(code: str, turns: list[str]) -> None:
    function, rng = scope_of(code)["drop_small"], random.Random(4)
    for size in range(60):
        given = [rng.randrange(10) for _ in range(size)]
        kept = function(copy := list(given), 5)
        assert copy == given
        assert kept is not copy
        assert kept == list(itertools.filterfalse((5).__gt__, given))


# ---- brackets and mazes --------------------------------------------------------------------------


def rounds(text: str) -> int | None:
    """How often the innermost pairs can be taken out until nothing is left; None if it can't be."""
    count = 0
    while (rest := re.sub(r"\(\)|\[\]|\{\}", "", text)) != text:
        text, count = rest, count + 1
    return None if text else count


def nested(code: str, turns: list[str]) -> None:
    depth = scope_of(code)["depth"]
    for text in texts("()a", 7):
        wanted = rounds(text.replace("a", ""))
        assert refused(depth, text) if wanted is None else depth(text) == wanted, text
    assert depth("a(b(c)d)(e)") == 2


def nested_kinds(code: str, turns: list[str]) -> None:
    depth, rng = scope_of(code)["depth"], random.Random(5)
    more = ("".join(rng.choices('()[]{}"x', k=rng.randrange(12))) for _ in range(20_000))
    for text in (*texts('()[]"', 6), *more):
        bare = re.sub(r'"[^"]*"', "", text)
        wanted = None if '"' in bare else rounds(bare.replace("x", ""))
        assert refused(depth, text) if wanted is None else depth(text) == wanted, text


def distance(maze: list[str]) -> float:
    """By relaxing every place until nothing changes."""
    place = {(r, c): char for r, row in enumerate(maze) for c, char in enumerate(row)}
    far = {at: 0.0 if char == "S" else math.inf for at, char in place.items() if char != "#"}
    changed = True
    while changed:
        changed = False
        for r, c in far:
            best = 1 + min(
                far.get((r + a, c + b), math.inf) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))
            )
            if best < far[r, c]:
                far[r, c], changed = best, True
    return min(far[at] for at, char in place.items() if char == "E")


def mazes(count: int) -> Iterator[list[str]]:
    rng = random.Random(6)
    for _ in range(count):
        high, wide = rng.randrange(1, 6), rng.randrange(2, 6)
        cells = rng.choices("#.", (0.45, 0.55), k=high * wide)
        start, end = rng.sample(range(high * wide), 2)
        cells[start], cells[end] = "S", "E"
        yield ["".join(cells[r * wide : (r + 1) * wide]) for r in range(high)]


def way(code: str, turns: list[str]) -> None:
    steps, lengths = scope_of(code)["steps"], set()
    for maze in mazes(600):
        wanted = distance(maze)
        assert steps(maze) == (-1 if wanted == math.inf else wanted), maze
        lengths.add(wanted)
    assert len(lengths) > 5


class Watched(list[str]):
    """A maze that counts how often a place of it is looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)


def way_through(code: str, turns: list[str]) -> None:
    steps = scope_of(code)["steps_through"]
    differ = 0
    for maze in mazes(600):
        broken = [maze]
        for r, c in itertools.product(range(len(maze)), range(len(maze[0]))):
            if maze[r][c] == "#":
                row = maze[r][:c] + "." + maze[r][c + 1 :]
                broken.append([*maze[:r], row, *maze[r + 1 :]])
        wanted = min(map(distance, broken))
        assert steps(maze) == (-1 if wanted == math.inf else wanted), maze
        differ += wanted != distance(maze)
    assert differ > 100
    side = 40
    large = Watched(
        "".join(random.Random(r).choices("#.", (0.3, 0.7), k=side)) for r in range(side)
    )
    list.__setitem__(large, 0, "S" + large[0][1:])
    list.__setitem__(large, side - 1, large[side - 1][:-1] + "E")
    large.looks = 0
    assert steps(large) > 0
    assert large.looks <= 20 * side * side  # two visits, four neighbours, two looks at each


ORACLES: dict[tuple[int, int], Oracle] = {
    (25, 1): own_list,
    (26, 0): longest_run,
    (28, 0): merged,
    (28, 1): inserted,
    (29, 0): leap_year,
    (69, 0): still_out,
    (70, 0): to_seconds,
    (70, 1): to_text,
    (71, 1): dropped,
    (72, 0): nested,
    (72, 1): nested_kinds,
    (73, 0): way,
    (73, 1): way_through,
}


if __name__ == "__main__":
    question_id, turn = map(int, sys.argv[1:])
    asked = json.load(sys.stdin)
    ORACLES[question_id, turn](asked["code"], asked["turns"])
    print("right")
