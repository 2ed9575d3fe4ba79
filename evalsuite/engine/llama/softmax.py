"""Parts of a softmax: attention over some of a query's keys, and two such parts joined.

Each part comes with the log-sum-exp of its scores (FlashAttention, arXiv:2205.14135), in float32
whatever the model computes in. Knows tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def softmax_part(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention over these keys alone: float32 output [B, G, M, D] and log-sum-exp [B, G, M].

    q [B, G, M, D], k and v [B, G, L, D]; mask is added to the scores, broadcast to [B, G, M, L].
    """
    # Measured in float32 on a CPU: by hand is a third to a half faster for few queries a key, and
    # FlashAttention's one call is as fast as five for many. It also keeps half types' scores in
    # float32, which a product of them would round.
    if q.device.type == "cpu" and (q.dtype is not torch.float32 or mask is None):
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, attn_mask=None if mask is None else mask.to(q.dtype)
        )
        return out.float(), lse
    scores = _product(q * (1 / math.sqrt(q.shape[-1])), k.transpose(2, 3))  # [B, G, M, L]
    if mask is not None:
        scores += mask
    highest = scores.amax(dim=-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    out = _product(weights.to(v.dtype), v) / total
    return out, (highest + total.log())[..., 0]


def join(out: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over the keys of both parts: [..., D] and [...] each, as `softmax_part` gives."""
    share = torch.sigmoid(other_lse - lse)  # exp(other_lse) of the sum of both
    return out.lerp(other, share[..., None]), torch.logaddexp(lse, other_lse)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a [B, G, M, K] times b [B, G, K, N], in float32."""
    shape = (*a.shape[:3], b.shape[3])
    a, b = a.flatten(0, 1), b.flatten(0, 1)
    if a.dtype is torch.float32:
        return torch.bmm(a, b).view(shape)
    return torch.bmm(a, b, out_dtype=torch.float32).view(shape)
