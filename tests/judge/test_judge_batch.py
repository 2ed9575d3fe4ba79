"""Games through the Batch API over a real socket: pending, killed, failed, garbled, billed."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from judge_server import JudgeServer
from leagues import LEVELS, QUESTIONS, QUICK, league

from evalsuite.judge import BatchRules, JudgeResult, JudgeSpec, Rules, judge_run, resolve_judge
from evalsuite.judge.prices import load_prices
from evalsuite.progress import make_progress
from evalsuite.records import UserError
from evalsuite.store import Store

GAMES = 2 * len(QUESTIONS)
SHORT = BatchRules(wait=0.0, first_pause=0.01, visible_after=0.0)
PATIENT = dataclasses.replace(SHORT, wait=10.0)
Batch = Callable[..., JudgeResult]


@pytest.fixture
def batch(store: Store) -> Batch:
    """Plays the small league in batches; keywords as those of Rules and judge_run."""

    def _batch(
        server: BatchServer,
        models: tuple[str, ...] = ("good", "poor"),
        *,
        rules: BatchRules | None = PATIENT,
        spec: JudgeSpec | None = None,
        run: str = "run-1",
        budget: float | None = None,
        **others: Any,
    ) -> JudgeResult:
        return judge_run(
            QUESTIONS,
            league(*models),
            spec or resolve_judge(f"openai:judge@{server.url}", {}),
            store,
            make_progress("none"),
            run=run,
            budget=budget,
            rules=Rules(batch=rules, patience=QUICK, **others),
        )

    return _batch


def check_right(result: JudgeResult, games: int = GAMES) -> None:
    """Every game is there once and its verdict is the right one."""
    played = {(g.question_id, g.first, g.second) for g in result.games}
    assert len(result.games) == len(played) == games
    for game in result.games:
        better = max((game.first, game.second), key=lambda name: LEVELS[name])
        assert game.winner == better
    assert (result.failed, result.pending, result.stopped) == (0, 0, None)


def test_a_batch_brings_the_games_that_single_calls_do(batch: Batch) -> None:
    with BatchServer() as server:
        result = batch(server, ("good", "fair", "poor"))
        check_right(result, 3 * GAMES)
        assert len(server.created) == 1
        assert not server.chats
        [file] = [f for f, name in server.names.items() if name.endswith(".jsonl")]
        lines = [json.loads(line) for line in server.files[file].splitlines()]
        assert {line["url"] for line in lines} == {"/v1/chat/completions"}
        assert {line["method"] for line in lines} == {"POST"}
        assert len({line["custom_id"] for line in lines}) == 3 * GAMES
        # The delimiter that is kept stands in the prompt that was sent.
        sent = {line["custom_id"]: line["body"]["messages"][1]["content"] for line in lines}
        assert all((game.delimiter or "?") in sent[game.key] for game in result.games)
        tag = server.batches[server.created[0]]["metadata"]["evalsuite"]
        assert tag in server.names[file]
        # Without --judge-batch, in another run, they are there: nothing is asked.
        again = batch(server, ("good", "fair", "poor"), rules=None, run="run-2")
        assert again.games == result.games
        assert not server.chats
        assert result.calls == 3 * GAMES
        assert again.calls == 0


def test_what_is_not_done_is_pending_and_the_same_call_goes_on(batch: Batch) -> None:
    with BatchServer(looks=1) as server:
        for status in ("validating", "in_progress"):
            first = batch(server, rules=SHORT)
            assert (len(first.games), first.pending) == (0, GAMES)
            assert f"batch_5 ({status}, 0 of 12)" in (first.stopped or "")
            assert "the same command goes on" in (first.stopped or "")
        assert len(server.created) == 1
        check_right(batch(server, rules=SHORT))
        assert len(server.created) == 1
    assert set(server.billed.values()) == {1}


def test_a_run_stays_with_a_batch_that_is_quickly_done(batch: Batch) -> None:
    with BatchServer(looks=4) as server:
        check_right(batch(server, rules=PATIENT))
        assert server.asked.count("GET /v1/batches/batch_5") == 5


def test_another_run_takes_over_what_is_pending(batch: Batch) -> None:
    with BatchServer() as server:
        assert batch(server, rules=SHORT).pending == GAMES
        check_right(batch(server, rules=SHORT, run="run-2"))
        check_right(batch(server, rules=SHORT))
        assert len(server.created) == 1


def test_a_refresh_asks_in_a_batch_of_its_own_once(batch: Batch) -> None:
    with BatchServer() as server:
        batch(server)
        for _ in range(2):
            check_right(batch(server, run="run-2", refresh=True))
        assert len(server.created) == 2


def test_only_what_the_store_lacks_is_sent(batch: Batch) -> None:
    with BatchServer() as server:
        batch(server)
        check_right(batch(server, ("good", "fair", "poor")), 3 * GAMES)
        assert len(server.created) == 2
    assert set(server.billed.values()) == {1}
    assert len(server.billed) == 3 * GAMES


# ---- kills --------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from leagues import QUESTIONS, QUICK, league
from evalsuite.judge import BatchRules, Rules, judge_run, resolve_judge
from evalsuite.progress import make_progress
from evalsuite.store import Store
with Store(Path(sys.argv[2])) as store:
    spec = resolve_judge(f"openai:judge@{sys.argv[1]}", {})
    rules = BatchRules(wait=10.0, first_pause=0.01, visible_after=0.3)
    result = judge_run(QUESTIONS, league("good", "poor"), spec, store, make_progress("none"),
                       run="one", rules=Rules(batch=rules, patience=QUICK))
    wrong = [game for game in result.games if game.winner != "good"]
    print(len(result.games), len(wrong), result.pending, result.failed)
"""


