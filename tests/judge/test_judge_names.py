"""Judges by name, where a key may go, what is paid, and the agreement to a bill."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from pathlib import Path

import pytest
from leagues import QUESTIONS, QUICK, league

from evalsuite.judge import (
    JudgeSpec,
    LocalJudge,
    LocalReply,
    Rules,
    agree,
    check_budget,
    count_matches,
    default_judge,
    estimate_questions,
    judge_run,
    load_preset,
    load_prices,
    resolve_judge,
)
from evalsuite.judge.budget import Budget, BudgetSpentError
from evalsuite.judge.prices import token_counter
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.progress import make_progress
from evalsuite.records import UserError
from evalsuite.store import Store

KEY = {"OPENAI_API_KEY": "sk-secret-secret"}


def test_gpt_4_is_pinned_paid_and_shows_no_key() -> None:
    spec = resolve_judge("gpt-4", KEY)
    assert (spec.model, spec.endpoint) == ("gpt-4-0613", "https://api.openai.com/v1")
    assert spec.paid
    assert spec.price is not None
    assert "sk-secret" not in repr(spec)
    assert resolve_judge("openai:gpt-4", KEY).model == "gpt-4-0613"
    assert resolve_judge("openai:gpt-4@https://api.openai.com", KEY).endpoint == spec.endpoint


def test_the_default_spends_nothing_unless_models_were_named_and_a_key_is_set() -> None:
    assert default_judge(True, KEY) == "gpt-4"
    assert default_judge(False, KEY) == default_judge(True, {}) == "reference"


def test_other_servers_get_their_own_key_or_none() -> None:
    spec = resolve_judge("openai:m@http://localhost:8000", KEY)
    assert (spec.key, spec.endpoint, spec.paid) == (None, "http://localhost:8000/v1", False)
    other = {**KEY, "OWN": "own-key"}
    assert (
        resolve_judge("openai:m@https://x.org/api/v2/", other, api_key_env="OWN").key == "own-key"
    )
    assert resolve_judge("openai:m@https://x.org", other, api_key_env="OWN").paid
    assert not resolve_judge("openai:m@https://x.org", KEY).paid


@pytest.mark.parametrize(
    ("name", "environ", "variable", "said"),
    [
        ("gpt-5000", {}, None, "it is one of gpt-4, openai:MODEL"),
        ("local:", {}, None, "it is one of"),
        ("openai:@http://x", {}, None, "openai:MODEL@URL"),
        ("openai:m@", {}, None, "openai:MODEL@URL"),
        ("openai:m@ftp://x", {}, None, "begins with http"),
        ("openai:m@http://[::1", {}, None, "not a URL"),
        ("openai:m@http://x:99999", {}, None, "not a URL"),
        ("openai:m@http://x/v1?key=1", {}, None, "without ?"),
        ("openai:m@http://me:pass@x/v1", {}, None, "--api-key-env"),
        ("openai:m@http://api.openai.com/v1", KEY, None, "by https only"),
        ("openai:gpt-4@https://api.openai.com@evil.org/v1", KEY, None, "--api-key-env"),
        ("openai:unheard-of", KEY, None, "no price is known"),
        ("gpt-4", {}, None, "set OPENAI_API_KEY"),
        ("gpt-4", {"OPENAI_API_KEY": "a\nb"}, None, "characters that no API key has"),
        ("openai:m@https://x.org", KEY, "OPENAI_API_KEY", "goes to api.openai.com only"),
        ("openai:m@https://x.org", {**KEY, "SAME": KEY["OPENAI_API_KEY"]}, "SAME", "only"),
        ("openai:m@https://x.org", {}, "UNSET", "set UNSET"),
    ],
)
def test_what_cannot_be_a_judge_is_refused_in_one_line(
    name: str, environ: dict[str, str], variable: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        resolve_judge(name, environ, api_key_env=variable)
    assert "\n" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert "me:pass" not in str(caught.value)


def test_gpt_4_goes_to_openai_and_a_proxy_on_the_way_sees_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is asked for a tunnel and refuses it; everything it was told is looked at."""
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, Store(tmp_path / "s.db") as store:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    told.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(UserError, match=r"https://api.openai.com/v1 cannot be reached"):
            judge_run(
                QUESTIONS, league("good", "poor"), resolve_judge("gpt-4", KEY), store,
                make_progress("none"), run="r", budget=10.0, rules=Rules(patience=QUICK),
            )  # fmt: skip
    assert told
    assert all(text.startswith(b"CONNECT api.openai.com:443") for text in told)
    assert not any(b"sk-secret" in text for text in told)


# ---- money --------------------------------------------------------------------------------------


def bill(calls: int = 10):  # type: ignore[no-untyped-def]
    spec = resolve_judge("gpt-4", KEY)
    return estimate_questions(QUESTIONS[:calls], 2, spec, load_preset())


