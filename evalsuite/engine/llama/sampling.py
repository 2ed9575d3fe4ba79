"""The next token from logits: greedy, or drawn at a temperature from the most likely tokens.

A request's draws come from its seed alone, one uniform number a step, so its text does not depend
on its neighbours in the batch. Knows logits and numbers; no requests.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KEY_BITS = 2**128 - 1


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
    tokens = logits.argmax(dim=-1)
    drawn = torch.nonzero(temperature > 0).flatten()
    if len(drawn) == 0:
        return tokens
    scaled = logits[drawn].double() / temperature[drawn, None]
    kept = _nucleus(torch.softmax(scaled, dim=-1), top_p[drawn])  # [b, V]
    cumulated = kept.cumsum(dim=-1)
    wanted = uniform[drawn, None] * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, wanted, right=True)[:, 0]
    # Rounding can carry `wanted` up to the total: then it is the last token that has any weight.
    tokens[drawn] = torch.minimum(chosen, cumulated.argmax(dim=-1))
    return tokens


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Probabilities [b, V] with those outside the top_p [b] set to 0."""
    if bool((top_p >= 1).all()):
        return probabilities
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    outside = before >= top_p[:, None]
    outside[:, 0] = False
    outside[top_p >= 1] = False
    return probabilities.scatter(-1, ids, ordered.masked_fill(outside, 0.0))
