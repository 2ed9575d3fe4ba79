"""What a plan says of a judge against what the judge then bills, by a real tokenizer's counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from judge_server import JudgeServer

from evalsuite.cli import main
from evalsuite.judge.prices import token_counter
from evalsuite.models.names import DEMO_FOLDER

ASKED = ("two and two", "a warm day", "the capital of France", "a spider's legs", "the sea")
# As long as the preset expects; the judge's tokenizer is not the judged models'.
VERDICT = '{"verdict": "A"}'


@pytest.fixture(scope="module")
def count() -> Callable[[str], int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER / "demo-large")
    return lambda text: len(tokenizer(text)["input_ids"])


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question_id": i, "category": "writing", "turns": [f"What of {ASKED[i % 5]}? ({i})"]}
        for i in range(11)
    ]
    rows.append({"question_id": "two", "category": "math", "turns": ["Add 1 and 2.", "Double it."]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def planned(line: str) -> tuple[int, float, float]:
    """Calls, expected dollars and most dollars of a plan's line."""
    calls = re.search(r"([\d,]+) calls? of", line)
    dollars = re.search(r"about \$([\d.,]+), at most \$([\d.,]+)", line)
    assert calls, line
    assert dollars, line
    values = [float(text.replace(",", "")) for text in (calls[1], dollars[1], dollars[2])]
    return int(values[0]), values[1], values[2]


def test_a_plan_with_answers_is_near_the_bill_and_never_below_it(
    tmp_path: Path,
    questions: Path,
    capsys: pytest.CaptureFixture[str],
    count: Callable[[str], int],
) -> None:
    table = tmp_path / "prices.yaml"
    # Dear enough that a plan's cents say something.
    table.write_text("as_of: 2031-02-03\nmodels: {judge: {input: 1000, output: 1000}}\n")
    reply_tokens = 220
    with JudgeServer(reply=lambda _: VERDICT, count=count, reply_tokens=reply_tokens) as server:
        common = [
            *("--tasks", "starter_commonsense", "--limit", "1", "--progress", "none"),
            *("--judge", f"openai:judge@{server.url}", "--judge-questions", str(questions)),
            *("--judge-prices", str(table), "--budget", "1000"),
            *("--store", str(tmp_path / "store.db")),
        ]

        def plan(*flags: str) -> str:
            assert main(["plan", *common, *flags]) == 0
            return next(x for x in capsys.readouterr().out.splitlines() if "judging:" in x)

        def bill(*flags: str) -> tuple[int, float]:
            before = (len(server.requests), sum(server.usage_total))
            assert main(["run", *common, "--output", str(tmp_path / "run"), *flags]) == 0
            return len(server.requests) - before[0], (sum(server.usage_total) - before[1]) / 1e3

        guess = plan()
        assert "guessed" in guess
        assert planned(guess)[0] == 26
        first = bill()
        assert first[1] <= planned(guess)[2]
        # The answers are known now, and so is how this judge counts.
        known = plan("--judge-repeats", "2")
        assert "measured on the answers" in known
        assert "as the server counted" in known
        calls, expected, most = planned(known)
        assert "more in the store" in known
        made, dollars = bill("--judge-repeats", "2")
        assert made == calls
        assert abs(expected - dollars) <= 0.15 * dollars
        assert dollars <= most
        assert "free" in plan() or "0 calls" in plan()
        # Other settings of the models are other answers.
        assert "guessed" in plan("--max-length", "300")


def test_a_bill_is_told_without_a_key(
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    flags = ["--tasks", "starter_commonsense", "--limit", "1", "--progress", "none"]
    flags += ["--judge-questions", str(questions), "--store", str(tmp_path / "store.db")]

    def told(*judge: str) -> list[str]:
        assert main(["plan", *flags, "--judge", *judge]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if line.startswith("judging:")]

    bill, missing = told("openai:gpt-4")
    assert planned(bill)[0] == 26
    assert "needs an API key for openai:gpt-4" in missing
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    assert told("openai:gpt-4") == [bill]
    other = told("openai:judge@https://example.org/v1", "--api-key-env", "MY_KEY")
    assert "no price is known" in other[0]
    assert "free" not in other[0]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["run", *flags, "--judge", "openai:gpt-4", "--output", str(tmp_path / "r")]) == 2


def test_a_store_in_use_is_no_obstacle_to_a_plan(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from evalsuite.store import Store

    with JudgeServer() as server, Store(tmp_path / "store.db"):
        flags = ["--tasks", "starter_commonsense", "--limit", "1", "--progress", "none"]
        flags += ["--judge", f"openai:judge@{server.url}", "--judge-questions", str(questions)]
        assert main(["plan", *flags, "--store", str(tmp_path / "store.db")]) == 0
        assert not server.requests
    assert "guessed" in capsys.readouterr().out


def test_the_models_own_tokenizer_is_taken_only_from_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    token_counter.cache_clear()
    try:
        assert "characters a token" in token_counter("gpt-4-0613").basis
        # A file that is not the vocabulary must not be a reason to download it.
        name = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
        (tmp_path / name).write_bytes(b"not it")
        token_counter.cache_clear()
        assert "characters a token" in token_counter("gpt-4-0613").basis
    finally:
        token_counter.cache_clear()