@pytest.mark.parametrize(
    ("moment", "after", "batches"),
    [
        ("files", False, 1),  # the intent is written, nothing has left
        ("files", True, 1),  # uploaded, not known here
        ("create", False, 1),  # asked for, not made
        ("create", True, 1),  # made, not recorded here
        ("retrieve", True, 1),  # recorded, and known as done there
        ("content", True, 1),  # results on their way
    ],
)
def test_a_kill_at_any_step_pays_nothing_twice_and_loses_nothing(
    tmp_path: Path, moment: str, after: bool, batches: int
) -> None:
    with BatchServer() as server:
        command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path / "store.db")]
        command.append(str(Path(__file__).parent))
        server.stop_at(moment, after=after)
        with subprocess.Popen(command) as process:
            assert server.reached.wait(60)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        # What hung at the server before its work is never done: its client was gone.
        if (moment, after) == ("create", False):
            assert not server.created
            server.troubles = {"create": []}
        before = len(server.created)
        server.hold = None
        if after:
            server.let_go()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(GAMES), "0", "0", "0"]
        if before:
            assert len(server.created) == batches
    assert Counter(server.billed.values()) == {1: GAMES}


# ---- what goes wrong on the server --------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
@pytest.mark.parametrize("kind", ["500", "expired", "429:slow down"])
def test_calls_that_failed_in_a_batch_are_asked_in_the_next(
    batch: Batch, kind: str, status: str
) -> None:
    first: set[str] = set()

    def outcome(name: str, body: dict[str, Any]) -> str:
        there = "Request number 2?" in body["messages"][1]["content"]
        if there and name not in first:
            first.add(name)
            return kind
        return "ok"

    with BatchServer(outcome=outcome, status=status) as server:
        check_right(batch(server))
        assert len(server.created) == 2
        assert server.batches[server.created[1]]["request_counts"]["total"] == 2
    assert Counter(server.billed.values()) == {1: GAMES}


def test_a_call_that_never_works_is_asked_three_times_and_then_named(batch: Batch) -> None:
    def outcome(_: str, body: dict[str, Any]) -> str:
        there = "Request number 2?" in body["messages"][1]["content"]
        return "400:too long" if there else "ok"

    with BatchServer(outcome=outcome) as server:
        result = batch(server)
        assert len(server.created) == 3
        assert (result.failed, len(result.games)) == (2, GAMES)
        assert "answered 400 (too long), in 3 batches" in result.notes[0]
        # Nor does the same command send it again; asked directly it may work.
        again = batch(server)
        assert len(server.created) == 3
        assert again.failed == 2
        check_right(batch(server, rules=None))
        assert len(server.chats) == 2


