"""Generating: a group of prompts is prefilled as a trie, then decoded side by side.

Each distinct prompt token is computed once; its keys and values are then copied to every sequence
that goes through it. Sequences that have ended leave the batch. Knows the model and requests; no
plan, no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from evalsuite.engine.base import generation_input
from evalsuite.engine.llama.attention import pack_attention
from evalsuite.engine.llama.model import Attend, Llama
from evalsuite.engine.llama.sampling import next_tokens, uniforms
from evalsuite.engine.llama.text import StopWatch
from evalsuite.engine.llama.trie import build_pack, preorder, split
from evalsuite.records import GenerateRequest, GenerateResponse

Finish = Literal["stop", "eos", "length"]


@dataclass(slots=True)
class _Sequence:
    """One distinct request on its way."""

    prompt: tuple[int, ...]
    max_new: int
    truncated: int
    watch: StopWatch
    draws: list[float]
    tokens: list[int] = field(default_factory=list)
    finish: Finish | None = None

    def take(self, token: int, eos_ids: frozenset[int]) -> None:
        """Append the token that was chosen, and notice whether the answer ends with it."""
        if token in eos_ids:
            self.finish = "eos"
            return
        self.tokens.append(token)
        if self.watch.reached(self.tokens):
            self.finish = "stop"
        elif len(self.tokens) == self.max_new:
            self.finish = "length"


@torch.inference_mode()
def generate_group(
    model: Llama,
    tokenizer: Any,
    requests: Sequence[GenerateRequest],
    *,
    eos_ids: frozenset[int],
    max_length: int,
    pack_tokens: int,
    attention: str,
) -> list[GenerateResponse]:
    """Answer the requests of one group, in their order; equal requests are computed once.

    `pack_tokens` bounds the packs of the prefill, `attention` is as in `pack_attention`. Raises
    ValueError for a request that `generation_input` refuses.
    """
    distinct = {request: _start(tokenizer, request, max_length) for request in requests}
    sequences = list(distinct.values())
    if not sequences:
        return []
    cache = Cache(model, len(sequences), max(len(s.prompt) + s.max_new for s in sequences))
    sampler = _Sampler(list(distinct), model.embedding.weight.device)
    logits = _prefill(model, cache, [s.prompt for s in sequences], pack_tokens, attention)

    rows = list(range(len(sequences)))  # rows[slot] is the sequence that the cache's slot holds
    step = 0
    while True:
        chosen = sampler.choose(logits, rows, [sequences[i].draws[step] for i in rows])
        for i, token in zip(rows, chosen, strict=True):
            sequences[i].take(token, eos_ids)
        for slot in reversed(range(len(rows))):
            if sequences[rows[slot]].finish:
                cache.drop(slot)
                rows[slot] = rows[-1]
                rows.pop()
        if not rows:
            break
        logits = _decode(model, cache, [sequences[i].tokens[-1] for i in rows])
        step += 1
    responses = {request: _response(sequence) for request, sequence in distinct.items()}
    return [responses[request] for request in requests]


class Cache:
    """Keys and values of sequences being decoded: slots 0 to `rows` - 1 are in use.

    One tensor each a layer, [slots, G, capacity, D]; `lengths[slot]` tokens of a slot are filled.
    """

    def __init__(self, model: Llama, slots: int, capacity: int) -> None:
        config, weight = model.config, model.embedding.weight
        self._config = config
        shape = (slots, config.kv_heads, capacity, config.head_dim)
        # Zeros, because what is not filled yet is read and masked, and a masked NaN stays a NaN.
        self.keys = [weight.new_zeros(shape) for _ in range(config.layers)]
        self.values = [weight.new_zeros(shape) for _ in range(config.layers)]
        self.lengths = [0] * slots
        self.rows = slots

    def fill(self, paths: dict[int, Tensor], attend: Attend) -> Attend:
        """Wrap a pack's attention so that the keys and values on each path land in its slot."""

        def filling(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for slot, path in paths.items():
                self.keys[layer][slot, :, : len(path)] = k[path].transpose(0, 1)
                self.values[layer][slot, :, : len(path)] = v[path].transpose(0, 1)
            return attend(layer, q, k, v)

        for slot, path in paths.items():
            self.lengths[slot] = len(path)
        return filling

    def step(self) -> tuple[Tensor, Attend]:
        """Positions [B] of the next token of each slot in use, and its attention.

        The attention appends the token's keys and values, then looks at all that its slot holds.
        """
        rows, config = self.rows, self._config
        device = self.keys[0].device
        positions = torch.tensor(self.lengths[:rows], device=device)
        slots = torch.arange(rows, device=device)
        longest = max(self.lengths[:rows]) + 1
        groups = config.heads // config.kv_heads
        seen = torch.arange(longest, device=device) <= positions[:, None]  # [B, L]
        mask = torch.zeros(seen.shape, dtype=self.keys[0].dtype, device=device)
        mask = mask.masked_fill_(~seen, float("-inf"))[:, None, None]  # [B, 1, 1, L]
        mask = mask.expand(rows, 1, groups, longest)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]
            keys[slots, :, positions] = k
            values[slots, :, positions] = v
            # The query heads that share a key head stand where queries of a sequence would.
            y = F.scaled_dot_product_attention(
                q.view(rows, config.kv_heads, groups, config.head_dim),
                keys[:rows, :, :longest],
                values[:rows, :, :longest],
                attn_mask=mask,
            )  # [B, G, H/G, D]
            return y.reshape(rows, config.heads, config.head_dim)

        for slot in range(rows):
            self.lengths[slot] += 1
        return positions, attend

    def drop(self, slot: int) -> None:
        """Free a slot; the last slot in use moves into its place."""
        last = self.rows - 1
        if slot != last:
            length = self.lengths[last]
            for tensor in (*self.keys, *self.values):
                tensor[slot, :, :length] = tensor[last, :, :length]
            self.lengths[slot] = length
        self.rows = last


