"""Prefixes that packs share, and where packs are cut: transformers' scores, and nothing twice."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_oracle import expected_score, load_oracle, write_model
from test_scoring import MAX_LENGTH, REQUEST, assert_as_expected, score_all, with_settings
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalsuite.engine.llama import trie
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.loading import load_model
from evalsuite.engine.llama.onednn import PackedLinear, lay_out
from evalsuite.engine.llama.scoring import LastPrefix, score_pack
from evalsuite.records import ScoreRequest

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("long"), max_position_embeddings=1024, scale=0.2)


@pytest.fixture(scope="module")
def long_engine(long_folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaEngine:
    engine = LlamaEngine.load(long_folder, tokenizer, device="cpu", dtype="float32")
    engine.limits = replace(engine.limits, pack_tokens=900)
    return engine


def subjects(count: int, documents: int) -> list[ScoreRequest]:
    """Documents of subjects: 300 tokens of a subject, 40 own, 4 choices of one token."""
    rng = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, 96) for _ in range(n))

    contexts = [
        shots + tokens(40) for shots in map(tokens, [300] * count) for _ in range(documents)
    ]
    return [ScoreRequest(context, (choice,)) for context in contexts for choice in (5, 6, 7, 8)]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(3, 5), max_size=12),
    st.lists(REQUEST, min_size=1, max_size=12),
    st.integers(1, 80),
)
def test_any_shared_prefix_changes_no_score(
    small_engine: LlamaEngine,
    small_oracle: PreTrainedModel,
    start: list[int],
    requests: list[ScoreRequest],
    pack_tokens: int,
) -> None:
    requests = [replace(request, context=(*start, *request.context)) for request in requests]
    engine = with_settings(small_engine, pack_tokens, MAX_LENGTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie, "SHORTEST_PREFIX", 2)
        answers = score_all(engine, requests)
    assert_as_expected(small_oracle, requests, answers, MAX_LENGTH)


def test_a_subject_is_computed_once(long_folder: Path, long_engine: LlamaEngine) -> None:
    requests = subjects(2, 40)
    batches = long_engine.plan_scoring(requests)
    assert len(batches) > 4
    # Nothing is computed twice but what documents of neighbouring packs happen to share.
    whole = len(trie.build_pack([r.context for r in requests], [1] * len(requests)))
    assert whole <= sum(batch.distinct_tokens for batch in batches) <= whole + 2 * len(batches)
    for batch in batches:
        assert len({requests[i].context[:300] for i in batch.requests}) == 1, "cut between subjects"

    oracle = load_oracle(long_folder)
    answers = score_all(long_engine, requests)
    for index in range(0, len(requests), 37):
        request = requests[index]
        expected = expected_score(oracle, request.context, request.continuation, 1024)
        assert answers[index].logprob == pytest.approx(expected.logprob, abs=1e-4)


def test_a_pack_has_the_same_bits_whoever_came_before(long_engine: LlamaEngine) -> None:
    requests = subjects(2, 12)
    packs = [[requests[i] for i in b.requests] for b in long_engine.plan_scoring(requests)]
    forth = [long_engine.score(pack) for pack in packs]
    back = [long_engine.score(pack) for pack in reversed(packs)][::-1]
    alone = [
        score_pack(long_engine.model, pack, 1024, "dense", LastPrefix(long_engine.model))
        for pack in packs
    ]
    assert forth == back == alone


def test_a_long_question_is_no_prefix() -> None:
    question = tuple(range(400))
    sequences = [(*question, 1), (*question, 2)]
    assert trie.shared_prefix(sequences, [1, 1], 402) == 0, "most of the pack is the question"
    assert trie.shared_prefix(sequences, [1, 1], 800) == 400
    assert trie.shared_prefix([question, question], [150, 1], 2000) == 0, "its output is wanted"


def test_a_full_pack_is_cut_where_least_is_shared() -> None:
    # Ten documents under 50 tokens, ten under 10; the limit falls among the second ten.
    first = [(1,) * 50 + (i, i, i, i) for i in range(2, 12)]
    second = [(20,) * 10 + (i, i, i, i) for i in range(2, 12)]
    sequences = first + second
    order, shared = trie.preorder(sequences)
    packs = trie.split(order, shared, [54] * 10 + [14] * 10, 110)
    assert [sorted(members) for members, _ in packs] == [list(range(10)), list(range(10, 20))]
    assert [nodes for _, nodes in packs] == [90, 50]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_onednn_multiplies_as_torch_does(long_folder: Path, dtype: torch.dtype) -> None:
    checkpoint = open_checkpoint(long_folder)
    plain, packed = (load_model(checkpoint, CPU, dtype) for _ in range(2))
    lay_out(packed)
    if not isinstance(packed.head, PackedLinear):
        pytest.skip("this processor or this torch has no oneDNN")
    pack = subjects(1, 3)
    one = [answer.logprob for answer in score_pack(plain, pack, 1024, "dense")]
    two = [answer.logprob for answer in score_pack(packed, pack, 1024, "dense")]
    assert two == pytest.approx(one, abs=1e-4 if dtype is torch.float32 else 0.2)
    assert one != [0.0] * len(one)
