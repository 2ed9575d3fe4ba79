"""Numbers, places and ties in words."""

from __future__ import annotations

import pytest

from evalsuite.records import Estimate, ModelScore
from evalsuite.report import words


def models(*places: tuple[str, float | None, tuple[int, int] | None]) -> list[ModelScore]:
    return [ModelScore(name, rank, Estimate(value, None), {}, {}) for name, value, rank in places]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.7321, "share", "73.2 %"), (12.34567, "perplexity", "12.35"), (None, "share", "–")],
)
def test_numbers(value: float | None, unit: str, text: str) -> None:
    assert words.number(value, unit) == text
    assert words.number(float("nan"), unit) == "–"


def test_intervals() -> None:
    assert words.interval((0.701, 0.76)) == "70.1–76.0"
    assert words.interval((-2.0, 3.5), "points") == "-2 to 3.5"
    assert words.interval(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.31, "0.3 s"),
        (45, "45 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_small_forms() -> None:
    assert words.parameters(6_738_415_616) == "6.74 B"
    assert words.parameters(231_000) == "231 k"
    assert words.memory(2**34) == "16.0 GiB"
    assert words.day("2026-11-03T10:05:00+00:00") == "3 November 2026, 10:05 UTC"
    assert words.day("yesterday") == "yesterday"
    assert words.plural(1, "task") == "1 task"
    assert words.plural(1200, "item") == "1,200 items"
    assert words.fragment("sample", "a/b", "c d") == "#sample=a%2Fb/c%20d"


def test_verdicts() -> None:
    assert words.verdict([]) == "No model has an overall score."
    assert words.verdict(models(("a", 0.5, (1, 1)))) == "a scores 50.0 % overall."
    apart = models(("a", 0.7, (1, 1)), ("b", 0.5, (2, 2)))
    assert words.verdict(apart) == "a is first, by more than chance."
    tied = models(("a", 0.7, (1, 2)), ("b", 0.6, (1, 2)), ("c", 0.2, (3, 3)))
    assert words.verdict(tied) == "First place is open between a and b."
    many = models(*((f"m{i}", 0.5, (1, 6)) for i in range(6)))
    assert words.verdict(many) == "First place is open between m0 and 5 others."
    assert "how surely" in words.verdict(models(("a", 0.7, None)))


def test_ties_by_name_where_they_are_certain() -> None:
    chain = models(("a", 0.7, (1, 2)), ("b", 0.6, (1, 3)), ("c", 0.5, (2, 3)), ("d", 0.1, (4, 4)))
    assert words.ties(chain) == {"a": ("b",), "b": ("a", "c"), "c": ("b",), "d": ()}
    assert [words.tied(m, chain) for m in chain] == [
        "tied with b",
        "tied with a and c",
        "tied with b",
        "",
    ]
    # a ties with one model; were it its neighbour b, b would have a tie too.
    odd = models(("a", 0.7, (1, 2)), ("b", 0.6, (2, 2)), ("c", 0.5, (2, 3)))
    assert words.ties(odd)["a"] is None
    assert words.tied(odd[0], odd) == "tied with 1 other"
    assert words.tied(models(("a", None, None))[0], []).startswith("no place")
