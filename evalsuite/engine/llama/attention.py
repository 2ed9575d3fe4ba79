"""Attention over a packed trie: node q sees node k exactly when k <= q < end[k].

On a CPU, and wherever asked for, the pack is cut into blocks of queries. The keys that a block can
see are few: the path above its first node, and the block itself. So the dense mask stays small
however large the pack is. On CUDA FlexAttention takes `end` as it stands.
Knows tensors and `end`; no tokens, no requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evalsuite.engine.llama.model import Attend
from evalsuite.engine.llama.softmax import join, softmax_part
from evalsuite.engine.llama.trie import Ints

# Queries a block, by how many keys a query of the pack sees on average: small blocks pay for more
# calls, large ones for keys that most of their queries can't see. Measured on a CPU, 12 layers of
# 768: contexts of 30 to 100 tokens take 64, contexts of 1,000 take 256; each is 3 to 6 % of the
# whole slower with the other's.
_BLOCKS = ((96, 64), (384, 128))
_LARGEST_BLOCK = 256

# FlexAttention skips whole blocks of this many nodes, and packs are padded to a multiple of it.
_FLEX_BLOCK = 128


def pack_attention(
    end: Ints,
    dtype: torch.dtype,
    device: torch.device,
    kind: str,
    prefix: Prefix | None = None,
) -> Attend:
    """The attention of one pack; `kind` is "dense" or "flex".

    `prefix` has the keys and values that stand before every node of the pack; "dense" only.
    """
    if kind == "flex":
        assert prefix is None
        return FlexAttend(end, device)
    return DenseAttend(end, dtype, device, prefix)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of tokens that a pack's sequences all begin with: [P, G, D] a layer."""

    tokens: tuple[int, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class DenseAttend:
    """Attention over a pack by scaled_dot_product_attention, one block of queries at a time.

    With a prefix, all queries see it whole: one product without a mask, joined with the blocks'
    own by the log-sum-exp of both.
    """

    def __init__(
        self, end: Ints, dtype: torch.dtype, device: torch.device, prefix: Prefix | None = None
    ) -> None:
        self._prefix = prefix
        self._blocks: list[tuple[slice, Tensor | slice, Tensor]] = []
        ends = torch.from_numpy(end)
        size = _block(end)
        for start in range(0, len(end), size):
            stop = min(start + size, len(end))
            # Whoever a query of this block sees before the block is on the path above its first
            # node: a subtree that ended before `start` is seen by none of them.
            above = torch.nonzero(ends[:start] > start).flatten()
            keys = torch.cat((above, torch.arange(start, stop)))  # [K]
            queries = torch.arange(start, stop)[:, None]  # [Q, 1]
            visible = (keys <= queries) & (queries < ends[keys])  # [Q, K]
            mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, float("-inf"))
            first = int(keys[0])
            run = len(keys) == stop - first  # no gap: a view will do
            self._blocks.append(
                (
                    slice(start, stop),
                    slice(first, stop) if run else keys.to(device),
                    mask[None, None].to(device),
                )
            )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self._prefix is None:
            parts = [
                F.scaled_dot_product_attention(
                    _heads_first(q[queries]),
                    _heads_first(_rows(k, keys)),
                    _heads_first(_rows(v, keys)),
                    attn_mask=mask,
                    enable_gqa=q.shape[1] != k.shape[1],
                )[0].transpose(0, 1)  # [Q, H, D]
                for queries, keys, mask in self._blocks
            ]
            return torch.cat(parts)
        out, lse = _part(q, self._prefix.keys[layer], self._prefix.values[layer])
        for queries, keys, mask in self._blocks:
            own = _part(q[queries], _rows(k, keys), _rows(v, keys), mask)
            out[queries], _ = join(out[queries], lse[queries], *own)
        return out.to(q.dtype)


def _part(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`softmax_part` of q [Q, H, D] over k and v [K, G, D]: float32 [Q, H, D] and [Q, H].

    mask [1, 1, Q, K] is added to the scores.
    """
    queries, heads, size = q.shape
    groups = heads // k.shape[1]
    # The query heads that share a key head stand where more queries of it would.
    folded = q.view(queries, -1, groups, size).permute(1, 2, 0, 3)  # [G, H/G, Q, D]
    if mask is not None and groups > 1:
        mask = mask.repeat(1, 1, groups, 1)
    out, lse = softmax_part(
        folded.reshape(1, -1, groups * queries, size), _heads_first(k), _heads_first(v), mask
    )
    out = out.view(-1, groups, queries, size).permute(2, 0, 1, 3)
    return out.reshape(q.shape), lse.view(-1, groups, queries).permute(2, 0, 1).reshape(
        queries, heads
    )


def _block(end: Ints) -> int:
    """Queries a block of a pack."""
    seen = float(np.mean(end - np.arange(len(end)))) if len(end) else 0.0
    return next((size for most, size in _BLOCKS if seen < most), _LARGEST_BLOCK)


def _heads_first(x: Tensor) -> Tensor:
    """[T, heads, D] -> [1, heads, T, D], without a copy."""
    return x.transpose(0, 1)[None]


def _rows(x: Tensor, keys: Tensor | slice) -> Tensor:
    return x[keys] if isinstance(keys, slice) else x.index_select(0, keys)


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
