"""The audit's pairs: what is called better is better, by running, computing or counting it."""

from __future__ import annotations

import calendar
import itertools
import json
import math
import random
import re
import statistics
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from evalsuite.judge.audit_set import TAGS, AuditPair, own_pairs, read_pairs
from evalsuite.judge.references import is_right
from evalsuite.records import UserError

PAIRS = {pair.id: pair for pair in read_pairs(own_pairs())}


def better_and_worse(pair: AuditPair) -> tuple[str, str]:
    return (pair.a, pair.b) if pair.winner == "a" else (pair.b, pair.a)


def test_the_set_is_even_in_place_and_length_and_covers_every_trap() -> None:
    clear = [pair for pair in PAIRS.values() if pair.winner != "tie"]
    assert len(PAIRS) >= 40
    assert {pair.tag for pair in PAIRS.values()} == set(TAGS)
    assert all(sum(p.tag == tag for p in PAIRS.values()) >= 4 for tag in TAGS)
    assert sum(pair.winner == "a" for pair in clear) * 2 == len(clear)
    gaps = [len(good) - len(bad) for good, bad in map(better_and_worse, clear)]
    unequal = [gap for gap in gaps if gap]
    assert sum(gap > 0 for gap in unequal) * 2 == len(unequal)
    planted = [p for p in clear if p.tag == "planted"]
    assert sum(len(good) > len(bad) for good, bad in map(better_and_worse, planted)) * 2 == 6
    for pair in clear:
        good, bad = better_and_worse(pair)
        if pair.tag == "longer":
            assert len(bad) > 4 * len(good)
        if pair.tag == "formatted":
            assert re.search(r"^#|\*\*", bad, re.MULTILINE)
            assert not re.search(r"[#*|]", good)


def test_every_check_tells_the_better_answer_and_equal_ones_are_equal_to_it() -> None:
    checked = [pair for pair in PAIRS.values() if pair.check is not None]
    assert len(checked) > 30
    for pair in checked:
        assert pair.check is not None
        right = [is_right(pair.check, text) for text in (pair.a, pair.b)]
        wanted = {"a": [True, False], "b": [False, True]}.get(pair.winner)
        assert right == wanted if wanted else right[0] == right[1], pair.id


COMPUTED: dict[str, Callable[[], object]] = {
    "maths-1": lambda: 17 * 23,
    "maths-2": lambda: Fraction(80) * Fraction(75, 100) * Fraction(90, 100),
    "maths-3": lambda: len(set(itertools.permutations("LEVEL"))),
    "maths-4": lambda: (13 * 60 + 5) - (9 * 60 + 40),
    "maths-5": lambda: sum(range(1, 51)),
    "maths-6": lambda: Fraction(
        sum(6 in rolls for rolls in itertools.product(range(1, 7), repeat=2)), 36
    ),
    "longer-2": lambda: calendar.monthrange(2100, 2)[1],
    "longer-5": lambda: len("banana") + 2,
    "confident-4": lambda: Fraction(15 * 60, 100),
    "formatted-2": lambda: Fraction(5, 2) * 60,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_checked_number_is_what_a_computation_gives(name: str) -> None:
    check = PAIRS[name].check
    assert check is not None
    assert check.kind == "number"
    assert check.answers == (str(COMPUTED[name]()),)


def test_what_stands_in_words_is_true() -> None:
    assert 7 * 13 == 91
    assert Fraction(2, 3) == Fraction(10, 15) > Fraction(9, 15) == Fraction(3, 5)
    assert 9 * 8 == 72
    assert 6 * 7 == 42
    assert math.comb(50, 2) + 50 == 1275  # 25 pairs of 51
    computed = {pair.id for pair in PAIRS.values() if pair.check and pair.check.kind == "number"}
    assert computed == set(COMPUTED)


# ---- code ---------------------------------------------------------------------------------------


def function(answer: str, name: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    match = re.fullmatch(r"```python\n(.*)\n```", answer, re.DOTALL)
    assert match is not None
    exec(match[1], scope)
    return scope[name]  # type: ignore[no-any-return]


def median(f: Callable[..., Any]) -> bool:
    rng = random.Random(1)
    lists = [[rng.randrange(50) for _ in range(n)] for n in range(1, 12)]
    return all(f(list(numbers)) == statistics.median(numbers) for numbers in lists)


def unique(f: Callable[..., Any]) -> bool:
    return f([3, 1, 3, 2, 1]) == [3, 1, 2] and f([]) == []


def flatten(f: Callable[..., Any]) -> bool:
    return f([[1, [2, [3]]], [], [4]]) == [1, 2, 3, 4]


def find(f: Callable[..., Any]) -> bool:
    numbers = [1, 3, 4, 8, 9, 12]
    found = all(f(numbers, n) == k for k, n in enumerate(numbers))
    return found and f(numbers, 5) == -1 and f([], 5) == -1


def word_counts(f: Callable[..., Any]) -> bool:
    return f("The cat and\tthe dog  and The end") == {
        "the": 3, "cat": 1, "and": 2, "dog": 1, "end": 1,
    }  # fmt: skip


def is_leap(f: Callable[..., Any]) -> bool:
    return all(bool(f(year)) == calendar.isleap(year) for year in range(1600, 2401))


PROGRAMS = {
    "code-1": median,
    "code-2": is_leap,
    "code-3": unique,
    "code-4": flatten,
    "code-5": find,
    "code-6": word_counts,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_better_program_works_and_the_worse_one_does_not(name: str) -> None:
    works = PROGRAMS[name]
    good, bad = better_and_worse(PAIRS[name])
    assert works(function(good, works.__name__))
    try:
        passed = works(function(bad, works.__name__))
    except (TypeError, IndexError):
        passed = False
    assert not passed


def test_every_program_is_run() -> None:
    assert {pair.id for pair in PAIRS.values() if pair.tag == "code"} == set(PROGRAMS)


# ---- constraints --------------------------------------------------------------------------------


def is_lena(text: str) -> bool:
    try:
        return bool(json.loads(text) == {"name": "Lena", "age": 9})
    except ValueError:
        return False


KEPT: dict[str, Callable[[str], bool]] = {
    "constraint-1": lambda text: [line[:2] for line in text.splitlines()] == ["1.", "2.", "3."],
    "constraint-2": lambda text: "blue" not in text.lower() and text.count(".") == 1,
    "constraint-3": lambda text: text == text.upper(),
    "constraint-4": lambda text: len(text.split()) == 7 and "rain" in text.lower(),
    "constraint-5": is_lena,
    "constraint-6": lambda text: text == "Bonjour, mon ami.",
    "constraint-7": lambda text: (
        text.split(", ") == sorted(["spring", "summer", "autumn", "winter"])
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_better_answer_keeps_to_what_was_asked_and_the_worse_one_does_not(name: str) -> None:
    good, bad = better_and_worse(PAIRS[name])
    assert KEPT[name](good)
    assert not KEPT[name](bad)


def test_every_constraint_is_counted() -> None:
    assert {pair.id for pair in PAIRS.values() if pair.tag == "constraint"} == set(KEPT)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        '{"id": "x"}',
        '{"id": "x", "tag": "nope", "question": "q", "a": "1", "b": "2", "winner": "a"}',
        '{"id": "x", "tag": "fact", "question": "q", "a": "1", "b": "2", "winner": "c"}',
        '{"id": "x", "tag": "fact", "question": "q", "a": "1", "b": " ", "winner": "a"}',
    ],
)
def test_a_bad_pair_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=r"pairs\.jsonl, line 2"):
        read_pairs(path)