def test_a_reply_without_a_verdict_is_asked_for_in_a_next_batch_and_then_invalid(
    batch: Batch,
) -> None:
    def outcome(_: str, body: dict[str, Any]) -> str:
        there = "Request number 2?" in body["messages"][1]["content"]
        return "say:hard to tell" if there else "ok"

    with BatchServer(outcome=outcome) as server:
        result = batch(server)
        assert len(server.created) == 3
    invalid = [game for game in result.games if game.verdict == "invalid"]
    assert [(game.question_id, game.calls) for game in invalid] == [("q2", 3), ("q2", 3)]
    assert (result.failed, result.pending, len(result.games)) == (0, 0, GAMES)


def test_a_batch_refused_as_a_whole_says_why_and_costs_nothing(batch: Batch) -> None:
    with BatchServer(refuse="Enqueued token limit reached") as server:
        with pytest.raises(UserError, match=r"Enqueued token limit reached.*nothing of it was"):
            batch(server, spec=priced(server), budget=5.0)
        assert len(server.created) == 1
        server.refuse = None
        result = batch(server, spec=priced(server), budget=5.0)
    check_right(result)
    price = load_prices().models["gpt-4-0613"]
    assert result.dollars == pytest.approx(price.cost(*server.tokens) / 2)


@pytest.mark.parametrize(
    "troubles",
    [
        {"files": ["500", "cut", "429", "cut-after", "garbage"][:3]},
        {"files": ["cut-after"]},
        {"list": ["500"], "create": ["500"]},
        {"create": ["cut-after"]},
        {"create": ["garbage"]},
        {"create": ["cut", "429", "cut-after"]},
        {"retrieve": ["500", "cut", "garbage"]},
        {"content": ["half"]},
    ],
)
def test_a_server_in_trouble_pays_no_batch_twice(
    batch: Batch, troubles: dict[str, list[str]]
) -> None:
    with BatchServer(looks=1, troubles={k: list(v) for k, v in troubles.items()}) as server:
        check_right(batch(server))
        assert len(server.created) == 1
        assert not any(server.troubles.values())
    assert set(server.billed.values()) == {1}


def test_a_batch_that_this_key_does_not_know_is_not_sent_again(batch: Batch) -> None:
    with BatchServer(looks=1) as server:
        batch(server, rules=SHORT)
        lost = server.batches.pop(server.created[0])
        for _ in range(2):
            result = batch(server, rules=SHORT)
            assert "is not among those of this key" in (result.stopped or "")
            assert result.pending == GAMES
        assert len(server.created) == 1
        server.batches[lost["id"]] = lost
        check_right(batch(server))
    assert set(server.billed.values()) == {1}


def test_a_batch_made_twice_is_used_once_and_told(batch: Batch, store: Store) -> None:
    with BatchServer(looks=1) as server:
        batch(server, rules=SHORT)
        whole = server.batches[server.created[0]]
        server.batches["batch_twin"] = {**whole, "id": "batch_twin"}
        store.extend("").execute("UPDATE judge_batches SET server_id = NULL")
        result = batch(server)
    check_right(result)
    assert any("twice, batch_5 and batch_twin: cancel the second" in n for n in result.notes)


# ---- garbled results ----------------------------------------------------------------------------


