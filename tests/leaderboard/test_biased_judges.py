"""Judges with a planted bias: what the leaderboard and the audit say of them."""

from __future__ import annotations

import numpy as np
from games import board_of, game

from evalsuite.leaderboard.decisions import decide
from evalsuite.leaderboard.doubts import doubts
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.records import Game, Verdict


def league(biased_to: str, seed: int = 0, questions: int = 80) -> list[Game]:
    """Two equal models, one of them wordier, in both orders."""
    rng = np.random.default_rng(seed)
    games = []
    for q in range(questions):
        lengths = {"wordy": int(rng.normal(900, 250)), "terse": int(rng.normal(650, 250))}
        for first, second in (("wordy", "terse"), ("terse", "wordy")):
            longer: Verdict = "first" if lengths[first] > lengths[second] else "second"
            verdict: Verdict = "first" if biased_to == "place" else longer
            games.append(game(q, first, second, verdict, lengths=(lengths[first], lengths[second])))
    return games


def test_a_judge_that_always_takes_the_first_place_decides_nothing() -> None:
    games = league("place")
    assert {one.outcome for one in decide(games)} == {"tie"}
    summary = judge_summary(games, ["wordy", "terse"])
    audit = summary.audit["j"]
    assert audit["first_place_share"] == 1.0
    assert audit["swap_agreement"] == 0.0
    assert audit["intervals"]["first_place_share"][0] > 0.9
    for model in ("wordy", "terse"):
        said = summary.models[model]["j"]
        assert said["win_rate"] == 0.5
        assert said["rank"] == [1, 2]
        low, high = said["length_controlled"]["ci"]
        assert low < 0.5 < high
    (doubt,) = doubts(board_of(summary))
    assert doubt.startswith("The judge j gave the same verdict in both orders to 0 % (0 to ")
    assert "100 % of wins went to the first place" in doubt


def test_a_judge_that_takes_the_longer_answer_is_shown_and_undone() -> None:
    for seed in range(10):
        summary = judge_summary(league("length", seed), ["wordy", "terse"])
        audit, said = summary.audit["j"], summary.models["wordy"]["j"]
        assert audit["longer_share"] == 1.0
        assert audit["swap_agreement"] == 1.0
        assert said["win_rate"] > 0.6
        assert said["ci"][0] > 0.5  # the raw rate is sure of a difference that is none
        low, high = said["length_controlled"]["ci"]
        assert low <= 0.5 <= high
        (doubt,) = doubts(board_of(summary))
        assert doubt.startswith("The judge j chose the longer answer in 100 % (")


def test_a_judge_that_calls_everything_a_tie_or_gives_one_score_is_shown() -> None:
    lengths = {"wordy": 900, "terse": 600}
    orders = [("wordy", "terse"), ("terse", "wordy")]
    ties = [game(q, *order, "tie") for q in range(40) for order in orders]
    (doubt,) = doubts(board_of(judge_summary(ties, list(lengths))))
    assert doubt == "The judge j called every game a tie: it tells nothing of the models."

    def scored(last: float) -> list[Game]:
        return [
            game(q, name, None, "tie", scores=(last if q == 39 else 7.0,), preset="score")
            for q in range(40)
            for name in lengths
        ]

    (doubt,) = doubts(board_of(judge_summary(scored(7.0), list(lengths))))
    assert doubt.startswith("The judge j gave all 80 answers the same score, 7:")
    assert doubts(board_of(judge_summary(scored(8.0), list(lengths)))) == ()


def test_a_fair_judge_is_not_doubted() -> None:
    rng = np.random.default_rng(5)
    games = []
    for q in range(80):
        better = ("wordy", "terse")[int(rng.random() < 0.5)]
        for first, second in (("wordy", "terse"), ("terse", "wordy")):
            noisy = rng.random() < 0.25  # a fifth or so of pairs change with the order
            winner = first if noisy else better
            verdict: Verdict = "first" if winner == first else "second"
            lengths = (int(rng.normal(900, 250)), int(rng.normal(800, 250)))
            games.append(game(q, first, second, verdict, lengths=lengths))
    assert doubts(board_of(judge_summary(games, ["wordy", "terse"]))) == ()


def test_repeats_show_their_spread() -> None:
    import dataclasses

    games = league("length", questions=20)
    second = [dataclasses.replace(game, repeat=2) for game in league("place", questions=20)]
    audit = judge_summary([*games, *second], ["wordy", "terse"]).audit["j"]
    assert audit["repeated_games"] == 40
    assert audit["repeat_agreement"] == 0.5
