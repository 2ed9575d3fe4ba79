"""The decoder by itself: logits against transformers, steps that can be replayed; the prefill."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable

import numpy as np
import pytest
import torch
from llama_oracle import oracle_logits
from prompt_trees import Prompt, deep_prompts
from torch import Tensor
from transformers import PreTrainedModel

from evalsuite.engine.llama import prefill
from evalsuite.engine.llama.decode import Decoder
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.graphs import StepGraphs
from evalsuite.engine.llama.segments import segment_tree
from evalsuite.engine.llama.trie import build_pack


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
