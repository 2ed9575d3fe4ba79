"""Scoring: one pack of score requests through the model.

Each distinct token is computed once, logits only at the nodes that a continuation is read from,
their softmax in float32. Knows the model and requests; no plan, no files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from evalsuite.engine.base import scoring_input
from evalsuite.engine.llama.attention import Prefix, pack_attention
from evalsuite.engine.llama.model import Llama
from evalsuite.engine.llama.trie import build_pack, preorder, shared_prefix
from evalsuite.records import ScoreRequest, ScoreResponse

# Logits at once: 2**22 float32 numbers are 16 MiB (131 nodes of a vocabulary of 32,000). What is
# more than 32 MiB malloc gives back to the system each time, which clears it again page by page.
LOGITS_AT_ONCE = 2**22


class LastPrefix:
    """Keys and values of the prefix that was asked for last: neighbouring packs share it."""

    def __init__(self, model: Llama) -> None:
        self._model = model
        self._last: Prefix | None = None

    def of(self, tokens: tuple[int, ...]) -> Prefix:
        """Those of `tokens`, computed by themselves: the same bits whichever pack asks first."""
        if self._last is None or self._last.tokens != tokens:
            self._last = None  # its memory, before more is taken
            self._last = self._compute(tokens)
        return self._last

    def _compute(self, tokens: tuple[int, ...]) -> Prefix:
        weight = self._model.embedding.weight
        keys: list[Tensor] = []
        values: list[Tensor] = []
        chain = np.full(len(tokens), len(tokens), dtype=np.int64)
        attend = pack_attention(chain, weight.dtype, weight.device, "dense")

        def keeping(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys.append(k.clone())  # clones, because k and v may be views of larger products
            values.append(v.clone())
            return attend(layer, q, k, v)

        positions = torch.arange(len(tokens), device=weight.device)
        self._model.hidden(torch.tensor(tokens, device=weight.device), positions, keeping)
        return Prefix(tokens, tuple(keys), tuple(values))


@torch.inference_mode()
def score_pack(
    model: Llama,
    requests: Sequence[ScoreRequest],
    max_length: int,
    attention: str,
    prefixes: LastPrefix | None = None,
) -> list[ScoreResponse]:
    """Score requests as one pack, in their order; `attention` as in `pack_attention`.

    The numbers depend on the set of requests alone, not on their order nor on what `prefixes`
    remembers. Raises ValueError for a request that `scoring_input` refuses.
    """
    if not requests:
        return []
    inputs, cuts = zip(*(scoring_input(request, max_length) for request in requests), strict=True)
    counts = [len(request.continuation) for request in requests]
    device, dtype = model.embedding.weight.device, model.embedding.weight.dtype

    prefix = None
    if attention == "dense":
        order, shared = preorder(inputs)
        nodes = sum(map(len, inputs)) - sum(shared)
        length = shared_prefix([inputs[i] for i in order], [counts[i] for i in order], nodes)
        if length:
            prefix = (prefixes or LastPrefix(model)).of(inputs[0][:length])
    start = len(prefix.tokens) if prefix else 0
    pack = build_pack([tokens[start:] for tokens in inputs], counts)

    # One row for each node that something is read from; several continuations may share a node.
    targets = np.concatenate([np.asarray(r.continuation, dtype=np.int64) for r in requests])
    read, rows = np.unique(np.concatenate(pack.tails), return_inverse=True)
    hidden = model.hidden(
        torch.from_numpy(pack.tokens).to(device),
        torch.from_numpy(pack.positions + start).to(device),
        pack_attention(pack.end, dtype, device, attention, prefix),
        wanted=torch.from_numpy(read).to(device),
    )  # [N, C]
    logprobs, greedy = _read(model, hidden, rows, targets)

    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    sums = np.add.reduceat(logprobs, firsts)
    all_greedy = np.logical_and.reduceat(greedy, firsts)
    return [
        ScoreResponse(float(total), bool(is_greedy), cut)
        for total, is_greedy, cut in zip(sums, all_greedy, cuts, strict=True)
    ]


def _read(
    model: Llama, hidden: torch.Tensor, rows: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of targets[i] at hidden[rows[i]], and whether it is the most likely token.

    hidden [N, C]; rows and targets [M] -> float64 [M] and bool [M], chunk by chunk of N.
    """
    logprobs = np.empty(len(rows))
    greedy = np.empty(len(rows), dtype=bool)
    step = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    for start in range(0, len(hidden), step):
        logits = model.logits(hidden[start : start + step])  # float32 [n, V]
        inside = np.nonzero((rows >= start) & (rows < start + step))[0]
        row = torch.from_numpy(rows[inside] - start).to(logits.device)
        target = torch.from_numpy(targets[inside]).to(logits.device)
        best = logits.amax(dim=-1)[row] == logits[row, target]
        # Of equal logits the first is the greedy one. argmax knows, but takes seven times as long
        # as the largest value, and only the few rows whose target is largest need it.
        best[best.clone()] = logits[row[best]].argmax(dim=-1) == target[best]
        torch.log_softmax(logits, dim=-1, out=logits)  # in place: a row stays in the cache
        logprobs[inside] = logits[row, target].double().cpu().numpy()
        greedy[inside] = best.cpu().numpy()
    return logprobs, greedy
