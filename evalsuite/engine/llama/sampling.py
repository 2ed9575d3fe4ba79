"""The next token from logits: greedy, or drawn at a temperature from the most likely tokens.

A request's draws come from its seed alone, one uniform number a step, so its text does not depend
on its neighbours in the batch. Knows logits and numbers; no requests.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_KEY_BITS = 2**128 - 1

# A row of the vocabulary is searched block by block, then inside one block: ten times faster on a
# CPU than argmax or a running sum over the whole row.
_BLOCK = 128

# A nucleus is looked for among this many most likely tokens first: sorting all is slow.
_LIKELY = 1024


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for one request; a longer row begins like a shorter one."""
    # Philox (Salmon et al. 2011) is keyed by the seed itself, so neighbouring seeds are unrelated.
    return np.random.Generator(np.random.Philox(key=seed & _KEY_BITS)).random(count)


def next_tokens(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """Choose a token for each row: the most likely one where temperature is 0, else a drawn one.

    logits float32 [B, V]; temperature, top_p and uniform float64 [B] -> int64 [B]. Drawing keeps
    the smallest set of most likely tokens whose probability reaches `top_p` (one at least; Holtzman
    et al., arXiv:1904.09751) and inverts its distribution at `uniform`. The inversion goes in the
    order of token ids, not of probability: rounding may swap neighbours in a sorted row, and near
    ties would then change the draw.
    """
    tokens = most_likely(logits)
    drawn = torch.nonzero(temperature > 0).flatten()
    if len(drawn) == 0:
        return tokens
    rows = logits if len(drawn) == len(logits) else logits[drawn]
    tokens[drawn] = draw(rows, temperature[drawn], top_p[drawn], uniform[drawn])
    return tokens


def most_likely(logits: Tensor) -> Tensor:
    """The token of the largest logit, the first of a tie: float32 [B, V] -> int64 [B]."""
    blocks = _in_blocks(logits, float("-inf"))  # [B, N, _BLOCK]
    block = blocks.amax(dim=-1).argmax(dim=-1)  # [B]
    return block * _BLOCK + _at(blocks, block).argmax(dim=-1)


def draw(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """`next_tokens` where every temperature is above 0."""
    # Float32 is enough: the logits are no more exact. Sums over the vocabulary are float64.
    weights = logits - logits.amax(dim=-1, keepdim=True)
    weights.div_(temperature[:, None].to(weights.dtype)).exp_()
    if bool((top_p < 1).any()):
        weights = _nucleus(weights, top_p)
    blocks = _in_blocks(weights, 0.0)
    cumulated = blocks.sum(dim=-1).cumsum(dim=-1, dtype=torch.float64)  # [B, N]
    wanted = uniform[:, None] * cumulated[:, -1:]
    block = _invert(cumulated, wanted)
    before = cumulated.gather(1, (block - 1).clamp(min=0)[:, None]) * (block > 0)[:, None]
    inside = _at(blocks, block).cumsum(dim=-1, dtype=torch.float64)  # [B, _BLOCK]
    return block * _BLOCK + _invert(inside, wanted - before)


def _invert(cumulated: Tensor, wanted: Tensor) -> Tensor:
    """The first place whose running sum [B, N] is above wanted [B, 1]: int64 [B]."""
    place = torch.searchsorted(cumulated, wanted, right=True)[:, 0]
    # Rounding can carry `wanted` up to the total: then it is the last place that has any weight.
    return torch.minimum(place, cumulated.argmax(dim=-1))


def _in_blocks(rows: Tensor, padding: float) -> Tensor:
    """rows [B, V] -> [B, N, _BLOCK], the last block filled up with `padding`."""
    missing = -rows.shape[-1] % _BLOCK
    if missing:
        rows = F.pad(rows, (0, missing), value=padding)
    return rows.reshape(rows.shape[0], -1, _BLOCK)


def _at(blocks: Tensor, block: Tensor) -> Tensor:
    """One block of each row: [B, N, _BLOCK] and [B] -> [B, _BLOCK]."""
    return blocks[torch.arange(len(block), device=block.device), block]


def _nucleus(weights: Tensor, top_p: Tensor) -> Tensor:
    """Weights [b, V] with those outside the top_p [b] set to 0; the first of a tie stay."""
    total = weights.sum(dim=-1, dtype=torch.float64)
    enough = torch.where(top_p < 1, top_p, 1.0) * total  # [b]
    size = weights.shape[-1]
    for count in sorted({min(_LIKELY, size), size}):
        ordered = weights.topk(count, dim=-1).values  # [b, count], descending
        cumulated = ordered.cumsum(dim=-1, dtype=torch.float64)
        if bool((cumulated[:, -1] >= enough).logical_or(top_p >= 1).all()):
            break
    kept = (cumulated - ordered < enough[:, None]).sum(dim=-1).clamp(min=1)  # [b]
    least = ordered.gather(1, kept[:, None] - 1)  # [b, 1], the smallest weight inside
    # Of several tokens with that weight only the first few may be inside.
    tied = weights == least
    room = kept[:, None] - (ordered > least).sum(dim=-1, keepdim=True)
    outside = weights < least
    if bool((tied.sum(dim=-1, keepdim=True) > room).any()):
        outside |= tied & (tied.cumsum(dim=-1) > room)
    outside &= (top_p < 1)[:, None]
    return weights.masked_fill(outside, 0.0)
