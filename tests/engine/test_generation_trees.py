"""Decoding over a tree of segments: any tree, any number of slots, memory that runs out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from llama_oracle import greedy_tokens, load_oracle, make_tokenizer, write_model
from prompt_trees import deep_prompts
from torch import Tensor

from evalsuite.engine.llama import decode, generation
from evalsuite.engine.llama.decode import Decoder
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.generation import generate_group
from evalsuite.engine.llama.model import Attend
from evalsuite.engine.llama.segments import SAVED_BYTES
from evalsuite.records import GenerateRequest, GenerateResponse

NEW = 8


@pytest.fixture
def _every_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models save too little by sharing: here every chain that can be shared is."""
    monkeypatch.setitem(SAVED_BYTES, "cpu", 1)


def ask(
    engine: LlamaEngine,
    requests: list[GenerateRequest],
    *,
    model: torch.nn.Module | None = None,
    **how: int,
) -> list[GenerateResponse]:
    settings = {"pack_tokens": 64, "slots": 128, **how}
    return generate_group(
        model or engine.model,  # type: ignore[arg-type]
        engine.tokenizer,
        requests,
        eos_ids=frozenset({2}),
        max_length=64,
        attention="dense",
        **settings,
    )


@pytest.fixture(scope="module")
def tree_requests() -> list[GenerateRequest]:
    rng = random.Random(3)
    prompts = deep_prompts(rng, 60)
    requests = [GenerateRequest(p, rng.randrange(1, NEW + 1)) for p in prompts]
    samples = [
        GenerateRequest(p, NEW, temperature=1.0, top_p=rng.choice([1.0, 0.9]), seed=s)
        for p in prompts[::7]
        for s in range(5)
    ]
    return [*requests, *samples, *requests[:5]]


@pytest.mark.usefixtures("_every_segment")
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_deep_trees_give_transformers_greedy_text(tmp_path: Path, kv_heads: int) -> None:
    folder = write_model(tmp_path, num_key_value_heads=kv_heads, seed=kv_heads)
    oracle = load_oracle(folder)
    engine = LlamaEngine.load(folder, make_tokenizer(), device="cpu", dtype="float32")
    prompts = deep_prompts(random.Random(kv_heads), 110)
    expected = [greedy_tokens(oracle, prompt, NEW, eos=(2,)) for prompt in prompts]
    answers = ask(engine, [GenerateRequest(p, NEW) for p in prompts], slots=40)
    compared = 0
    for (wanted, gap), answer in zip(expected, answers, strict=True):
        if gap > 1e-4:
            compared += 1
            assert list(answer.tokens) == [t for t in wanted if t != 2]
    assert compared >= 100


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("slots", [1, 3, 17])
@pytest.mark.parametrize("pack_tokens", [1, 50])
def test_slots_chunks_and_segments_change_no_text(
    small_engine: LlamaEngine,
    tree_requests: list[GenerateRequest],
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
    slots: int,
    pack_tokens: int,
) -> None:
    wanted = ask(small_engine, tree_requests)
    monkeypatch.setitem(SAVED_BYTES, "cpu", 1 if shared else 2**40)
    assert ask(small_engine, tree_requests, slots=slots, pack_tokens=pack_tokens) == wanted


def test_memory_bounds_the_slots(
    small_engine: LlamaEngine, tree_requests: list[GenerateRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ask(small_engine, tree_requests)
    made = []
    plain = Decoder.__init__

    def noting(self: Decoder, *arguments: object, **settings: object) -> None:
        plain(self, *arguments, **settings)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(Decoder, "__init__", noting)
    slots = []
    for kv_bytes in (2**30, 2**18, 1):
        assert ask(small_engine, tree_requests, kv_bytes=kv_bytes) == wanted
        slots.append(made[-1].slots)
    assert slots[0] > slots[1] > slots[2] == 1


@pytest.mark.usefixtures("_every_segment")
def test_the_same_group_gives_the_same_bits(
    small_engine: LlamaEngine, tree_requests: list[GenerateRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Tensor]] = [[], []]
    plain = Decoder.step
    for logits in seen:

        def noting(self: Decoder, logits: list[Tensor] = logits) -> Tensor:
            logits.append(plain(self).clone())
            return logits[-1]

        monkeypatch.setattr(Decoder, "step", noting)
        ask(small_engine, tree_requests, slots=9)
    assert len(seen[0]) == len(seen[1]) > NEW
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


# ---- memory that runs out -----------------------------------------------------------------------


class SmallMemory(torch.nn.Module):
    """A model that has memory for so many tokens at once."""

    def __init__(self, model: torch.nn.Module, tokens: int) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens
        self.config, self.embedding = model.config, model.embedding
        self.refused = 0

    def hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        if len(tokens) > self.tokens:
            self.refused += 1
            # Late, when the caches are written already.
            self.model.hidden(tokens, positions, attend)
            raise torch.OutOfMemoryError("out of memory")
        return self.model.hidden(tokens, positions, attend)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.logits(hidden)


@pytest.mark.parametrize("tokens", [1, 5, 30])
def test_a_forward_pass_too_large_for_memory_is_halved(
    small_engine: LlamaEngine, tree_requests: list[GenerateRequest], tokens: int
) -> None:
    wanted = ask(small_engine, tree_requests)
    model = SmallMemory(small_engine.model, tokens)
    assert ask(small_engine, tree_requests, model=model) == wanted
    assert 2 <= model.refused <= 16  # not at every step again
    with pytest.raises(torch.OutOfMemoryError):
        ask(small_engine, tree_requests, model=SmallMemory(small_engine.model, 0))
    # One rank of several would leave the others behind.
    rank = SmallMemory(small_engine.model, tokens)
    with pytest.raises(torch.OutOfMemoryError):
        ask(small_engine, tree_requests, model=rank, alone=False)
    assert rank.refused == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_slots_too_many_for_memory_are_halved(
    small_engine: LlamaEngine,
    tree_requests: list[GenerateRequest],
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
) -> None:
    wanted = ask(small_engine, tree_requests)
    tried = []

    class Scarce(Decoder):
        def __init__(self, model, store, tree, slots: int, capacity: int, *, alone: bool) -> None:
            tried.append(slots)
            if slots > 12:
                raise error
            super().__init__(model, store, tree, slots, capacity, alone=alone)

    monkeypatch.setattr(generation, "Decoder", Scarce)
    assert ask(small_engine, tree_requests) == wanted
    assert len(tried) > 2
    assert tried[-1] <= 12


def test_other_errors_are_not_taken_for_memory(
    small_engine: LlamaEngine, tree_requests: list[GenerateRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(decode, "softmax_part", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        ask(small_engine, tree_requests)
