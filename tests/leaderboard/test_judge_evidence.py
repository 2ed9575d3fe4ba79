"""The audit beside labels, families, repeats and other judges, each number by another way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from games import board_of, game
from statsmodels.stats.inter_rater import cohens_kappa

from evalsuite.leaderboard.doubts import doubts
from evalsuite.leaderboard.evidence import Evidence, Kin
from evalsuite.leaderboard.forms import from_json, to_json
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.leaderboard.labels import Label, read_labels
from evalsuite.records import Game, UserError, Verdict


def both(question: int, winner: str | None, **more: Any) -> list[Game]:
    """A pair of x and y in both orders with one outcome."""
    verdict: dict[str | None, tuple[Verdict, Verdict]] = {
        "x": ("first", "second"),
        "y": ("second", "first"),
        None: ("tie", "tie"),
    }
    one, two = verdict[winner]
    return [game(question, "x", "y", one, **more), game(question, "y", "x", two, **more)]


def drawn(seed: int, n: int = 200) -> list[str | None]:
    rng = np.random.default_rng(seed)
    return [("x", "y", None)[k] for k in rng.choice(3, n, p=[0.5, 0.3, 0.2])]


def noisy(truth: list[str | None], share: float, seed: int) -> list[str | None]:
    rng = np.random.default_rng(seed)
    return [t if rng.random() > share else ("x", "y", None)[rng.integers(3)] for t in truth]


def played(outcomes: list[str | None], **more: Any) -> list[Game]:
    return [g for q, winner in enumerate(outcomes) for g in both(q, winner, **more)]


# ---- labels -------------------------------------------------------------------------------------


def test_agreement_with_people_is_what_another_library_gives() -> None:
    truth = drawn(0)
    judged = noisy(truth, 0.3, 1)
    people = [noisy(truth, 0.2, seed) for seed in (2, 3, 4)]  # three labellers a game
    labels = [
        Label(str(q), 1, "y", "x", winner) for its in people for q, winner in enumerate(its)
    ] + [Label("no such question", 1, "x", "y", "x")] * 5
    summary = judge_summary(played(judged), ["x", "y"], evidence=Evidence(labels))
    found = summary.audit["j"]["labels"]
    assert (found["labels"], found["unmatched"], found["n"]) == (605, 5, 600)
    assert any("5 of 605 labels" in note for note in summary.notes)
    said = [label.winner for label in labels[:600]]
    pairs = list(zip(judged * 3, said, strict=True))
    assert found["raw"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    place = {"x": 0, "y": 1, None: 2}
    counts = np.zeros((3, 3))
    for a, b in pairs:
        counts[place[a], place[b]] += 1
    assert found["kappa"] == pytest.approx(cohens_kappa(counts).kappa)
    low, high = found["ci"]
    assert low < found["raw"] < high
    # 600 labels on 200 questions are not 600 questions: the interval is that of fewer.
    alone = 2 * 1.96 * float(np.sqrt(found["raw"] * (1 - found["raw"]) / 600))
    assert high - low > 1.2 * alone
    assert found["kappa_ci"][0] < found["kappa"] < found["kappa_ci"][1]
    clear = [(a, b) for a, b in pairs if a is not None and b is not None]
    assert found["without_ties"]["n"] == len(clear)
    assert found["without_ties"]["value"] == pytest.approx(np.mean([a == b for a, b in clear]))
    assert found["verdicts"]["n"] == 1200


def test_orders_that_disagree_are_ties_of_the_decision_but_verdicts_of_their_own() -> None:
    games = [g for q in range(30) for g in (game(q, "x", "y", "first"), game(q, "y", "x", "first"))]
    labels = [Label(str(q), 1, "x", "y", "x") for q in range(30)]
    found = judge_summary(games, ["x", "y"], evidence=Evidence(labels)).audit["j"]["labels"]
    assert found["raw"] == 0.0  # every decision is a tie
    assert found["verdicts"]["value"] == 0.5
    assert found["without_ties"] == {"value": None, "ci": None, "n": 0}
    assert found["kappa"] == pytest.approx(0.0)


def test_llmbar_by_order_after_the_swap_and_against_its_gold(test_data: Path) -> None:
    path = test_data / "judge" / "llmbar" / "natural_gpt4_vanilla.jsonl"
    games, labels = [], []
    verdict: dict[tuple[str, bool], Verdict] = {
        ("1", False): "first",
        ("2", False): "second",
        ("1", True): "second",  # "1" is the first output's name, which was shown second
        ("2", True): "first",
    }
    for q, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        labels.append(Label(str(q), 1, "1", "2", str(row["label"])))
        for swap in (False, True):
            winner = row["results"][0][f"swap = {swap}"]["winner"]
            shown = ("2", "1") if swap else ("1", "2")
            games.append(game(q, *shown, verdict[winner, swap]))
    straight, swapped = (
        judge_summary(games[k::2], ["1", "2"], evidence=Evidence(labels)).audit["j"]["labels"]
        for k in (0, 1)
    )
    assert (straight["raw"], swapped["raw"]) == (0.95, 0.96)
    audit = judge_summary(games, ["1", "2"], evidence=Evidence(labels)).audit["j"]
    assert audit["swap_agreement"] == 0.95
    assert audit["labels"]["verdicts"]["value"] == pytest.approx(0.955)
    # Five decisions are ties, as the orders disagree; the gold has none.
    clear = audit["labels"]["without_ties"]
    assert clear["n"] == 95
    assert clear["value"] == pytest.approx((95.5 - 2.5) / 95)


def test_labels_are_read_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [
        {"question_id": 81, "model_a": "x", "model_b": "y", "winner": "model_b", "turn": 2,
         "judge": ["expert_1", "pair"], "tstamp": 1.5},
        {"question_id": 81, "model_a": "y", "model_b": "x", "winner": "tie", "turn": 1},
        {"question_id": "81", "model_a": "x", "model_b": "y", "winner": "tie (bothbad)"},
        {"question_id": "q", "a": "x", "b": "y", "winner": "y"},
        {"question_id": "q", "turn": 3, "a": "x", "b": "y", "winner": "tie"},
    ]  # fmt: skip
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    assert read_labels(path) == (
        Label("81", 2, "x", "y", "y"),
        Label("81", 1, "y", "x", None),
        Label("81", 1, "x", "y", None),
        Label("q", 1, "x", "y", "y"),
        Label("q", 3, "x", "y", None),
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x wins", "Expecting value"),
        ("[1]", "a JSON object is wanted"),
        ('{"question_id": 1, "winner": "x"}', "the two models are not named"),
        ('{"question_id": 1, "a": "x", "b": "x", "winner": "x"}', "compared with itself"),
        ('{"a": "x", "b": "y", "winner": "x"}', "question_id must be"),
        ('{"question_id": 1, "a": "x", "b": "y", "winner": "model_a"}', "not x, y or tie"),
        ('{"question_id": 1, "model_a": "x", "model_b": "y", "winner": "x"}', "not model_a"),
        ('{"question_id": 1, "a": "x", "b": "y"}', "winner is None"),
        ('{"question_id": 1, "turn": 0, "a": "x", "b": "y", "winner": "x"}', "turn must be"),
    ],
)
def test_a_bad_label_is_named_by_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"question_id": 1, "a": "x", "b": "y", "winner": "x"}\n' + line)
    with pytest.raises(UserError, match=rf"labels\.jsonl, line 2: .*{reason}") as found:
        read_labels(path)
    assert "\n" not in str(found.value)


def test_files_without_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with pytest.raises(UserError, match="cannot read"):
        read_labels(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="there is no label"):
        read_labels(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_labels(path)


# ---- families -----------------------------------------------------------------------------------


def test_favour_for_its_own_family_is_told_from_a_family_that_is_better() -> None:
    truth = drawn(5, 300)
    labels = [Label(str(q), 1, "x", "y", winner) for q, winner in enumerate(truth)]
    rng = np.random.default_rng(6)
    biased = ["x" if rng.random() < 0.4 else t for t in truth]
    kin = {"j": Kin("gpt", {"x": "answers"})}
    fair = judge_summary(played(truth), ["x", "y"], evidence=Evidence(labels, kin)).audit["j"]
    own = fair["own_family"]
    points = [{"x": 1.0, "y": 0.0, None: 0.5}[t] for t in truth]
    assert own["share"]["value"] == pytest.approx(np.mean(points))
    assert own["share"]["ci"][0] > 0.5  # it is better, which is no favour
    assert own["favour"]["value"] == 0.0
    games = played(biased)
    favour = judge_summary(games, ["x", "y"], evidence=Evidence(labels, kin)).audit["j"][
        "own_family"
    ]["favour"]
    given = [{"x": 1.0, "y": 0.0, None: 0.5}[t] for t in biased]
    assert favour["value"] == pytest.approx(np.mean(given) - np.mean(points))
    assert favour["ci"][0] > 0
    assert favour["n"] == 300


def test_comparisons_inside_a_family_say_nothing_of_favour() -> None:
    kin = {"j": Kin("gpt", {"x": "weights", "y": "weights"})}
    summary = judge_summary(played(drawn(1)), ["x", "y"], evidence=Evidence((), kin))
    own = summary.audit["j"]["own_family"]
    assert own["share"] == {"value": None, "ci": None, "n": 0}
    assert own["favour"] is None
    [warning] = doubts(board_of(summary))
    assert "j judges its own (gpt): x and y are of the same family" in warning


# ---- repeats, judges, the server's model --------------------------------------------------------


def test_the_spread_over_repeats_is_of_what_all_repeats_decided() -> None:
    rounds = [noisy(drawn(7), 0.5, seed) for seed in (8, 9, 10)]
    games = [g for r, its in enumerate(rounds, start=1) for g in played(its, repeat=r)]
    games += both(999, "x", repeat=1)  # the other repeats have no such question
    spread = judge_summary(games, ["x", "y"]).audit["j"]["win_rate_spread"]
    rates = [np.mean([{"x": 1.0, "y": 0.0, None: 0.5}[t] for t in its]) for its in rounds]
    assert spread["x"] == pytest.approx(np.std(rates, ddof=1))
    assert spread["y"] == pytest.approx(spread["x"])
    assert judge_summary(played(drawn(7)), ["x", "y"]).audit["j"]["win_rate_spread"] is None


def test_judges_of_one_run_are_held_against_each_other() -> None:
    truth = drawn(11)
    ours, theirs = noisy(truth, 0.2, 12), noisy(truth, 0.4, 13)
    games = [*played(ours, judge="j"), *played(theirs[:150], judge="k")]
    audit = judge_summary(games, ["x", "y"]).audit
    found = audit["j"]["judges"]["k"]
    assert found["n"] == 150
    assert found["raw"] == pytest.approx(
        np.mean([a == b for a, b in zip(ours, theirs[:150], strict=False)])
    )
    assert audit["k"]["judges"]["j"]["kappa"] == pytest.approx(found["kappa"])
    assert audit["j"]["judges"].keys() == {"k"}
    assert judge_summary(played(ours), ["x", "y"]).audit["j"]["judges"] == {}


def test_a_change_of_the_model_behind_the_judge_marks_the_run() -> None:
    games = [
        *played(drawn(1, 20), served="judge-1"),
        *(dataclasses.replace(g, question_id=f"{g.question_id}b", served="judge-2")
          for g in played(drawn(1, 5))),
    ]  # fmt: skip
    summary = judge_summary(games, ["x", "y"])
    assert summary.audit["j"]["served"] == {"judge-1": 40, "judge-2": 10}
    [warning] = doubts(board_of(summary))
    assert "judge-1 in 40 games and judge-2 in 10 games" in warning
    same = judge_summary(played(drawn(1), served="judge-1"), ["x", "y"])
    assert doubts(board_of(same)) == ()


def test_bounds_are_the_worst_case_of_what_has_no_verdict() -> None:
    games = played(["x"] * 6 + ["y"] * 2)
    games += [game(90 + k, "x", "y", "invalid") for k in range(2)]
    summary = judge_summary(games, ["x", "y"])
    assert summary.models["x"]["j"]["win_rate"] == 0.75
    assert summary.models["x"]["j"]["bounds"] == [0.6, 0.8]
    assert summary.models["y"]["j"]["bounds"] == pytest.approx([0.2, 0.4])
    # Whatever the two would have been, the rate lies inside.
    for one, two in [("x", "x"), ("x", "y"), (None, "y"), ("y", "y")]:
        whole = judge_summary(played(["x"] * 6 + ["y"] * 2 + [one, two]), ["x", "y"])
        assert 0.6 <= whole.models["x"]["j"]["win_rate"] <= 0.8


# ---- files --------------------------------------------------------------------------------------


def test_the_audit_is_read_back_and_older_leaderboards_are_read_without_it() -> None:
    labels = [Label(str(q), 1, "x", "y", "x") for q in range(10)]
    kin = {"j": Kin("gpt", {"x": "weights"})}
    summary = judge_summary(played(drawn(3)), ["x", "y"], evidence=Evidence(labels, kin))
    board = board_of(summary)
    text = json.dumps(to_json(board), allow_nan=False)
    again = from_json(json.loads(text))
    assert json.dumps(to_json(again)) == text
    assert doubts(again) == doubts(board) != ()
    old = json.loads(text)
    for added in ("own_family", "labels", "served", "judges", "win_rate_spread"):
        del old["judge_audit"]["j"][added]
    for model in old["models"]:
        del model["judges"]["j"]["bounds"]
    assert doubts(from_json(old)) == ()
