"""Generating: a group of prompts is prefilled as a trie, then decoded side by side.

Each distinct prompt token is computed once, and read once a step by all sequences below it.
Sequences that have ended leave at once and waiting ones take their place. Knows the model and
requests; no plan, no files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from evalsuite.engine.base import generation_input
from evalsuite.engine.llama.decode import Decoder
from evalsuite.engine.llama.model import Llama
from evalsuite.engine.llama.out_of_memory import is_out_of_memory
from evalsuite.engine.llama.prefill import Store, prefill
from evalsuite.engine.llama.sampling import most_likely, next_tokens, uniforms
from evalsuite.engine.llama.segments import SAVED_BYTES, SegmentTree, segment_tree
from evalsuite.engine.llama.text import StopTokens, StopWatch
from evalsuite.engine.llama.trie import build_pack, preorder
from evalsuite.records import GenerateRequest, GenerateResponse

Finish = Literal["stop", "eos", "length"]


@dataclass(slots=True)
class _Sequence:
    """One distinct request on its way. `prompt` is its prompt's number among the distinct ones."""

    prompt: int
    max_new: int
    truncated: int
    watch: StopWatch
    temperature: float
    top_p: float
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
    slots: int = 128,
    kv_bytes: int = 2**31,
    alone: bool = True,
) -> list[GenerateResponse]:
    """Answer the requests of one group, in their order; equal requests are computed once.

    `pack_tokens` bounds a chunk of the prefill, whose attention is "dense" or "flex". At most
    `slots` sequences are decoded side by side, fewer where all keys and values would take more
    than `kv_bytes`. The answers' last bits depend on these, on the requests and on their order; if
    memory runs out, on that too. `alone` is False for a rank of several that share a model: what
    does not fit is then an error, since no rank can go on with a half by itself.

    Raises ValueError for a request that `generation_input` refuses, and torch's error where the
    prompts' keys and values alone are more than memory holds.
    """
    if not requests:
        return []
    distinct, prompts = _start(tokenizer, requests, max_length)
    sequences = list(distinct.values())
    samples = np.bincount([s.prompt for s in sequences], minlength=len(prompts))
    pack = build_pack(prompts, [len(prompt) for prompt in prompts])
    leaves = np.array([path[-1] for path in pack.tails])
    store, last = prefill(model, pack, leaves, pack_tokens, attention, halve=alone)

    order, _ = preorder(prompts)
    place = {prompt: rank for rank, prompt in enumerate(order)}
    waiting = deque(sorted(sequences, key=lambda s: place[s.prompt]))
    _first_tokens(model, last, waiting, slots, eos_ids)
    waiting = deque(s for s in waiting if not s.finish)
    if waiting:
        element = model.embedding.weight.element_size()
        token_bytes = model.config.kv_values * element
        tree = segment_tree(
            pack,
            samples.tolist(),
            together=slots,
            token_bytes=token_bytes // model.config.layers,
            worth=SAVED_BYTES[model.embedding.weight.device.type],
        )
        # The last token is chosen and never read.
        capacity = max(len(tree.own[s.prompt]) + s.max_new - 1 for s in waiting)
        room = (kv_bytes - len(pack) * token_bytes) // (capacity * token_bytes)
        slots = max(1, min(slots, len(waiting), room))
        decoder = _make_decoder(model, store, tree, slots, capacity, alone=alone)
        _decode(decoder, store, waiting, eos_ids)
    responses = {request: _response(sequence) for request, sequence in distinct.items()}
    return [responses[request] for request in requests]


def _start(
    tokenizer: Any, requests: Sequence[GenerateRequest], max_length: int
) -> tuple[dict[GenerateRequest, _Sequence], list[tuple[int, ...]]]:
    """The distinct requests' sequences, and the distinct prompts that they continue."""
    prompts: dict[tuple[int, ...], int] = {}
    stop_tokens: dict[tuple[str, ...], StopTokens] = {}
    sequences = {}
    for request in dict.fromkeys(requests):
        prompt, max_new, truncated = generation_input(request, max_length)
        stops = stop_tokens.setdefault(request.stop, StopTokens(tokenizer, request.stop))
        sequences[request] = _Sequence(
            prompts.setdefault(prompt, len(prompts)),
            max_new,
            truncated,
            StopWatch(tokenizer, request.stop, stops),
            request.temperature,
            request.top_p,
            uniforms(request.seed, max_new).tolist() if request.temperature else [],
        )
    return sequences, list(prompts)


def _first_tokens(
    model: Llama, last: Tensor, sequences: Sequence[_Sequence], slots: int, eos_ids: frozenset[int]
) -> None:
    """Choose each answer's first token from the prefill's output after each prompt [N, C]."""
    everyone = list(sequences)
    for start in range(0, len(everyone), slots):
        some = everyone[start : start + slots]
        index = torch.tensor([s.prompt for s in some], device=last.device)
        _take(some, _choose(some, model.logits(last[index])).tolist(), eos_ids)


def _make_decoder(
    model: Llama, store: Store, tree: SegmentTree, slots: int, capacity: int, *, alone: bool
) -> Decoder:
    """A decoder with as many slots as there is memory for: half as many after each failure."""
    while True:
        try:
            return Decoder(model, store, tree, slots, capacity, alone=alone)
        except RuntimeError as error:
            if not alone or slots == 1 or not is_out_of_memory(error):
                raise
            slots //= 2


def _decode(
    decoder: Decoder, store: Store, waiting: deque[_Sequence], eos_ids: frozenset[int]
) -> None:
    """Finish the sequences that wait, the first ones first."""
    running: list[_Sequence | None] = []  # by slot; None where one is idle
    while waiting or any(running):
        new = [waiting.popleft() for _ in range(min(len(waiting), decoder.free))]
        if new:
            slots = decoder.join([s.prompt for s in new], [s.tokens[-1] for s in new], store)
            running += [None] * (decoder.rows - len(running))
            for slot, sequence in zip(slots, new, strict=True):
                running[slot] = sequence
            if not waiting:
                store.clear()  # all have copied what is theirs
        chosen = _choose(running, decoder.step())
        decoder.take(chosen)
        _take(running, chosen.tolist(), eos_ids)
        ended = [slot for slot, s in enumerate(running) if s and s.finish]
        if ended:
            for slot in ended:
                running[slot] = None
            running = [running[slot] for slot in decoder.leave(ended)]


def _take(
    sequences: Sequence[_Sequence | None], tokens: list[int], eos_ids: frozenset[int]
) -> None:
    for sequence, token in zip(sequences, tokens, strict=True):
        if sequence:
            sequence.take(token, eos_ids)


def _choose(sequences: Sequence[_Sequence | None], logits: Tensor) -> Tensor:
    """The next token of each sequence: logits float32 [B, V] -> int64 [B], on their device."""
    draws = {
        row: (s.temperature, s.top_p, s.draws[len(s.tokens)])
        for row, s in enumerate(sequences)
        if s and s.temperature
    }
    if not draws:
        return most_likely(logits)
    settings = [draws.get(row, (0.0, 1.0, 0.0)) for row in range(len(sequences))]
    columns = torch.tensor(settings, dtype=torch.float64).T.contiguous()  # [3, B]
    return next_tokens(logits, *columns.to(logits.device))


def _response(sequence: _Sequence) -> GenerateResponse:
    assert sequence.finish is not None
    text = sequence.watch.text(sequence.tokens)
    return GenerateResponse(text, tuple(sequence.tokens), sequence.finish, sequence.truncated)
