"""Published judgments as runs: the published figures, the files of a run, what people do wrong."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from evalsuite.cli import main
from evalsuite.judge.two_scores import parse_two_scores, verdict_of_scores
from evalsuite.judge.verdict import parse_verdict
from evalsuite.leaderboard import load_run
from evalsuite.records import Game, UserError

VICUNA = "vicuna-13b:20230322-clean-lang"


def imported(name: str, path: Path, output: Path) -> dict[str, Any]:
    assert main(["import", name, str(path), "--output", str(output)]) == 0
    for file in ("report.html", "leaderboard.csv", "manifest.json"):
        assert (output / file).is_file()
    board: dict[str, Any] = json.loads((output / "leaderboard.json").read_text())
    return board


# ---- vicuna-blog --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vicuna(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("vicuna") / "run"
    imported("vicuna-blog", test_data / "judge" / "vicuna-blog", output)
    return output


@pytest.mark.parametrize(
    ("baseline", "its", "ours"),
    [
        ("llama-13b:v1", 513.0, 694.0),
        ("alpaca-13b:v1", 583.0, 704.0),
        ("bard:20230327", 664.0, 655.5),
        ("gpt-3.5-turbo:20230327", 693.0, 638.0),
    ],
)
def test_the_blog_s_sums(vicuna: Path, baseline: str, its: float, ours: float) -> None:
    (pair,) = (
        pair
        for pair in load_run(vicuna).leaderboard.pairs
        if {pair["a"], pair["b"]} == {baseline, VICUNA}
    )
    assert pair["a"] == baseline  # by name it comes first in each of these
    assert (pair["score_a"], pair["score_b"]) == (its, ours)
    assert pair["score_ratio"] == pytest.approx(ours / its)


def test_the_blog_s_92_percent_with_its_interval(vicuna: Path) -> None:
    pairs = load_run(vicuna).leaderboard.pairs
    (pair,) = (p for p in pairs if (p["a"], p["b"]) == ("gpt-3.5-turbo:20230327", VICUNA))
    assert round(100 * pair["score_ratio"], 2) == 92.06
    low, high = (100 * bound for bound in pair["score_ratio_ci"])
    assert low == pytest.approx(87.8, abs=0.5)
    assert high == pytest.approx(95.8, abs=0.5)
    assert (pair["wins_b"], pair["wins_a"], pair["ties"]) == (14, 44, 22)


def test_line_1_of_the_raw_reviews_gives_the_stored_scores(vicuna: Path) -> None:
    games = list(load_run(vicuna).games())
    assert len(games) == 13 * 80
    read = [(game, parse_two_scores(game.raw_reply or "")) for game in games]
    without = [game for game, scores in read if scores is None]
    assert len(without) == 13 * 3
    assert {game.category for game in without} == {"math"}
    assert all(scores == game.scores for game, scores in read if scores is not None)
    notes = load_run(vicuna).manifest["notes"]
    assert any("39 of 1040 reviews don't have their scores on line 1" in note for note in notes)


def test_a_run_of_the_blog_has_its_texts_and_can_be_shown_again(vicuna: Path) -> None:
    run = load_run(vicuna)
    assert len(run.questions()) == 80
    answers = run.answers(VICUNA)
    for game in run.games():
        if game.second == VICUNA:
            assert len(answers[str(game.question_id)][0]) == game.lengths[1]
    assert main(["report", str(vicuna)]) == 0
    page = (vicuna / "report.html").read_text(encoding="utf-8")
    line = re.search(r"<tr><th[^>]*>gpt-3.5-turbo:20230327</th><td[^>]*>693</td>.*?</tr>", page)
    assert line is not None
    cells = re.findall(r">([^<>]+)</(?:th|td|span|small)>", line[0])
    _, its, other, ours, share, interval, *won = cells
    assert (its, other, ours, share) == ("693", VICUNA, "638", "92.06")
    low, high = map(float, interval.split("–"))
    assert low < 92.06 < high
    assert won == ["44", "14", "22"]
    audit = run.leaderboard.judge_audit["gpt-4"]
    assert audit["swap_agreement"] is None  # one order only
    # A reviewer's id stands for a prompt there, not for a model that the server had.
    assert {game.served for game in run.games()} == {None}
    assert any("'gpt-4-0328-math' in 12 reviews" in note for note in run.manifest["notes"])
    assert audit["longer_share"] == pytest.approx(0.749, abs=1e-3)


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("8 9\nBoth are good.", (8.0, 9.0)),
        ("8.5, 9", (8.5, 9.0)),
        ("10 10", (10.0, 10.0)),
        ("Assistant 1: 8 9", None),
        ("8 9 7", None),
        ("\n8 9", None),
        ("11 2", None),
        ("8", None),
        ("", None),
    ],
)
def test_two_scores_stand_alone_on_line_1(reply: str, scores: tuple[float, float] | None) -> None:
    assert parse_two_scores(reply) == scores
    meaning = {True: "tie", False: "second"}
    wanted = "invalid" if scores is None else meaning[scores[0] == scores[1]]
    assert verdict_of_scores(scores) == wanted


# ---- mt-bench -----------------------------------------------------------------------------------


def test_the_games_parse_to_the_winners_written_in_them(test_data: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    board = imported("mt-bench", test_data / "judge" / "mt_bench", reports / "run")
    assert ">run</a>" in (reports / "index.html").read_text()  # the list of runs knows it
    games = list(load_run(reports / "run").games())
    assert len(games) == 150
    assert sum(game.verdict == "invalid" for game in games) == 3
    mark = {"[[A]]": "first", "[[B]]": "second", "[[C]]": "tie"}
    for game in games:
        found = re.search(r"\[\[[ABC]\]\]", game.raw_reply or "")  # how these were read
        assert (mark[found[0]] if found else "invalid") == game.verdict
    # Our own rule reads less, a mark on a line of its own, and never another verdict.
    ours = [(parse_verdict(game.raw_reply or ""), game.verdict) for game in games]
    assert sum(one == two != "invalid" for one, two in ours) == 133
    assert sum(one not in (two, "invalid") for one, two in ours) == 0
    (pair,) = board["pairs"]
    assert (pair["wins_a"], pair["wins_b"], pair["ties"], pair["invalid"]) == (18, 20, 35, 2)
    assert board["judge_audit"]["gpt-4"]["swapped_pairs"] == 73
    assert all(min(game.lengths) > 0 for game in games)


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def single(question: int, model: str, score: float) -> dict[str, Any]:
    return {
        "question_id": question,
        "model": model,
        "judge": ["gpt-4", "single-v1"],
        "user_prompt": "[The Start of Assistant's Answer]\nfour\n[The End of Assistant's Answer]",
        "judgment": f"Rating: [[{score}]]",
        "score": score,
        "turn": 1,
        "tstamp": 1.0,
    }


def test_answers_scored_alone_have_means_and_no_verdicts(tmp_path: Path) -> None:
    rows = [single(q, m, s) for q in range(4) for m, s in (("a", 8 + q % 2), ("b", 5))]
    path = write_lines(tmp_path / "gpt-4_single.jsonl", *rows, single(9, "b", -1))
    board = imported("mt-bench", path, tmp_path / "run")
    said = {model["name"]: model["judges"]["gpt-4"] for model in board["models"]}
    assert said["a"]["score"]["value"] == 8.5
    assert said["a"]["score"]["ci"][0] < 8.5 < said["a"]["score"]["ci"][1]
    assert said["b"]["score"] == {"value": 5.0, "ci": [5.0, 5.0], "n": 4}
    assert said["b"]["unmarked"] == 1
    assert board["pairs"] == []
    line = json.loads((tmp_path / "run" / "matches.jsonl").read_text().splitlines()[0])
    assert line["second"] is None
    assert Game.from_line(line).models == ("a",)
    assert main(["report", str(tmp_path / "run")]) == 0


# ---- alpaca-eval --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alpaca(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("alpaca") / "run"
    return imported("alpaca-eval", test_data / "judge" / "alpaca_eval", output)


def test_published_win_rates_and_standard_errors(test_data: Path, alpaca: dict[str, Any]) -> None:
    judges = {model["name"]: model["judges"] for model in alpaca["models"]}
    path = test_data / "judge" / "alpaca_eval" / "published_win_rates.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    for row in rows:
        found = judges[row["model"]][row["judge"]]
        assert 100 * found["win_rate"] == pytest.approx(float(row["pub_wr"]), abs=1e-6)
        assert 100 * found["stderr"] == pytest.approx(float(row["pub_se"]), abs=1e-6)
        assert found["games"] - found["invalid"] == float(row["pub_n"])


def test_length_controlled_rates_stand_beside_the_raw_ones(
    test_data: Path, alpaca: dict[str, Any]
) -> None:
    path = test_data / "judge" / "alpaca_eval" / "published_length_controlled.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    judges = {model["name"]: model["judges"] for model in alpaca["models"]}
    its = [judges[row["model"]]["weighted_alpaca_eval_gpt4_turbo"] for row in rows]
    found = np.array([100 * one["length_controlled"]["win_rate"] for one in its])
    wanted = np.array([float(row["published_length_controlled_win_rate"]) for row in rows])
    assert np.abs(found - wanted).mean() <= 1.1
    assert spearmanr(found, wanted)[0] >= 0.99


def test_what_the_first_place_is_worth_is_not_claimed_where_it_is_not_known(
    alpaca: dict[str, Any],
) -> None:
    for audit in alpaca["judge_audit"].values():
        assert audit["first_place_share"] is None
        assert audit["decisive_games"] == 0
        assert audit["longer_share"] > 0.5


def test_annotations_are_read_with_their_texts(tmp_path: Path) -> None:
    rows = [
        {
            "instruction": f"ask {k}",
            "output_1": "short",
            "generator_1": "base",
            "output_2": "longer " * (k + 1),
            "generator_2": "mine",
            "dataset": "helpful",
            "annotator": "weighted",
            "preference": preference,
            "price_per_example": 0.01,
            "raw_completion": "m",
        }
        for k, preference in enumerate([1.0, 1.75, 1.5, 0, None])
    ]
    path = tmp_path / "mine" / "annotations.json"
    path.parent.mkdir()
    path.write_text(json.dumps(rows), encoding="utf-8")
    board = imported("alpaca-eval", tmp_path / "mine", tmp_path / "run")
    said = {model["name"]: model["judges"]["weighted"] for model in board["models"]}
    assert said["mine"]["win_rate"] == pytest.approx((0 + 0.75 + 0.5 + 0.5) / 4)
    assert (said["mine"]["games"], said["mine"]["invalid"]) == (5, 1)
    (pair,) = board["pairs"]
    assert (pair["wins_a"], pair["wins_b"], pair["ties"], pair["invalid"]) == (1, 1, 2, 1)
    run = load_run(tmp_path / "run")
    assert run.answers("mine")["1"] == ("longer longer ",)
    assert run.questions()["4"].turns == ("ask 4",)
    assert [game.cost for game in run.games()] == [0.01] * 5


# ---- what people do wrong -----------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], name: str, path: Path, output: Path) -> str:
    assert main(["import", name, str(path), "--output", str(output)]) == 2
    assert not output.exists()
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_bad_input_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert "one of vicuna-blog, mt-bench" in refused(capsys, "arena", tmp_path, out)
    assert "no such file" in refused(capsys, "mt-bench", tmp_path / "gone", out)
    for name in ("vicuna-blog", "mt-bench", "alpaca-eval", "lm-eval"):
        assert str(tmp_path) in refused(capsys, name, tmp_path, out)
    bad = write_lines(tmp_path / "j.jsonl", {**single(1, "a", 5), "judge": "gpt-4"})
    assert "line 1: judge is not the pair" in refused(capsys, "mt-bench", bad, out)
    lost = write_lines(tmp_path / "j.jsonl", {**single(1, "a", 5), "user_prompt": "…"})
    assert "no answer of a" in refused(capsys, "mt-bench", lost, out)
    table = tmp_path / "preferences.csv.gz"
    with gzip.open(table, "wt") as file:
        file.write("judge,model,i,pref,l1,l2\nj,m,0,1.5,3,4\nj,m,1,2.5,3,4\n")
    assert "not 2.5" in refused(capsys, "alpaca-eval", table, out)
    table.write_bytes(b"not gzip")
    assert "cannot read" in refused(capsys, "alpaca-eval", table, out)


def test_a_review_of_an_answer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    from evalsuite.importing import import_run

    write_lines(tmp_path / "question.jsonl", {"question_id": 1, "text": "Why?", "category": "c"})
    write_lines(
        tmp_path / "answer" / "a.jsonl",
        {"question_id": 1, "answer_id": "x", "model_id": "a", "text": "So."},
    )
    write_lines(
        tmp_path / "review" / "r.jsonl",
        {"question_id": 1, "answer1_id": "x", "answer2_id": "y", "text": "8 9", "score": [8, 9]},
    )
    with pytest.raises(UserError, match="answer2_id y is not among"):
        import_run("vicuna-blog", tmp_path, tmp_path / "run")


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "j.jsonl", single(1, "a", 5))
    imported("mt-bench", path, tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    assert main(["import", "mt-bench", str(path), "--output", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert (tmp_path / "run-2" / "leaderboard.json").is_file()


def test_the_report_shows_rates_at_equal_length_and_claims_no_second_order(vicuna: Path) -> None:
    page = (vicuna / "report.html").read_text(encoding="utf-8")
    assert "At equal length" in page
    assert "read each pair of answers once, in one order" in page
    assert "in both orders. A win" not in page
    assert "has no result at all" not in page


def test_a_league_without_lengths_to_tell_by_says_why(tmp_path: Path) -> None:
    rows = [
        {"instruction": str(k), "output_1": "ab", "generator_1": "base", "output_2": "abc"}
        | {"generator_2": "mine", "preference": 1 + k % 2, "annotator": "j"}
        for k in range(6)
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    board = imported("alpaca-eval", path, tmp_path / "run")
    assert "by the same on every question" in board["judge_audit"]["j"]["length_control"]
    assert all(m["judges"]["j"]["length_controlled"] is None for m in board["models"])
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "There is no win rate at equal length" in page
    assert "the order in which answers were shown was not kept" in page


def test_the_audit_is_shown_with_its_intervals(vicuna: Path) -> None:
    audit = load_run(vicuna).leaderboard.judge_audit["gpt-4"]
    low, high = (100 * bound for bound in audit["intervals"]["longer_share"])
    page = (vicuna / "report.html").read_text(encoding="utf-8")
    assert f"95 % interval: {low:.0f} to {high:.0f} %." in page