class _Sampler:
    """The requests' sampling settings as tensors, by sequence."""

    def __init__(self, requests: Sequence[GenerateRequest], device: torch.device) -> None:
        self._device = device
        self._temperature = self._row([request.temperature for request in requests])
        self._top_p = self._row([request.top_p for request in requests])

    def choose(self, logits: Tensor, rows: list[int], draws: list[float]) -> list[int]:
        """One token for each of `rows`: logits float32 [B, V] -> B token ids."""
        index = torch.tensor(rows, device=self._device)
        settings = self._temperature[index], self._top_p[index], self._row(draws)
        return next_tokens(logits, *settings).tolist()

    def _row(self, numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=self._device)


def _start(tokenizer: Any, request: GenerateRequest, max_length: int) -> _Sequence:
    prompt, max_new, truncated = generation_input(request, max_length)
    draws = uniforms(request.seed, max_new).tolist() if request.temperature else [0.0] * max_new
    return _Sequence(prompt, max_new, truncated, StopWatch(tokenizer, request.stop), draws)


def _prefill(
    model: Llama,
    cache: Cache,
    prompts: list[tuple[int, ...]],
    pack_tokens: int,
    attention: str,
) -> Tensor:
    """Fill the cache, one slot a prompt; returns float32 logits after each prompt, [B, V]."""
    order, shared = preorder(prompts)
    packs = split(order, shared, [len(prompt) for prompt in prompts], pack_tokens)
    device, dtype = model.embedding.weight.device, model.embedding.weight.dtype
    last = torch.empty(len(prompts), model.config.hidden_size, dtype=dtype, device=device)
    for members, _ in packs:
        inside = [prompts[i] for i in members]
        pack = build_pack(inside, [len(prompt) for prompt in inside])
        paths = [torch.from_numpy(path).to(device) for path in pack.tails]
        attend = cache.fill(
            dict(zip(members, paths, strict=True)),
            pack_attention(pack.end, dtype, device, attention),
        )
        hidden = model.hidden(
            torch.from_numpy(pack.tokens).to(device),
            torch.from_numpy(pack.positions).to(device),
            attend,
        )
        ends = torch.stack([path[-1] for path in paths])
        last[torch.tensor(members, device=device)] = hidden[ends]
    return model.logits(last)


def _decode(model: Llama, cache: Cache, tokens: list[int]) -> Tensor:
    """One step: the newest token of each slot in use -> float32 logits [B, V]."""
    positions, attend = cache.step()
    ids = torch.tensor(tokens, device=positions.device)
    return model.logits(model.hidden(ids, positions, attend))


def _response(sequence: _Sequence) -> GenerateResponse:
    assert sequence.finish is not None
    text = sequence.watch.text(sequence.tokens)
    return GenerateResponse(text, tuple(sequence.tokens), sequence.finish, sequence.truncated)
