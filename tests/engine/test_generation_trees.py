"""Decoding over a tree of segments: any tree, any number of slots, memory that runs out."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pytest
import torch
from llama_oracle import greedy_tokens, load_oracle, make_tokenizer, oracle_logits, write_model
from torch import Tensor
from transformers import PreTrainedModel

from evalsuite.engine.llama import decode, generation, prefill
from evalsuite.engine.llama.decode import Decoder
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.generation import generate_group
from evalsuite.engine.llama.graphs import StepGraphs
from evalsuite.engine.llama.model import Attend
from evalsuite.engine.llama.segments import SAVED_BYTES, segment_tree
from evalsuite.engine.llama.trie import build_pack
from evalsuite.records import GenerateRequest, GenerateResponse

NEW = 8
Prompt = tuple[int, ...]


@pytest.fixture
def _every_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models save too little by sharing: here every chain that can be shared is."""
    monkeypatch.setitem(SAVED_BYTES, "cpu", 1)


def deep_prompts(rng: random.Random, count: int) -> list[Prompt]:
    """Prompts from a tree of several levels; some are prefixes of others, some one token."""

    def some(least: int, most: int) -> Prompt:
        return tuple(rng.choices(range(3, 96), k=rng.randrange(least, most)))

    pool: list[Prompt] = [some(1, 2), some(6, 9)]
    while len(pool) < count:
        parent = rng.choice(pool)
        if len(parent) < 30:
            pool.append(parent + some(1, 5))
    return pool[:count]


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


# ---- the decoder by itself ----------------------------------------------------------------------


def make_decoder(engine: LlamaEngine, prompts: list[Prompt], slots: int, **how: bool):
    pack = build_pack(prompts, [len(p) for p in prompts])
    tree = segment_tree(pack, [1] * len(prompts), together=slots, token_bytes=1, worth=1)
    assert tree.segments
    leaves = np.array([path[-1] for path in pack.tails])
    store, last = prefill.prefill(engine.model, pack, leaves, 40, "dense")
    return Decoder(engine.model, store, tree, slots, 40, **how), store, last


@torch.inference_mode()
def test_logits_are_transformers_logits(
    small_engine: LlamaEngine, small_oracle: PreTrainedModel
) -> None:
    """Prefill, steps, sequences that leave and join late: 1e-4 from a plain forward pass."""
    rng = random.Random(8)
    prompts = deep_prompts(rng, 25)
    decoder, store, last = make_decoder(small_engine, prompts, 6)
    torch.testing.assert_close(
        small_engine.model.logits(last),
        torch.stack([oracle_logits(small_oracle, p)[-1] for p in prompts]),
        atol=1e-4,
        rtol=0,
    )
    waiting = list(range(len(prompts)))
    running: list[Prompt] = []
    while waiting or running:
        new = [waiting.pop() for _ in range(min(decoder.free, len(waiting)))]
        if new:
            tokens = rng.choices(range(3, 96), k=len(new))
            slots = decoder.join(new, tokens, store)
            assert sorted(slots) == list(range(len(running), len(running) + len(new)))
            running += [()] * len(new)
            for slot, i, token in zip(slots, new, tokens, strict=True):
                running[slot] = (*prompts[i], token)
        logits = decoder.step()
        wanted = torch.stack([oracle_logits(small_oracle, text)[-1] for text in running])
        torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=0)
        tokens = rng.choices(range(3, 96), k=len(running))
        decoder.take(torch.tensor(tokens))
        running = [(*text, token) for text, token in zip(running, tokens, strict=True)]
        leaving = [slot for slot in range(len(running)) if rng.random() < 0.3]
        running = [running[slot] for slot in decoder.leave(leaving)]


class Replay:
    """What a CUDA graph does, on a CPU: the first step of a key is run again for that key."""

    def __init__(self) -> None:
        self.steps: dict[Hashable, Callable[[], Tensor]] = {}
        self.replayed = 0

    def run(self, key: Hashable, step: Callable[[], Tensor]) -> Tensor:
        self.replayed += key in self.steps
        return self.steps.setdefault(key, step)()


@torch.inference_mode()
def test_steady_steps_can_be_replayed(
    small_engine: LlamaEngine, small_oracle: PreTrainedModel
) -> None:
    """Equal keys mean the same work on the same tensors, so that a graph may stand for it."""
    rng = random.Random(2)
    prompts = [(5, 6, 7, i, 9, *range(10, 10 + i % 3)) for i in range(20, 60)]
    decoder, store, _ = make_decoder(small_engine, prompts, 12, steady=True)
    replay = Replay()
    decoder._graphs = replay  # type: ignore[assignment]
    waiting = list(range(len(prompts)))
    running: list[Prompt | None] = []
    while waiting or any(running):
        new = [waiting.pop() for _ in range(min(decoder.free, len(waiting)))]
        if new:
            slots = decoder.join(new, [70] * len(new), store)
            running += [None] * (decoder.rows - len(running))
            for slot, i in zip(slots, new, strict=True):
                running[slot] = (*prompts[i], 70)
        logits = decoder.step()
        for text, row in zip(running, logits, strict=True):
            if text:
                wanted = oracle_logits(small_oracle, text)[-1]
                torch.testing.assert_close(row, wanted, atol=1e-4, rtol=0)
        tokens = rng.choices(range(3, 96), k=len(running))
        decoder.take(torch.tensor(tokens))
        running = [t and (*t, token) for t, token in zip(running, tokens, strict=True)]
        ended = [i for i, t in enumerate(running) if t and rng.random() < 0.2]
        for slot in ended:
            running[slot] = None
        running = [running[slot] for slot in decoder.leave(ended)]
    assert replay.replayed > len(replay.steps)


@pytest.mark.skipif(torch.cuda.is_available(), reason="capturing succeeds here")
def test_steps_go_on_where_they_cannot_be_captured() -> None:
    graphs = StepGraphs(torch.device("cuda"))
    done = []

    def step() -> Tensor:
        done.append(1)
        return torch.ones(1)

    for _ in range(4):
        graphs.run("a", step)
    with pytest.warns(UserWarning, match="without CUDA graphs"):
        graphs.run("a", step)
    graphs.run("a", step)
    assert len(done) == 6


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


@pytest.mark.filterwarnings("ignore:flex_attention called without:UserWarning")
@torch.inference_mode()
def test_flex_prefill_equals_dense(
    small_engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FlexAttention uncompiled, as no GPU is needed for that."""
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(prefill, "_compiled_flex", lambda: flex_attention)
    prompts = deep_prompts(random.Random(6), 40)
    pack = build_pack(prompts, [len(p) for p in prompts])
    leaves = np.array([path[-1] for path in pack.tails])
    for chunk in (7, 1000):
        dense = prefill.prefill(small_engine.model, pack, leaves, chunk, "dense")
        flex = prefill.prefill(small_engine.model, pack, leaves, chunk, "flex")
        torch.testing.assert_close(flex[1], dense[1], atol=1e-4, rtol=0)
        for a, b in zip(flex[0].keys, dense[0].keys, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