def rows(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


def lines(content: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in content)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def with_garbage(content: bytes) -> bytes:
    parts = content.splitlines(keepends=True)
    return b"".join([b"\xff\xfe{\n", *parts[1:], b'[1]\n{"custom_id": 7}\n'])


def with_strangers(content: bytes) -> bytes:
    its = rows(content)
    return lines([{**its[0], "custom_id": "nobody"}, *its, {**its[0], "custom_id": "f" * 32}])


def with_twins(content: bytes) -> bytes:
    return lines([row for row in rows(content) for _ in range(2)])


def contradicting(content: bytes) -> bytes:
    its = rows(content)
    other = json.loads(json.dumps(its[0]))
    other["response"]["body"]["choices"][0]["message"]["content"] = '{"verdict": "tie"}'
    return lines([*its, other])


def no_answers(content: bytes) -> bytes:
    its = rows(content)
    its[0]["response"]["body"] = {"object": "list"}
    its[1]["response"] = {"status_code": "200"}
    return lines(its)


@pytest.mark.parametrize(
    ("spoil", "batches", "said"),
    [
        (cut_short, 2, "missing or can't be read"),
        (with_garbage, 2, "missing or can't be read"),
        (with_strangers, 1, "2 results of the batch batch_5 are not of its calls"),
        (with_twins, 1, ""),
        (contradicting, 2, "1 results of the batch batch_5 are missing or can't be read"),
        (no_answers, 2, "missing or can't be read"),
    ],
)
def test_garbled_results_count_nothing_twice_or_wrongly(
    batch: Batch, spoil: Callable[[bytes], bytes], batches: int, said: str
) -> None:
    server_of: list[BatchServer] = []

    def spoiled(_: int, content: bytes) -> bytes:
        return spoil(content) if len(server_of[0].created) == 1 else content

    with BatchServer(spoil=spoiled) as server:
        server_of.append(server)
        result = batch(server, spec=priced(server), budget=20.0)
        assert len(server.created) == batches
        bill = load_prices().models["gpt-4-0613"].cost(*server.tokens) / 2
    check_right(result)
    assert sum(game.calls for game in result.games) <= GAMES + 1
    assert bill <= result.dollars + 1e-9  # what can't be known is counted at its worst
    assert any(said in note for note in result.notes) or not said


def test_a_file_that_came_garbled_once_is_fetched_again(batch: Batch) -> None:
    with BatchServer(spoil=lambda number, c: cut_short(c) if number < 3 else c) as server:
        result = batch(server)
        assert (len(server.created), server.downloads) == (1, 3)
    check_right(result)
    assert not result.notes


# ---- limits, money, keys ------------------------------------------------------------------------


def priced(server: BatchServer) -> JudgeSpec:
    """A judge on this machine at gpt-4's list price."""
    return resolve_judge(f"openai:gpt-4@{server.url}", {}, prices=load_prices())


def test_batches_are_split_at_the_limits(batch: Batch) -> None:
    with BatchServer() as server:
        check_right(batch(server, rules=dataclasses.replace(PATIENT, most_requests=5)))
        assert len(server.created) == 3
        sizes = [len(server.files[file]) for file in server.names]
    with BatchServer() as server:
        most = max(sizes) // 2
        check_right(batch(server, rules=dataclasses.replace(PATIENT, most_bytes=most)))
        assert len(server.created) > 3
        assert all(len(server.files[file]) <= most for file in server.names)
    with BatchServer() as server:
        result = batch(server, run="run-3", rules=dataclasses.replace(PATIENT, most_bytes=100))
        assert not server.created
    assert result.failed == GAMES
    assert "more than a batch may have" in result.notes[0]


def test_the_bill_is_half_and_the_budget_is_never_passed(batch: Batch, store: Store) -> None:
    price = load_prices().models["gpt-4-0613"]
    with BatchServer() as server:
        small = batch(server, spec=priced(server), budget=0.12)
        bill = price.cost(*server.tokens) / 2
        assert 0 < bill <= 0.12
        assert small.dollars == pytest.approx(bill)
        assert small.pending > 0
        assert "a larger --budget goes on" in (small.stopped or "")
        db = store.extend("")
        # What was set aside at any time fits, not only what it came to.
        reserved = db.execute("SELECT tag, number FROM judge_batch_lines").fetchall()
        tags = {tag for tag, _ in reserved}
        spent = 0.0
        for batch_row in db.execute("SELECT tag FROM judge_batches ORDER BY begun").fetchall():
            numbers = [number for tag, number in reserved if tag == batch_row[0]]
            marks = ",".join("?" * len(numbers))
            worst, cost = db.execute(
                f"SELECT SUM(reserved), SUM(cost) FROM judge_calls WHERE number IN ({marks})",
                numbers,
            ).fetchone()
            assert spent + worst <= 0.12 + 1e-9
            spent += cost
        assert len(tags) == len(server.created) > 1
        whole = batch(server, spec=priced(server), budget=20.0)
        assert whole.dollars == pytest.approx(price.cost(*server.tokens) / 2)
    check_right(whole)
    assert whole.estimate is not None
    assert "halved for a batch" in whole.estimate.prices_of
    assert sum(game.cost or 0 for game in whole.games) == pytest.approx(whole.dollars)


def test_what_is_under_way_counts_against_the_budget_and_is_no_longer_to_be_sent(
    batch: Batch,
) -> None:
    with BatchServer(looks=2) as server:
        first = batch(server, spec=priced(server), budget=0.5, rules=SHORT)
        assert first.estimate is not None
        assert first.estimate.calls == GAMES
        assert 0 < first.dollars <= 0.5
        sent = server.batches[server.created[0]]["request_counts"]["total"]
        again = batch(server, spec=priced(server), budget=0.5, rules=SHORT)
        assert again.estimate is not None
        assert again.estimate.calls == GAMES - sent
        assert len(server.created) == 1
        assert again.dollars == first.dollars


def test_without_the_flag_results_are_collected_and_the_rest_is_asked_directly(
    batch: Batch,
) -> None:
    with BatchServer() as server:
        batch(server, rules=SHORT)
        check_right(batch(server, rules=None, run="run-2"))
        assert not server.chats  # it was done by then
    with BatchServer(looks=9) as server:
        batch(server, rules=SHORT)
        result = batch(server, rules=None)
        check_right(result)
        assert len(server.chats) == GAMES
        assert any("both are paid" in note for note in result.notes)


def test_a_server_without_batches_is_told_in_one_line(batch: Batch) -> None:
    with BatchServer(has_batches=False) as server:
        with pytest.raises(UserError, match="Batch API") as caught:
            batch(server)
        assert "\n" not in str(caught.value)
        assert not server.created


def test_other_judges_take_no_batches(store: Store) -> None:
    spec = resolve_judge("local:demo-small", {})
    with pytest.raises(UserError, match="takes no batches"):
        judge_run(
            QUESTIONS,
            league("good", "poor"),
            spec,
            store,
            make_progress("none"),
            run="x",
            rules=Rules(batch=SHORT),
            local=_never(),
        )


def _never() -> Any:
    from evalsuite.judge import LocalJudge

    return LocalJudge("x", lambda chats, most, temperature: [])


def test_no_header_of_the_environment_and_no_key_leaks(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret, own = "sk-proj-must-never-leave-1234567890", "own-key-abcdefghijkl"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Key: {secret}")
    monkeypatch.setenv("OWN_KEY", own)

    def outcome(_: str, body: dict[str, Any]) -> str:
        there = "Request number 2?" in body["messages"][1]["content"]
        return f"500:they showed me {own}" if there else f'say:{own}\n{{"verdict": "A"}}'

    with BatchServer(key=own, outcome=outcome) as server:
        import os

        spec = resolve_judge(f"openai:judge@{server.url}", os.environ, api_key_env="OWN_KEY")
        spec = dataclasses.replace(spec, price=load_prices().models["gpt-4-0613"])
        result = batch(server, spec=spec, budget=5.0)
        assert {header["authorization"] for header in server.headers} == {f"Bearer {own}"}
        assert not any("secret" in str(h) or secret in str(h) for h in server.headers)
        assert len({path.split("/")[2] for path in server.asked}) == 2  # files and batches
    assert "[key]" in str(result)
    for text in (str(result), *(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*.db*"))):
        assert own not in text
        assert secret not in text


def test_a_judge_without_batches_next_door_is_untouched(batch: Batch) -> None:
    """The non-batch way asks no path of the Batch API."""
    with JudgeServer() as server:
        result = batch(server, rules=None)  # type: ignore[arg-type]
        assert len(server.requests) == GAMES
    check_right(result)
