"""Games to leaderboard numbers: decisions, win rates, broken leagues, the audit's shares."""

from __future__ import annotations

import json
from collections.abc import Iterable
from unittest.mock import ANY

import pytest
from games import game

from evalsuite.leaderboard.decisions import decide
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.records import Game, Verdict


def both(question: int, a: str, b: str, one: Verdict, two: Verdict, **more: object) -> list[Game]:
    return [game(question, a, b, one, **more), game(question, b, a, two, **more)]  # type: ignore[arg-type]


def outcomes(games: Iterable[Game]) -> list[str]:
    return [decision.outcome for decision in decide(games)]


def test_orders_that_agree_decide_and_others_tie() -> None:
    assert outcomes(both(1, "x", "y", "first", "second")) == ["a"]
    assert outcomes(both(1, "x", "y", "second", "first")) == ["b"]
    assert outcomes(both(1, "y", "x", "first", "second")) == ["b"]
    for pair in [("first", "first"), ("tie", "tie"), ("first", "tie"), ("tie", "second")]:
        assert outcomes(both(1, "x", "y", *pair)) == ["tie"]  # type: ignore[arg-type]
    assert outcomes(both(1, "x", "y", "first", "invalid")) == ["invalid"]
    assert outcomes([game(1, "x", "y", "first")]) == ["a"]  # one order is all there is


def test_the_summary_is_json_and_counts_every_game_once() -> None:
    games = [
        *both(1, "x", "y", "first", "second"),
        *both(2, "x", "y", "first", "first", category="writing"),
        *both(3, "x", "y", "invalid", "second"),
        *both(1, "x", "y", "second", "first", repeat=2),
    ]
    summary = judge_summary(games, ["x", "y"])
    json.dumps([summary.models, summary.pairs, summary.audit], allow_nan=False)
    assert summary.pairs == (
        {"judge": "j", "a": "x", "b": "y", "wins_a": 1, "wins_b": 1, "ties": 1, "invalid": 1,
         "score_a": None, "score_b": None, "win_rate_a": 0.5, "win_rate_a_ci": ANY},
    )  # fmt: skip
    x = summary.models["x"]["j"]
    assert (x["games"], x["invalid"], x["win_rate"]) == (8, 1, 0.5)
    assert x["ci"][0] < 0.5 < x["ci"][1]
    assert x["rating"] == pytest.approx(1000)
    assert x["rank"] == [1, 2]
    assert {c: v["decisions"] for c, v in x["categories"].items()} == {"math": 2, "writing": 1}


def test_judges_are_summed_apart_and_strangers_refused() -> None:
    games = both(1, "x", "y", "first", "second") + both(
        1, "x", "y", "second", "first", judge="other"
    )
    summary = judge_summary(games, ["x", "y", "never played"])
    assert summary.models["x"]["j"]["win_rate"] == 1.0
    assert summary.models["x"]["other"]["win_rate"] == 0.0
    assert summary.models["never played"] == {}
    with pytest.raises(ValueError, match="games of y"):
        judge_summary(games, ["x"])


def test_a_league_that_falls_apart_has_win_rates_but_no_ratings_and_says_why() -> None:
    games = both(1, "a", "b", "first", "second") + both(1, "c", "d", "first", "second")
    summary = judge_summary(games, ["a", "b", "c", "d"])
    assert summary.models["a"]["j"]["win_rate"] == 1.0
    assert summary.models["a"]["j"]["rating"] is None
    assert "a, b | c, d" in summary.notes[0]


def test_a_judge_without_a_single_verdict_has_no_numbers() -> None:
    summary = judge_summary(both(1, "a", "b", "invalid", "invalid"), ["a", "b"])
    assert summary.models["a"]["j"]["win_rate"] is None
    assert summary.audit["j"]["invalid_rate"] == 1.0
    assert summary.audit["j"]["swap_agreement"] is None
    assert "no pair has a verdict" in summary.notes[0]


def test_the_audit_tells_position_and_length_apart() -> None:
    # The first place wins always; the longer answer stands first in one game of each pair.
    games = []
    for question in range(5):
        games.append(game(question, "x", "y", "first", lengths=(30, 20)))
        games.append(game(question, "y", "x", "first", lengths=(20, 30)))
    audit = judge_summary(games, ["x", "y"]).audit["j"]
    assert audit["first_place_share"] == 1.0
    assert audit["swap_agreement"] == 0.0
    assert audit["longer_share"] == 0.5
    # The longer one wins always.
    games = [
        game(q, a, b, v, lengths=n)  # type: ignore[arg-type]
        for q in range(5)
        for a, b, v, n in (("x", "y", "first", (30, 20)), ("y", "x", "second", (20, 30)))
    ]
    audit = judge_summary(games, ["x", "y"]).audit["j"]
    assert (audit["longer_share"], audit["swap_agreement"], audit["first_place_share"]) == (
        1,
        1,
        0.5,
    )