def test_a_paid_judge_wants_a_budget_or_a_yes() -> None:
    estimate = bill()
    assert estimate.calls == count_matches(QUESTIONS, 2) == 2 * len(QUESTIONS)
    assert estimate.dollars is not None
    assert estimate.dollars_at_most is not None
    assert 0 < estimate.dollars < estimate.dollars_at_most
    with pytest.raises(UserError, match=r"about \$.*at most \$.*--budget USD"):
        agree(estimate, "gpt-4", None, paid=True)
    with pytest.raises(UserError, match="nobody agreed"):
        agree(estimate, "gpt-4", None, paid=True, ask=lambda line: "\n")
    agree(estimate, "gpt-4", None, paid=True, ask=lambda line: " Yes\n")
    agree(estimate, "gpt-4", 5.0, paid=True)
    agree(estimate, "reference", None, paid=False)


def test_a_budget_that_cannot_be_kept_is_refused() -> None:
    spec = resolve_judge("openai:m@https://x.org", {"OWN": "k"}, api_key_env="OWN")
    with pytest.raises(UserError, match="can't be kept: no price is known for m"):
        check_budget(spec, 5.0)
    with pytest.raises(UserError, match="0 or more"):
        check_budget(resolve_judge("gpt-4", KEY), -1.0)


def test_a_budget_waits_for_calls_in_flight_and_ends_only_when_none_can_help() -> None:
    async def story() -> None:
        budget = Budget(1.0)
        await budget.reserve(0.6)
        second = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0)
        assert not second.done()
        await budget.settle(0.6, 0.1)
        await second
        await budget.settle(0.6, 0.6)
        with pytest.raises(BudgetSpentError, match=r"\$0.7000 of \$1.0000 is spent"):
            await budget.reserve(0.4)
        assert budget.spent == pytest.approx(0.7)

    asyncio.run(story())


def test_token_bounds_hold_for_every_script() -> None:
    counter = token_counter("gpt-4-0613")
    messages = [{"role": "user", "content": "日本語 text 🎉 " * 50}]
    assert counter.most(messages) >= len(messages[0]["content"].encode())
    assert counter.expected(messages) < counter.most(messages)


def test_a_price_table_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models: {m: {input: 1}}\nas_of: today\n")
    with pytest.raises(UserError, match="is no price table"):
        load_prices(path)
    path.write_text("as_of: 2030-01-01\nmodels: {m: {input: 1, output: 2}}\n")
    assert resolve_judge("openai:m", KEY, prices=load_prices(path)).paid


# ---- judges without HTTP -------------------------------------------------------------------------


def test_the_reference_judge_plays_what_can_be_checked_and_needs_nobody(store: Store) -> None:
    from evalsuite.judge import Answer, demo_questions, read_questions

    questions = read_questions(demo_questions())
    answers = {
        "right": [Answer(q.question_id, q.reference) for q in questions],
        "half": [
            Answer(q.question_id, q.reference if i % 2 else ("what?",))
            for i, q in enumerate(questions)
        ],
    }
    spec = resolve_judge("reference", {})
    result = judge_run(questions, answers, spec, store, make_progress("none"), run="r")
    assert len(result.games) == 2 * len(questions)
    summary = judge_summary(result.games, list(answers))
    [pair] = summary.pairs
    won, tied = (len(questions) + 1) // 2, len(questions) // 2
    assert (pair["a"], pair["wins_b"], pair["ties"], pair["wins_a"]) == ("half", won, tied, 0)
    assert pair["score_b"] == 2 * len(questions)
    assert summary.models["right"]["reference"]["rank"] == [1, 1]
    assert summary.audit["reference"]["swap_agreement"] == 1.0
    open_questions = QUESTIONS  # nothing to check there
    none = judge_run(open_questions, league("good", "poor"), spec, store,
                     make_progress("none"), run="r")  # fmt: skip
    assert none.games == ()
    assert "no checkable reference" in none.notes[0]


def test_a_local_judge_answers_in_chunks_is_kept_and_asked_again_when_unclear(store: Store) -> None:
    asked: list[str] = []

    def generate(chats, max_tokens, temperature):  # type: ignore[no-untyped-def]
        asked.extend(chat[1]["content"] for chat in chats)
        clear = len(asked) > len(chats)  # everything is unclear at first
        text = 'B.\n{"verdict": "B"}' if clear else "hm"
        return [LocalReply(text, True, 100, 5) for _ in chats]

    spec = resolve_judge("local:m", {})
    local = LocalJudge("weights-1", generate)

    def go(local: LocalJudge):  # type: ignore[no-untyped-def]
        return judge_run(QUESTIONS, league("good", "poor"), spec, store,
                         make_progress("none"), run="r", local=local)  # fmt: skip

    result = go(local)
    assert len(asked) == 4 * len(QUESTIONS)
    assert all(game.verdict == "second" and game.calls == 2 for game in result.games)
    assert go(local).games == result.games
    assert len(asked) == 4 * len(QUESTIONS)
    go(LocalJudge("weights-2", generate))
    assert len(asked) == 6 * len(QUESTIONS)


def test_no_judge_and_a_single_model_play_nothing(store: Store) -> None:
    for spec, models in ((JudgeSpec("none", "none"), ("good", "poor")),
                         (resolve_judge("reference", {}), ("good",))):  # fmt: skip
        result = judge_run(QUESTIONS, league(*models), spec, store, make_progress("none"), run="r")
        assert result.games == ()
