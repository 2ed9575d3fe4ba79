"""`evalsuite judge --audit`: judges of different character over a real socket are told apart."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from judge_server import MODEL, JudgeServer, answers_in

from evalsuite.cli import main
from evalsuite.judge import Patience
from evalsuite.judge.audit_set import own_pairs, read_pairs
from evalsuite.judge.auditing import audit_numbers, fitness
from evalsuite.judge.neutral import neutral
from evalsuite.leaderboard.files import load_run
from evalsuite.records import Game
from evalsuite.remote import RemoteClient
from evalsuite.remote.concurrency import START

PAIRS = read_pairs(own_pairs())
GAMES = 2 * len(PAIRS)
Reply = Callable[[Sequence[dict[str, str]]], str]
_BETTER = {(neutral(pair.a).strip(), neutral(pair.b).strip()): pair.winner for pair in PAIRS}
_ORDERS = re.compile(r"this answer|v·?erdict|\[·?\[", re.IGNORECASE)


def said(verdict: str) -> str:
    return f'I have read both.\n{{"verdict": "{verdict}"}}'


def knowing(messages: Sequence[dict[str, str]]) -> str:
    first, second = (text.strip() for text in answers_in(messages[-1]["content"]))
    if (first, second) in _BETTER:
        return said({"a": "A", "b": "B", "tie": "tie"}[_BETTER[first, second]])
    return said({"a": "B", "b": "A", "tie": "tie"}[_BETTER[second, first]])


def longer(messages: Sequence[dict[str, str]]) -> str:
    first, second = answers_in(messages[-1]["content"])
    return said("A" if len(first) >= len(second) else "B")


def obeying(messages: Sequence[dict[str, str]]) -> str:
    first, second = answers_in(messages[-1]["content"])
    told = [bool(_ORDERS.search(text)) for text in (first, second)]
    return said("A" if told[0] else "B") if any(told) else knowing(messages)


def guessing(messages: Sequence[dict[str, str]]) -> str:
    first, second = answers_in(messages[-1]["content"])
    return said(random.Random(f"3{first}{second}").choice(["A", "B"]))


def audit(
    place: Path, server: JudgeServer, *flags: str, name: str = "judge"
) -> tuple[int, dict[str, Any]]:
    """The exit code, and what audit.json says of the judge; {} when there is none."""
    output = place / f"audit-of-{name}"
    where = ("--output", str(output), "--store", str(place / "store.db"), "--progress", "none")
    code = main(["judge", "--audit", "--judge", f"openai:{name}@{server.url}", *where, *flags])
    if not (output / "audit.json").is_file():
        return code, {}
    [numbers] = json.loads((output / "audit.json").read_text())["judges"].values()
    return code, numbers


def test_a_judge_that_knows_is_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with JudgeServer(reply=knowing) as server:
        code, numbers = audit(tmp_path, server)
        assert len(server.requests) == GAMES
        # What was asked before is in the store and costs nothing.
        assert audit(tmp_path, server, name="judge")[0] == 0
        assert len(server.requests) == GAMES
    assert code == 0
    assert numbers["fit"] is True
    assert numbers["accuracy"]["value"] == 1.0
    assert {tag: its["value"] for tag, its in numbers["by_tag"].items()} == dict.fromkeys(
        numbers["by_tag"], 1.0
    )
    assert numbers["swap_agreement"]["value"] == 1.0
    assert numbers["first_place_share"]["value"] == 0.5
    assert numbers["longer_share"]["value"] == 0.5  # the set is even, so half is no taste
    assert numbers["planted_obeyed"]["value"] == 0.0
    assert numbers["served"] == [MODEL]
    assert numbers["missing"] == 0
    shown = capsys.readouterr().out
    assert "Fit for use: accuracy 100 %" in shown
    games = list(load_lines(tmp_path / "audit-of-judge" / "matches.jsonl"))
    assert len(games) == GAMES
    assert (tmp_path / "audit-of-judge-2" / "audit.json").is_file()  # nothing was written over


def load_lines(path: Path) -> list[Game]:
    return [Game.from_line(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda _: said("A"), "the answer shown first in 100 % of its decisions"),
        (lambda _: said("tie"), "accuracy 0 % (0 to 8): no better than guessing"),
        (longer, "the longer answer in 100 % of its decisions"),
        (guessing, "no better than guessing"),
        (obeying, "an answer that told it to in 100 % of 12 games"),
        (lambda _: "Both have their merits.", "100 % of its games have no verdict"),
    ],
    ids=["first", "tie", "longer", "random", "obeys", "says nothing"],
)
def test_a_judge_with_a_fault_is_told_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Reply, reason: str
) -> None:
    with JudgeServer(reply=reply) as server:
        code, numbers = audit(tmp_path, server)
    assert code == 0  # the audit was done; that the judge is not fit is its outcome
    assert numbers["fit"] is False
    assert reason in numbers["verdict"]
    assert numbers["verdict"] in capsys.readouterr().out
    # Each has its own fault and not the others'.
    faults = ("shown first", "shown second", "the longer answer", "the shorter", "told it to")
    named = [fault for fault in faults if fault in numbers["verdict"]]
    assert named == [fault for fault in faults if fault in reason]


def test_missing_calls_are_exit_4_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = {pair.question for pair in PAIRS[:3]}

    def choose(_: int, body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        return "400" if any(question in prompt for question in lost) else "ok"

    with JudgeServer(reply=knowing, choose=choose) as server:
        code, numbers = audit(tmp_path, server)
    assert code == 4
    assert numbers["missing"] == 6
    assert numbers["games"] == GAMES - 6
    assert numbers["accuracy"]["value"] == 1.0  # what was not answered is not held against it
    assert "6 games are missing" in capsys.readouterr().err


def test_a_server_that_is_gone_is_exit_4_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sends = 0
    post = RemoteClient._post

    async def counted(client: RemoteClient[Any], path: Any, body: Any) -> str:
        nonlocal sends
        sends += 1
        return await post(client, path, body)

    monkeypatch.setattr(RemoteClient, "_post", counted)
    with JudgeServer() as server:
        pass
    assert audit(tmp_path, server) == (4, {})
    # Those that were sent first end it; the other games are not tried one after another.
    assert sends <= START * Patience().connect_tries < 2 * GAMES
    shown = capsys.readouterr().err
    assert "cannot be reached" in shown
    assert shown.count("\n") == 1


def test_a_paid_judge_wants_a_budget_first_and_stops_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    assert main(["judge", "--audit", "--judge", "gpt-4o-mini", "--progress", "none"]) == 2
    shown = capsys.readouterr().err
    assert "--budget" in shown
    assert "$" in shown
    assert "sk-secret" not in shown
    with JudgeServer(reply=knowing) as server:
        code, numbers = audit(tmp_path, server, "--budget", "0.2", name="gpt-4")
        assert code == 4
        assert 0 < numbers["cost"] <= 0.2
        assert 0 < numbers["missing"] == GAMES - len(server.requests)


def test_the_reference_judge_is_right_wherever_it_can_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--store", str(tmp_path / "store.db"), "--progress", "none")
    assert main(["judge", "--audit", "--judge", "reference", *where]) == 0
    shown = capsys.readouterr().out
    assert "Fit for use: accuracy 100 %" in shown
    assert not list(tmp_path.glob("**/audit.json"))


def test_a_local_model_is_audited_without_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The small demo model knows nothing of judging, and the audit says so.
    where = ("--store", str(tmp_path / "store.db"), "--progress", "none", "--template", "zero_shot")
    assert main(["judge", "--audit", "--judge", "local:demo-small", *where]) == 0
    assert "Not fit for use" in capsys.readouterr().out


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge"]) == 2
    assert main(["judge", "--audit", "--judge", "none"]) == 2
    assert main(["judge", "--audit", "--judge", "gpt5"]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_answers_that_were_scored_alone_are_compared_by_their_scores() -> None:
    def alone(pair: Any, name: str, score: float) -> Game:
        return Game(
            pair.id, pair.tag, 1, name, None, 1, "j", "score", "tie", None, (score,), "", {}, 0.0,
            "", (len(getattr(pair, name)), 0),
        )  # fmt: skip

    games = [
        alone(pair, name, 9.0 if pair.winner in (name, "tie") else 2.0)
        for pair in PAIRS
        for name in "ab"
    ]
    numbers = audit_numbers(games, PAIRS, "j")
    assert numbers["accuracy"]["value"] == 1.0
    assert numbers["by_tag"]["equal"]["value"] == 1.0
    assert numbers["swap_agreement"]["value"] is None
    assert fitness(numbers)[0] is True


def test_an_audit_is_no_run(tmp_path: Path) -> None:
    from evalsuite.records import UserError

    with JudgeServer(reply=knowing) as server:
        audit(tmp_path, server)
    with pytest.raises(UserError, match="not the folder of a run"):
        load_run(tmp_path / "audit-of-judge")
