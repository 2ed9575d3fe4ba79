"""Scores of packs against transformers, one sequence at a time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_oracle import expected_score
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalsuite.engine.base import Engine, generation_input, scoring_input
from evalsuite.engine.llama import scoring
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.records import GenerateRequest, ScoreRequest, ScoreResponse

MAX_LENGTH = 24
FEW_TOKENS = st.lists(st.integers(3, 5), min_size=1, max_size=12)
CONTEXT = st.lists(st.integers(3, 5), min_size=1, max_size=MAX_LENGTH + 6)
REQUEST = st.builds(
    lambda context, continuation: ScoreRequest(tuple(context), tuple(continuation)),
    CONTEXT,
    FEW_TOKENS,
)


def with_settings(engine: LlamaEngine, pack_tokens: int, max_length: int) -> LlamaEngine:
    return LlamaEngine(
        engine.model,
        engine.tokenizer,
        max_length=max_length,
        limits=replace(engine.limits, pack_tokens=pack_tokens),
        attention="dense",
    )


def score_all(engine: Engine, requests: list[ScoreRequest]) -> list[ScoreResponse]:
    """Plan, score each batch as it stands, and put the answers where they belong."""
    answers: list[ScoreResponse | None] = [None] * len(requests)
    for batch in engine.plan_scoring(requests):
        responses = engine.score([requests[i] for i in batch.requests])
        for index, response in zip(batch.requests, responses, strict=True):
            assert answers[index] is None
            answers[index] = response
    assert None not in answers
    return answers


def assert_as_expected(
    model: PreTrainedModel, requests: list[ScoreRequest], answers: list[ScoreResponse], limit: int
) -> None:
    for request, answer in zip(requests, answers, strict=True):
        expected = expected_score(model, request.context, request.continuation, limit)
        assert answer.logprob == pytest.approx(expected.logprob, abs=1e-4)
        if expected.gap > 1e-4:
            assert answer.is_greedy == expected.is_greedy
        total = len(request.context) + len(request.continuation)
        assert answer.truncated == max(0, total - limit - 1)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(REQUEST, min_size=1, max_size=12), st.integers(1, 80), st.booleans())
def test_packs_of_random_tries(
    small_engine: LlamaEngine,
    small_oracle: PreTrainedModel,
    requests: list[ScoreRequest],
    pack_tokens: int,
    doubled: bool,
) -> None:
    engine = with_settings(small_engine, pack_tokens, MAX_LENGTH)
    requests = requests * 2 if doubled else requests
    assert_as_expected(small_oracle, requests, score_all(engine, requests), MAX_LENGTH)


def test_a_prefix_of_another_duplicates_and_choices_of_one_token(
    small_engine: LlamaEngine, small_oracle: PreTrainedModel
) -> None:
    question = tuple(range(10, 30))
    requests = [ScoreRequest(question, (choice,)) for choice in range(40, 44)]
    requests += [ScoreRequest(question[:7], question[7:]), ScoreRequest(question[:7], (17,))]
    requests += [ScoreRequest((question[0],), question[1:3]), requests[2], requests[4]]
    (batch,) = small_engine.plan_scoring(requests)
    assert batch.distinct_tokens == len(question)  # everything lies on one path
    answers = score_all(small_engine, requests)
    assert_as_expected(small_oracle, requests, answers, 64)
    assert answers[7] == answers[2]


def test_greedy_continuations_are_recognised(
    small_engine: LlamaEngine, small_oracle: PreTrainedModel
) -> None:
    rng = random.Random(0)
    found = 0
    for _ in range(20):
        context = tuple(rng.randrange(3, 96) for _ in range(5))
        (best,) = small_engine.generate([GenerateRequest(context, 3)])
        if len(best.tokens) < 3:
            continue
        found += 1
        changed = (*best.tokens[:-1], (best.tokens[-1] + 1) % 96)
        requests = [ScoreRequest(context, best.tokens), ScoreRequest(context, changed)]
        answers = score_all(small_engine, requests)
        assert [a.is_greedy for a in answers] == [True, False]
        assert_as_expected(small_oracle, requests, answers, 64)
    assert found > 10


def test_reading_in_chunks_changes_nothing(
    small_engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    requests = [
        ScoreRequest(tuple(rng.choices(range(3, 96), k=6)), tuple(rng.choices(range(3, 96), k=5)))
        for _ in range(20)
    ]
    whole = score_all(small_engine, requests)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 96 * 7)
    for a, b in zip(whole, score_all(small_engine, requests), strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-5)
        assert a.is_greedy == b.is_greedy


def test_the_same_plan_gives_the_same_bits(small_engine: LlamaEngine) -> None:
    rng = random.Random(2)
    engine = with_settings(small_engine, 100, 64)
    requests = [
        ScoreRequest(tuple(rng.choices((3, 4), k=rng.randrange(1, 30))), (rng.randrange(3, 96),))
        for _ in range(60)
    ]
    batches = engine.plan_scoring(requests)
    assert len(batches) > 2
    assert batches == engine.plan_scoring(requests)
    assert score_all(engine, requests) == score_all(engine, requests)
    # A batch alone, as after an interruption, and in another order.
    members = [requests[i] for i in batches[1].requests]
    assert engine.score(members) == engine.score(members[::-1])[::-1]


def test_what_a_plan_counts() -> None:
    from evalsuite.engine.llama.plan import Limits, plan_scoring

    limits = Limits(8, 4, 2**20, "cpu", 4)
    requests = [ScoreRequest((1, 2, 3), (4,)), ScoreRequest((1, 2, 3), (5,))]
    requests.append(ScoreRequest(tuple(range(20)), (1, 2)))  # longer than a pack
    batches = plan_scoring(requests, 64, limits)
    assert [b.requests for b in batches] == [(2,), (0, 1)]
    assert [b.distinct_tokens for b in batches] == [21, 3]
    assert [b.total_tokens for b in batches] == [21, 6]


def test_requests_that_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match=r"continuation of 9 tokens .* context of 8 tokens"):
        scoring_input(ScoreRequest((1,), tuple(range(9))), 8)
    with pytest.raises(ValueError, match="at least one token of context"):
        scoring_input(ScoreRequest((), (1,)), 8)
    assert scoring_input(ScoreRequest((7,), tuple(range(8))), 8) == ((7, *range(7)), 0)
    assert scoring_input(ScoreRequest((6, 7), tuple(range(8))), 8) == ((7, *range(7)), 1)


def test_a_plan_names_the_request_that_cannot_be_scored(small_engine: LlamaEngine) -> None:
    requests = [ScoreRequest((1,), (2,)), ScoreRequest((1,), (3,) * 65)]
    with pytest.raises(ValueError, match="request 1: a continuation of 65 tokens"):
        small_engine.plan_scoring(requests)


def test_truncation_of_prompts() -> None:
    prompt = tuple(range(10))
    assert generation_input(GenerateRequest(prompt, 6), 16) == (prompt, 6, 0)
    assert generation_input(GenerateRequest(prompt, 8), 16) == (prompt[2:], 8, 2)
    # More new tokens than the context has: the prompt stays, the answer gets what is left.
    assert generation_input(GenerateRequest(prompt, 40), 32) == (prompt, 22, 18)
    assert generation_input(GenerateRequest(prompt, 40), 12) == (prompt[4:], 6, 4 + 34)
    for bad in (GenerateRequest((), 3), GenerateRequest(prompt, 0)):
        with pytest.raises(ValueError, match="at least one prompt token"):
            generation_input(bad, 16)


def test_engine_keeps_the_protocol(small_engine: LlamaEngine) -> None:
    assert isinstance(small_engine, Engine)
    assert small_engine.max_length == 64
    batches = small_engine.plan_scoring([ScoreRequest((1,) * 9, (2,))])
    groups = small_engine.plan_generation([GenerateRequest((1,) * 9, 20)])
    weights = small_engine.model.config.parameters
    for memory in (small_engine.memory_bytes(batches), small_engine.memory_bytes((), groups)):
        assert 4 * weights < memory < 4 * weights + 2**20
    assert all(isinstance(v, str | int | float | bool) for v in small_engine.identity.values())


def test_identity_follows_what_changes_the_numbers(
    small_engine: LlamaEngine, small_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    same = LlamaEngine.load(small_folder, tokenizer, device="cpu", dtype="float32")
    assert same.identity == small_engine.identity
    for change in ({"dtype": "bfloat16"}, {"max_length": 32}, {"weights_hash": "x"}):
        settings_ = {"device": "cpu", "dtype": "float32", **change}
        assert LlamaEngine.load(small_folder, tokenizer, **settings_).identity != same.identity


def test_planning_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import evalsuite.engine.base, evalsuite.engine.llama.plan, "
        "evalsuite.engine.llama.checkpoint; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_float32_has_nothing_to_do_with_threads(small_engine: LlamaEngine) -> None:
    """Scores of two thread counts agree far better than the 1e-4 that is promised."""
    requests = [ScoreRequest(tuple(range(3, 40)), (n,)) for n in range(50, 60)]
    one = score_all(small_engine, requests)
    torch.set_num_threads(2)
    try:
        two = score_all(small_engine, requests)
    finally:
        torch.set_num_threads(1)
    for a, b in zip(one, two, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-5)
