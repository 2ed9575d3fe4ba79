"""Evaluated models behind servers: what they can be asked is proven, what fails is no answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from model_server import SERVED, ModelServer

from evalsuite.cli import main
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.openai import Abilities, OpenAIModel
from evalsuite.models import resolve_models
from evalsuite.models.names import DEMO_FOLDER
from evalsuite.records import TextRequest, UserError
from evalsuite.remote import CallFailedError, Endpoint, Patience, ServerError
from evalsuite.servers import resolve_servers

DEMO = DEMO_FOLDER / "demo-small"
QUICK = Patience(timeout=20.0, tries=2, connect_tries=1, first_wait=0.01, longest_backoff=0.02)
SCORED, GENERATED = "starter_commonsense", "starter_qa_open"


def probe(server: ModelServer, key: str | None = None) -> Abilities:
    async def go() -> Abilities:
        async with OpenAIModel(Endpoint(server.url, "tiny", key), QUICK) as model:
            return await model.probe()

    return asyncio.run(go())


def ask(server: ModelServer, *requests: TextRequest) -> list[Any]:
    async def go() -> list[Any]:
        async with OpenAIModel(Endpoint(server.url, "tiny"), QUICK) as model:
            return [await model.ask(request) for request in requests]

    return asyncio.run(go())


def run(tmp_path: Path, *flags: str, name: str = "run") -> tuple[int, Path]:
    place = tmp_path / name
    code = main(
        [
            *("run", *flags, "--progress", "none", "--judge", "none", "--dtype", "float32"),
            *("--store", str(tmp_path / "store.db"), "--output", str(place)),
        ]
    )
    return code, place


def board_of(place: Path) -> dict[str, Any]:
    return json.loads((place / "leaderboard.json").read_text())


# ---- the probe


def test_right_log_probabilities_are_proven() -> None:
    with ModelServer(DEMO) as server:
        assert probe(server) == Abilities(True, True, True)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("shifted", "are not right"),
        ("no_echo", "only no echo is supported"),
        ("unscored", "they are not in its answer"),
    ],
)
def test_wrong_or_missing_ones_are_not_believed(mode: str, why: str) -> None:
    with ModelServer(DEMO, mode=mode) as server:
        able = probe(server)
    assert (able.chat, able.plain, able.scores) == (True, True, False)
    assert why in able.why_not


def test_a_server_of_chat_alone_and_one_of_none() -> None:
    with ModelServer(DEMO, kinds=("chat",)) as server:
        able = probe(server)
        assert (able.chat, able.plain, able.scores) == (True, False, False)
        assert "no plain completions" in able.why_not
    with ModelServer(DEMO, kinds=()) as server, pytest.raises(ServerError, match="404"):
        probe(server)


def test_a_wrong_key_is_one_line_that_does_not_show_it() -> None:
    with ModelServer(DEMO, key="right") as server:
        with pytest.raises(ServerError, match="check the key") as raised:
            probe(server, "secret-wrong")
        assert "secret-wrong" not in str(raised.value)
        assert probe(server, "right").chat


# ---- numbers


def test_scores_equal_the_engines() -> None:
    from transformers import AutoTokenizer

    from evalsuite.harness.adapter import EngineLM
    from evalsuite.records import ScoreRequest

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    engine = LlamaEngine.load(DEMO, tokenizer, device="cpu", dtype="float32")
    lm = EngineLM(tokenizer, engine.max_length, engine.score, engine.generate)
    texts = [
        ("Question: How many legs has a spider?\nAnswer:", " eight"),
        ("Question: How many legs has a spider?\nAnswer:", " it depends"),
        ("The su", "n is warm"),  # a token may lie over the border
    ]
    pairs = [lm._encode_pair(*text) for text in texts]
    # Then a server has the whole text's tokens before the border, not the context's own.
    (context, continuation), whole = pairs[2], tokenizer("".join(texts[2]))["input_ids"]
    assert whole != context + continuation
    assert whole[len(context) :] == continuation
    pairs[2] = whole[: len(context)], continuation
    theirs = engine.score([ScoreRequest(tuple(a), tuple(b)) for a, b in pairs])
    with ModelServer(DEMO) as server:
        mine = ask(server, *(TextRequest(a, continuation=b) for a, b in texts))
    assert [m.logprob for m in mine] == pytest.approx([t.logprob for t in theirs], abs=1e-3)
    assert [m.is_greedy for m in mine] == [t.is_greedy for t in theirs]
    assert {m.served for m in mine} == {SERVED}


def test_what_is_sent() -> None:
    request = TextRequest("Hello", False, None, 7, ("\n", "x"), 0.5, 0.9, 2**40 + 5)
    chat = TextRequest(json.dumps([{"role": "user", "content": "Hi"}]), True, None, 3)
    with ModelServer(DEMO) as server:
        ask(server, request, chat)
        (_, plain), (_, talk) = server.requests
    assert plain == {
        **{"model": "tiny", "prompt": "Hello", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9},
        **{"seed": 5, "stop": ["\n", "x"]},
    }
    assert talk == {
        **{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
        **{"temperature": 0.0, "seed": 0},
    }


def test_an_answer_held_back_or_no_completion_is_a_failure() -> None:
    held = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    chat = TextRequest(json.dumps([{"role": "user", "content": "Hi"}]), True, None, 3)
    for answer in (held, {"choices": []}, {"what": 1}):
        server = ModelServer(DEMO, behaviour=lambda _, answer=answer: (200, answer))
        with server, pytest.raises(CallFailedError):
            ask(server, chat)


# ---- whole runs


def test_a_proven_server_gives_the_local_models_numbers(tmp_path: Path) -> None:
    with ModelServer(DEMO) as server:
        flags = ("--tasks", SCORED, GENERATED, "--limit", "8", "--chat", "never")
        models = ("--models", "demo-small", f"far=openai:tiny@{server.url}")
        code, place = run(tmp_path, *models, *flags)
        assert code == 0
        asked = len(server.requests)
        again, other = run(tmp_path, *models, *flags, name="again")
        assert again == 0
        # Nothing but the probe is asked again, and that in the same way.
        probe_again = server.requests[asked:]
        assert 4 <= len(probe_again) < asked
        assert probe_again == server.requests[: len(probe_again)]
    scores = {model["name"]: model["tasks"] for model in board_of(place)["models"]}
    for task in (SCORED, GENERATED):
        near = scores["demo-small"][task]
        assert scores["far"][task]["metrics"] == near["metrics"]
    assert board_of(other)["models"][0]["tasks"] == board_of(place)["models"][0]["tasks"]
    manifest = json.loads((place / "manifest.json").read_text())
    far = next(model for model in manifest["models"] if model["name"] == "far")
    assert far["requested"] == "tiny"
    assert far["served"] == [SERVED]
    assert far["scores"] is True


def test_without_log_probabilities_tasks_are_skipped_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(DEMO, kinds=("chat",)) as server:
        flags = ("--models", f"openai:tiny@{server.url}", "--tasks", SCORED, GENERATED)
        code, place = run(tmp_path, *flags, "--limit", "4")
        bodies = [body for kind, body in server.requests if kind == "chat"]
        capsys.readouterr()
        assert main(["plan", *flags, "--limit", "4", "--progress", "none"]) == 0
        assert "4 to answer" in capsys.readouterr().out
    assert code == 4
    board = board_of(place)
    assert list(board["models"][0]["tasks"]) == [GENERATED]
    (failure,) = board["failed"]
    assert (failure["model"], failure["task"]) == ("tiny", SCORED)
    assert "needs log-probabilities" in failure["error"]
    assert bodies[-1]["messages"][-1]["role"] == "user"
    assert bodies[-1]["stop"]
    (samples,) = (place / "tiny").glob("samples_*.jsonl")
    first = json.loads(samples.read_text().splitlines()[0])
    assert json.dumps(first["arguments"]).count("role") >= 1
    assert all("\n" not in json.loads(line)["filtered_resps"][0] for line in samples.open())


def test_tasks_of_a_suite_are_skipped_without_a_failure(tmp_path: Path) -> None:
    with ModelServer(DEMO, kinds=("chat",)) as server:
        flags = ("--models", f"openai:tiny@{server.url}", "--tasks", "starter", "--limit", "2")
        code, place = run(tmp_path, *flags)
    assert code == 0
    notes = json.loads((place / "manifest.json").read_text())["notes"]
    assert any("skipped" in note and SCORED in note for note in notes)


def test_a_request_that_fails_is_an_error_and_is_asked_again(tmp_path: Path) -> None:
    broken = True

    def behaviour(body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        asked = json.dumps(body)
        first.setdefault("text", asked) if "Say yes." not in asked else None
        if broken and asked == first.get("text"):
            return 400, {"error": {"message": "too long for me"}}
        return None

    first: dict[str, str] = {}
    with ModelServer(DEMO, kinds=("chat",), behaviour=behaviour) as server:
        flags = ("--models", f"openai:tiny@{server.url}", "--tasks", GENERATED, "--limit", "6")
        code, place = run(tmp_path, *flags)
        assert code == 4
        task = board_of(place)["models"][0]["tasks"][GENERATED]
        assert task["errors"] == 1
        assert task["metrics"][task["primary"]]["n"] == 5
        (failure,) = board_of(place)["failed"]
        assert "1 of 6 items have no result" in failure["error"]
        assert "too long for me" in failure["error"]
        asked = len(server.requests)
        broken = False
        code, place = run(tmp_path, *flags)
        assert code == 0
        assert len(server.requests) - asked == 1 + 1 + 1  # the probe's two, and that one
    task = board_of(place)["models"][0]["tasks"][GENERATED]
    assert task["errors"] == 0
    assert task["metrics"][task["primary"]]["n"] == 6


def test_an_unreachable_server_costs_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(DEMO) as server:
        gone = server.url
    models = ("--models", f"far=openai:tiny@{gone}", "demo-small")
    code, place = run(tmp_path, *models, "--tasks", SCORED, "--limit", "3")
    assert code == 4
    (failure,) = board_of(place)["failed"]
    assert failure["model"] == "far"
    assert "is a server running there?" in failure["error"]
    capsys.readouterr()
    code, place = run(tmp_path, *models[:2], "--tasks", SCORED, name="alone")
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not place.exists()


def test_served_models_answer_the_judge(tmp_path: Path) -> None:
    with ModelServer(DEMO) as server:
        place = tmp_path / "run"
        code = main(
            [
                *("run", "--models", "demo-small", f"far=openai:tiny@{server.url}"),
                *("--tasks", GENERATED, "--limit", "2", "--judge", "reference"),
                *("--progress", "none", "--store", str(tmp_path / "s.db"), "--output", str(place)),
            ]
        )
    assert code == 0
    games = [json.loads(line) for line in (place / "matches.jsonl").read_text().splitlines()]
    assert games
    assert {game[side] for game in games for side in ("first", "second")} == {"far", "demo-small"}
    answers = (place / "far" / "answers.jsonl").read_text().splitlines()
    assert all(json.loads(line)["turns"][0] for line in answers)


# ---- names and keys


def test_names_of_served_models() -> None:
    specs = resolve_models(
        ["openai:gpt-4o", "mine=openai:/models/x@http://h:1/v1", "openai:org/Some.Model@http://h:1"]
    )
    assert [(s.label, s.kind) for s in specs] == [
        ("gpt-4o", "server"),
        ("mine", "server"),
        ("Some.Model", "server"),
    ]
    for bad in ("openai:", "openai:@http://h:1", "openai:m@"):
        with pytest.raises(UserError, match="write openai:MODEL@URL"):
            resolve_models([bad])


def test_keys_go_where_they_belong() -> None:
    environ = {"OPENAI_API_KEY": "sk-open", "OWN": "own"}
    specs = resolve_models(["a=openai:gpt-4o", "b=openai:m@https://x.org/v1"])
    servers = resolve_servers(specs, environ, api_key_env="OWN")
    assert servers["a"].endpoint.key == "sk-open"  # OWN is meant for x.org
    assert servers["b"].endpoint.key == "own"
    assert "sk-open" not in repr(servers)
    plain = resolve_servers(specs, environ)
    assert plain["b"].endpoint.key is None
    with pytest.raises(UserError, match=r"goes to api\.openai\.com only"):
        resolve_servers(specs, environ, api_key_env="OPENAI_API_KEY")
    with pytest.raises(UserError, match="set OPENAI_API_KEY"):
        resolve_servers(specs, {})
