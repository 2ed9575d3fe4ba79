"""Attention over a packed trie: node q sees node k exactly when k <= q < end[k].

On a CPU, and wherever asked for, the pack is cut into blocks of queries. The keys that a block can
see are few: the path above its first node, and the block itself. So the dense mask stays small
however large the pack is. On CUDA FlexAttention takes `end` as it stands.
Knows tensors and `end`; no tokens, no requests.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evalsuite.engine.llama.model import Attend
from evalsuite.engine.llama.trie import Ints

# Queries a block. Measured on a CPU, contexts of 30 to 100 tokens: with 12 layers of 768, 128 is as
# fast as 256 and 512; with 5 layers of 64 it is a quarter faster than 256. Smaller blocks pay for
# more calls, larger ones for keys that most of their queries can't see.
BLOCK = 128

# FlexAttention skips whole blocks of this many nodes, and packs are padded to a multiple of it.
_FLEX_BLOCK = 128


def pack_attention(end: Ints, dtype: torch.dtype, device: torch.device, kind: str) -> Attend:
    """The attention of one pack; `kind` is "dense" or "flex"."""
    if kind == "flex":
        return FlexAttend(end, device)
    return DenseAttend(end, dtype, device)


class DenseAttend:
    """Attention over a pack by scaled_dot_product_attention, one block of queries at a time."""

    def __init__(self, end: Ints, dtype: torch.dtype, device: torch.device) -> None:
        self._blocks: list[tuple[slice, Tensor | slice, Tensor]] = []
        ends = torch.from_numpy(end)
        for start in range(0, len(end), BLOCK):
            stop = min(start + BLOCK, len(end))
            # Whoever a query of this block sees before the block is on the path above its first
            # node: a subtree that ended before `start` is seen by none of them.
            above = torch.nonzero(ends[:start] > start).flatten()
            keys = torch.cat((above, torch.arange(start, stop)))  # [K]
            queries = torch.arange(start, stop)[:, None]  # [Q, 1]
            visible = (keys <= queries) & (queries < ends[keys])  # [Q, K]
            mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, float("-inf"))
            whole = len(keys) == stop
            self._blocks.append(
                (
                    slice(start, stop),
                    slice(0, stop) if whole else keys.to(device),
                    mask[None, None].to(device),
                )
            )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)  # [H or G, T, D]
        grouped = q.shape[0] != k.shape[0]
        parts = []
        for queries, keys, mask in self._blocks:
            y = F.scaled_dot_product_attention(
                q[None, :, queries],
                k[None, :, keys],
                v[None, :, keys],
                attn_mask=mask,
                enable_gqa=grouped,
            )  # [1, H, Q, D]
            parts.append(y[0])
        return torch.cat(parts, dim=1).transpose(0, 1)  # [T, H, D]


class FlexAttend:
    """Attention over a pack by FlexAttention (arXiv:2412.05496), compiled once a process.

    The tests check its mask and padding on a CPU, uncompiled; no GPU has run it yet. Should it fail
    there, `attention="dense"` selects the other form on CUDA too.
    """

    def __init__(self, end: Ints, device: torch.device) -> None:
        from torch.nn.attention.flex_attention import create_block_mask

        self._n = len(end)
        padded = -(-self._n // _FLEX_BLOCK) * _FLEX_BLOCK
        ends = torch.arange(1, padded + 1, device=device)  # a padding node sees itself alone
        ends[: self._n] = torch.from_numpy(end).to(device)

        def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (query < ends[key])

        self._pad = padded - self._n
        self._mask = create_block_mask(visible, None, None, padded, padded, device=str(device))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (F.pad(x, (0, 0, 0, 0, 0, self._pad)).transpose(0, 1)[None] for x in (q, k, v))
        y = _compiled_flex()(q, k, v, block_mask=self._mask, enable_gqa=q.shape[1] != k.shape[1])
        return y[0].transpose(0, 1)[: self._n]  # [T, H, D]


@lru_cache(maxsize=1)
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
