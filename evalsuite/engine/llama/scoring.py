"""Scoring: one pack of score requests through the model.

Each distinct token is computed once, logits only at the nodes that a continuation is read from,
their softmax in float32. Knows the model and requests; no plan, no files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from evalsuite.engine.base import scoring_input
from evalsuite.engine.llama.attention import pack_attention
from evalsuite.engine.llama.model import Llama
from evalsuite.engine.llama.trie import build_pack
from evalsuite.records import ScoreRequest, ScoreResponse

# Logits in flight: 2**26 float32 numbers are 256 MiB (2,048 nodes of a vocabulary of 32,000).
LOGITS_AT_ONCE = 2**26


@torch.inference_mode()
def score_pack(
    model: Llama, requests: Sequence[ScoreRequest], max_length: int, attention: str
) -> list[ScoreResponse]:
    """Score requests as one pack, in their order; `attention` as in `pack_attention`.

    The numbers depend on the set of requests alone, not on their order. Raises ValueError for a
    request that `scoring_input` refuses.
    """
    if not requests:
        return []
    inputs = [scoring_input(request, max_length) for request in requests]
    counts = [len(request.continuation) for request in requests]
    pack = build_pack([tokens for tokens, _ in inputs], counts)
    device, dtype = model.embedding.weight.device, model.embedding.weight.dtype

    hidden = model.hidden(
        torch.from_numpy(pack.tokens).to(device),
        torch.from_numpy(pack.positions).to(device),
        pack_attention(pack.end, dtype, device, attention),
    )  # [n, C]

    # One row for each node that something is read from; several continuations may share a node.
    targets = np.concatenate([np.asarray(r.continuation, dtype=np.int64) for r in requests])
    nodes, rows = np.unique(np.concatenate(pack.tails), return_inverse=True)
    logprobs, greedy = _read(model, hidden[torch.from_numpy(nodes).to(device)], rows, targets)

    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    sums = np.add.reduceat(logprobs, firsts)
    all_greedy = np.logical_and.reduceat(greedy, firsts)
    return [
        ScoreResponse(float(total), bool(is_greedy), cut)
        for total, is_greedy, (_, cut) in zip(sums, all_greedy, inputs, strict=True)
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
        chosen = logits[row, target] - torch.logsumexp(logits, dim=-1)[row]
        logprobs[inside] = chosen.double().cpu().numpy()
        greedy[inside] = (logits.argmax(dim=-1)[row] == target).cpu().numpy()
    return logprobs, greedy
