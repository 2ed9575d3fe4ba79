"""Fewer games than all: one model against the others, and games chosen where they tell most."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_server import BatchServer
from judge_server import JudgeServer
from leagues import QUICK, league

from evalsuite.cli import main
from evalsuite.judge import (
    Answer,
    BatchRules,
    JudgeResult,
    Question,
    Rules,
    count_matches,
    estimate_questions,
    judge_run,
    load_preset,
    resolve_judge,
)
from evalsuite.judge.matches import make_matches
from evalsuite.judge.prices import load_prices
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.progress import make_progress
from evalsuite.records import Game, UserError
from evalsuite.stats.matchmaking import choose_pairs, information, round_sizes
from evalsuite.store import Store

# Two turns now and then, four categories.
MANY = tuple(
    Question(f"q{i}", f"c{i % 4}", (f"Say {i}.", "Again.")[: 1 + (i % 5 == 0)]) for i in range(20)
)
FEW = MANY[:8]  # every category twice, two of two turns
NAMES = tuple(f"m{k}" for k in range(6))


def answers(names: tuple[str, ...] = NAMES) -> dict[str, list[Answer]]:
    """m0 is the worst, m5 the best, neighbours differ a little and not on every question."""
    rng = np.random.default_rng(7)
    found: dict[str, list[Answer]] = {}
    for k, name in enumerate(names):
        its = []
        for question in MANY:
            levels = [k + int(rng.integers(0, 5)) for _ in question.turns]
            its.append(
                Answer(question.question_id, tuple(f"{name}: " + "excellent " * n for n in levels))
            )
        found[name] = its
    return found


def play(
    server: JudgeServer | BatchServer,
    store: Store,
    run: str = "run-1",
    questions: tuple[Question, ...] = MANY,
    **rules: Any,
) -> JudgeResult:
    budget = rules.pop("budget", None)
    judge = rules.pop("judge", "judge")
    spec = resolve_judge(f"openai:{judge}@{server.url}", {}, prices=load_prices())
    return judge_run(
        questions,
        answers(),
        spec,
        store,
        make_progress("none"),
        run=run,
        budget=budget,
        rules=Rules(patience=QUICK, **rules),
    )


def meetings(games: tuple[Game, ...]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(sorted(game.models)) for game in games)


# ---- a baseline ---------------------------------------------------------------------------------


def test_with_a_baseline_every_other_model_meets_it_alone(store: Store) -> None:
    with JudgeServer() as server:
        result = play(server, store, baseline="m2")
        turns = sum(len(question.turns) for question in MANY)
        assert len(server.requests) == len(result.games) == 2 * 5 * turns
        assert len(result.games) == count_matches(MANY, len(NAMES), baseline=True)
        assert all("m2" in game.models for game in result.games)
        assert set(meetings(result.games).values()) == {2 * turns}
        # Nobody met the others, and a star is a league all the same.
        summary = judge_summary(result.games, list(NAMES))
        [judge] = {name for its in summary.models.values() for name in its}
        ratings = [summary.models[name][judge]["rating"] for name in NAMES]
        assert ratings == sorted(ratings)
        assert all(summary.models[name][judge]["rank"] for name in NAMES)
        assert len(summary.pairs) == 5
        assert not summary.notes
        # All pairs afterwards ask for the others only.
        asked = len(server.requests)
        play(server, store)
        assert len(server.requests) - asked == count_matches(MANY, 6) - asked


def test_a_baseline_that_is_none_of_the_models_is_told_with_their_names(store: Store) -> None:
    with JudgeServer() as server:
        with pytest.raises(UserError, match=r"--judge-baseline m9.*m0, m1, m2") as caught:
            play(server, store, baseline="m9")
        assert not server.requests
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("baseline", [None, "m3"])
@pytest.mark.parametrize("games", [None, 33, 10_000])
def test_the_estimate_counts_what_is_played(
    store: Store, repeats: int, baseline: str | None, games: int | None
) -> None:
    with JudgeServer() as server:
        preset = load_preset()
        spec = resolve_judge(f"openai:gpt-4@{server.url}", {}, prices=load_prices())
        before = estimate_questions(
            FEW, 6, spec, preset, repeats=repeats, baseline=bool(baseline), games=games
        )
        result = play(
            server,
            store,
            questions=FEW,
            repeats=repeats,
            baseline=baseline,
            games=games,
            judge="gpt-4",
            budget=100.0,
        )
        assert before.calls == result.pending + len(result.games)
        assert result.estimate is not None
        assert result.estimate.calls == before.calls
        assert result.estimate.dollars_at_most is not None
        bill = load_prices().models["gpt-4-0613"].cost(*server.usage_total)
        assert bill <= result.estimate.dollars_at_most
        assert result.pending == 0
        assert len(server.requests) == before.calls
        limit = count_matches(FEW, 6, repeats, baseline=bool(baseline))
        most = limit if games is None else min(games, limit)
        assert most - 2 * repeats < before.calls <= most


# ---- chosen games -------------------------------------------------------------------------------


def test_so_many_games_are_played_in_both_orders_on_questions_spread_evenly(store: Store) -> None:
    with JudgeServer() as server:
        result = play(server, store, games=200)
        assert len(server.requests) == 200
    assert len(result.games) == 200
    assert result.pending == 0
    played = {(g.first, g.second, g.question_id, g.turn) for g in result.games}
    assert len(played) == 200
    assert {(second, first, q, t) for first, second, q, t in played} == played
    # Neighbours tell more of each other than the best and the worst do.
    met = meetings(result.games)
    near = [met[NAMES[k], NAMES[k + 1]] for k in range(5)]
    assert min(near) > met["m0", "m5"]
    assert np.mean(near) > 1.3 * met["m0", "m5"]
    # Every model meets every question about as often, so categories stay balanced, too.
    for name in NAMES:
        own = [game for game in result.games if name in game.models]
        by_question = Counter(game.question_id for game in own)
        assert max(by_question.values()) - min(by_question[q.question_id] for q in MANY) <= 6
        by_category = Counter(game.category for game in own)
        assert max(by_category.values()) <= 1.5 * min(by_category.values())
    assert any("200 of 720 games were chosen" in note for note in result.notes)


def test_the_choice_follows_from_the_verdicts_not_from_the_order_of_replies(
    tmp_path: Path,
) -> None:
    found = []
    for number, (concurrency, delay) in enumerate([(1, 0.0), (16, 0.01)]):
        with Store(tmp_path / f"{number}.db") as store, JudgeServer(delay=delay) as server:
            found.append(play(server, store, games=120, concurrency=concurrency).games)
            asked = len(server.requests)
            # Another run on the same store chooses the same games, and asks for none.
            again = play(server, store, "run-2", games=120)
            assert len(server.requests) == asked
            assert again.estimate is not None
            assert again.estimate.calls == 0
            assert again.games == found[-1]
            other = play(server, store, "run-3", games=120, seed=1)
            assert meetings(other.games) != meetings(again.games) or other.games != again.games
    keys = [[(g.first, g.second, g.question_id, g.turn, g.key[:4]) for g in its] for its in found]
    assert [k[:4] for k in keys[0]] == [k[:4] for k in keys[1]]


def test_a_round_that_stops_is_gone_on_with_and_never_chooses_anew(store: Store) -> None:
    with JudgeServer(["ok"] * 70 + ["401:revoked"] * 50) as server:
        first = play(server, store, games=120, concurrency=1)
        assert first.pending == 120 - 70
        assert len(first.games) == 70
        server.choose = lambda number, body: "ok"
        whole = play(server, store, games=120)
        assert whole.pending == 0
        assert len(server.requests) == 71 + 50
    assert len(whole.games) == 120
    assert {game.key for game in first.games} <= {game.key for game in whole.games}


def test_calls_that_fail_do_not_change_a_choice_once_it_is_made(store: Store) -> None:
    broken = True

    def choose(number: int, body: dict[str, Any]) -> str:
        # A function of the answers, so the same calls fail whenever they are asked.
        return "400:bad" if broken and "m3" in body["messages"][1]["content"] else "ok"

    with JudgeServer(choose=choose) as server:
        first = play(server, store, games=60, concurrency=1)
        assert first.failed > 0
        broken = False
        asked = len(server.requests)
        whole = play(server, store, games=60)
        assert len(server.requests) - asked == first.failed + first.pending
    assert len(whole.games) == 60
    assert whole.failed == whole.pending == 0


def test_each_round_is_a_batch_and_pending_until_it_is_done(store: Store) -> None:
    short = BatchRules(wait=0.0, first_pause=0.01, visible_after=0.0)
    with BatchServer() as server:
        for number in range(1, 5):
            result = play(server, store, games=100, batch=short)
            assert len(server.created) == number
            assert result.pending + len(result.games) == 100
            assert "the same command goes on" in (result.stopped or "")
        whole = play(server, store, games=100, batch=short)
        assert len(server.created) == 4
        assert (len(whole.games), whole.pending, whole.stopped) == (100, 0, None)
    assert set(server.billed.values()) == {1}


def test_too_few_games_to_hold_all_models_together_are_refused(store: Store) -> None:
    with JudgeServer() as server:
        with pytest.raises(UserError, match="6 models need 10 games at least"):
            play(server, store, games=9)
        result = play(server, store, games=10)
        assert not server.requests[10:]
    summary = judge_summary(result.games, list(NAMES))
    assert not summary.notes  # one league


# ---- the pure function --------------------------------------------------------------------------


def every(m: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(m) for j in range(i + 1, m)]


def test_without_verdicts_every_pair_gets_as_many() -> None:
    pairs = every(5)
    chosen = choose_pairs(np.zeros((5, 5)), pairs, [9] * 10, 40)
    assert set(Counter(chosen).values()) == {4}
    assert len(set(chosen[:10])) == 10


def test_the_first_choices_make_one_league() -> None:
    pairs = every(9)
    chosen = choose_pairs(np.zeros((9, 9)), pairs, [9] * len(pairs), 8)
    group = list(range(9))
    for choice in chosen:
        i, j = pairs[choice]
        group = [group[i] if g == group[j] else g for g in group]
    assert len(set(group)) == 1


def test_each_choice_lowers_the_sum_of_variances_most() -> None:
    """Against the definition: every candidate tried, the variance matrix inverted anew."""
    rng = np.random.default_rng(3)
    pairs = every(6)
    wins = rng.integers(0, 12, (6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    tells = information(wins, pairs)
    counts = np.array([wins[i, j] + wins[j, i] for i, j in pairs]) + 1e-3

    def total(counts: Any) -> float:
        laplacian = np.zeros((6, 6))
        for (i, j), weight in zip(pairs, counts * tells, strict=True):
            laplacian[i, i] += weight
            laplacian[j, j] += weight
            laplacian[i, j] -= weight
            laplacian[j, i] -= weight
        return float(np.trace(np.linalg.pinv(laplacian)))

    for choice in choose_pairs(wins, pairs, [99] * len(pairs), 25):
        after = [total(counts + (np.arange(len(pairs)) == k)) for k in range(len(pairs))]
        assert after[choice] <= min(after) * (1 + 1e-9)
        counts = counts + (np.arange(len(pairs)) == choice)


def test_no_pair_gets_more_than_it_has() -> None:
    pairs = every(3)
    assert Counter(choose_pairs(np.zeros((3, 3)), pairs, [1, 0, 2], 9)) == {0: 1, 2: 2}


def test_rounds_add_up() -> None:
    for count in range(1, 60):
        for rounds in range(1, 6):
            sizes = round_sizes(count, rounds, 0.4)
            assert sum(sizes) == count
            assert len(sizes) <= rounds
            assert min(sizes) > 0


# ---- whole runs ---------------------------------------------------------------------------------

SMALL = ("--tasks", "starter_commonsense", "--limit", "2", "--progress", "none")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question_id": k, "category": "math", "turns": [f"Question: What is 2 + {k}?\nAnswer:"]}
        for k in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(place: Path, judge: str, questions: Path, *flags: str, command: str = "run") -> int:
    where = ("--output", str(place / "run"), "--store", str(place / "store.db"))
    asked = ("--judge", judge, "--judge-questions", str(questions))
    return main([command, *SMALL, *asked, *where, *flags])


def test_a_run_by_batches_is_pending_with_exit_code_4_and_goes_on(
    tmp_path: Path,
    questions: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "evalsuite.playing.BatchRules", lambda: BatchRules(wait=0.0, first_pause=0.01)
    )
    with BatchServer(looks=1) as server:
        judge = f"openai:judge@{server.url}"
        for _ in range(2):
            assert run(tmp_path, judge, questions, "--judge-batch") == 4
            shown = capsys.readouterr().err
            assert "the same command goes on" in shown
            assert shown.count("\n") == 1
            board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
            assert all(model["tasks"] for model in board["models"])
            assert (tmp_path / "run" / "report.html").is_file()
            manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
            assert manifest["status"] == "partial"
            assert manifest["judging"]["judges"][0]["pending"] > 0
        assert run(tmp_path, judge, questions, "--judge-batch") == 0
        assert len(server.created) == 1
    assert not (tmp_path / "run-2").exists()
    games = (tmp_path / "run" / "matches.jsonl").read_text().splitlines()
    assert len(games) == 6


def test_flags_that_can_not_be_kept_are_told_before_anything_runs(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BatchServer(has_batches=False) as server:
        judge = f"openai:judge@{server.url}"
        for flags, said in (
            ((judge, "--judge-batch"), "has no Batch API: leave out --judge-batch"),
            (("local:demo-small", "--judge-batch"), "takes no batches"),
            (("reference", "--judge-batch"), "takes no batches"),
            ((judge, "--judge-baseline", "x"), "no model of this run"),
            ((judge, "--judge-games", "4", "--judge-preset", "score"), "each answer alone"),
            (("reference", "--judge-games", "4"), "references decide at no cost"),
        ):
            name, *rest = flags
            assert run(tmp_path, name, questions, *rest) == 2, flags
            shown = capsys.readouterr().err
            assert said in shown
            assert shown.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_the_plan_counts_the_games_of_a_baseline_and_of_a_choice(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BatchServer() as server:
        judge = f"openai:gpt-4@{server.url}"
        models = ("--models", "a=demo-small", "b=demo-large", "c=demo-small")
        for flags, calls in (
            ((), 18),
            (("--judge-baseline", "b"), 12),
            (("--judge-games", "7"), 6),
            (("--judge-batch",), 18),
        ):
            assert run(tmp_path, judge, questions, *models, *flags, command="plan") == 0
            shown = capsys.readouterr().out
            assert f"judging: {calls} calls" in shown
            assert ("halved for a batch" in shown) == ("--judge-batch" in flags)
        assert not server.asked


def test_a_small_league_of_good_and_poor_answers_is_left_as_it_was(store: Store) -> None:
    """As many games as there are: all of them, and the same ratings as without the flag."""
    with JudgeServer() as server:
        spec = resolve_judge(f"openai:judge@{server.url}", {})
        results = []
        for games in (None, 10_000):
            questions = tuple(Question(f"q{i}", "c", (f"Request number {i}?",)) for i in range(6))
            result = judge_run(
                questions,
                league("good", "fair", "poor"),
                spec,
                store,
                make_progress("none"),
                run=str(games),
                rules=Rules(games=games, patience=QUICK),
            )
            results.append({(g.first, g.second, g.question_id): g for g in result.games})
    assert results[0] == results[1]
    assert len(make_matches(questions, ["a", "b", "c"])) == len(results[0])
