"""Prefill: a trie of prompts through the model in chunks, keys and values of each node kept.

A chunk sees the nodes of earlier chunks in the store, so no prefix is computed again where a chunk
begins. Knows the model and a trie; no requests, nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evalsuite.engine.llama.model import Attend, Llama
from evalsuite.engine.llama.out_of_memory import is_out_of_memory
from evalsuite.engine.llama.trie import Ints, Pack

# Queries that share one dense mask; see attention.BLOCK. Larger here, because the keys above a
# block are gathered for each.
_BLOCK = 256


class Store:
    """Keys and values of a trie's nodes: one tensor each a layer, [G, nodes, D]."""

    def __init__(self, model: Llama, nodes: int) -> None:
        config, weight = model.config, model.embedding.weight
        shape = (config.kv_heads, nodes, config.head_dim)
        self.keys = [weight.new_empty(shape) for _ in range(config.layers)]
        self.values = [weight.new_empty(shape) for _ in range(config.layers)]

    def clear(self) -> None:
        """Give the memory back."""
        self.keys.clear()
        self.values.clear()


def prefill(
    model: Llama, pack: Pack, leaves: Ints, chunk: int, kind: str, *, halve: bool = True
) -> tuple[Store, Tensor]:
    """Compute a trie's nodes, `chunk` at a time; with `halve`, fewer when memory runs out.

    `leaves` [N] are nodes; `kind` is "dense" or "flex". Returns the store, and the last layer's
    output at the leaves, [N, C].
    """
    device = model.embedding.weight.device
    store = Store(model, len(pack))
    tokens = torch.from_numpy(pack.tokens).to(device)
    positions = torch.from_numpy(pack.positions).to(device)
    wanted = torch.from_numpy(leaves).to(device)
    last = model.embedding.weight.new_empty(len(leaves), model.config.hidden_size)
    attention: Callable[[Store, Ints, int, int], Attend]
    attention = _FlexChunk if kind == "flex" else _DenseChunk
    start = 0
    while start < len(pack):
        stop = min(start + chunk, len(pack))
        try:
            attend = attention(store, pack.end, start, stop)
            hidden = model.hidden(tokens[start:stop], positions[start:stop], attend)
        except RuntimeError as error:
            if not halve or stop - start == 1 or not is_out_of_memory(error):
                raise
            chunk = (stop - start) // 2
            continue  # what the failed chunk wrote into the store is written again
        inside = torch.nonzero((wanted >= start) & (wanted < stop)).flatten()
        last[inside] = hidden[wanted[inside] - start]
        start = stop
    return store, last


class _DenseChunk:
    """Attention of nodes `start` to `stop` - 1 over all before them, by blocks of queries."""

    def __init__(self, store: Store, end: Ints, start: int, stop: int) -> None:
        self._store, self._start, self._stop = store, start, stop
        self._blocks: list[tuple[slice, Tensor | slice, Tensor]] = []
        ends = torch.from_numpy(end)
        sample = store.keys[0]
        for first in range(start, stop, _BLOCK):
            after = min(first + _BLOCK, stop)
            # Only the path above the block's first node is seen from it, and the block itself.
            above = torch.nonzero(ends[:first] > first).flatten()
            keys = torch.cat((above, torch.arange(first, after)))  # [K]
            queries = torch.arange(first, after)[:, None]  # [Q, 1]
            visible = (keys <= queries) & (queries < ends[keys])  # [Q, K]
            mask = torch.zeros(visible.shape, dtype=sample.dtype)
            mask.masked_fill_(~visible, float("-inf"))
            whole = len(keys) == after
            self._blocks.append(
                (
                    slice(first - start, after - start),
                    slice(0, after) if whole else keys.to(sample.device),
                    mask[None, None].to(sample.device),
                )
            )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._store.keys[layer], self._store.values[layer]  # [G, N, D]
        keys[:, self._start : self._stop] = k.transpose(0, 1)
        values[:, self._start : self._stop] = v.transpose(0, 1)
        q = q.transpose(0, 1)  # [H, T, D]
        parts = []
        for queries, seen, mask in self._blocks:
            y = F.scaled_dot_product_attention(
                q[None, :, queries],
                keys[None, :, seen],
                values[None, :, seen],
                attn_mask=mask,
                enable_gqa=q.shape[0] != k.shape[1],
            )  # [1, H, Q, D]
            parts.append(y[0])
        return torch.cat(parts, dim=1).transpose(0, 1)  # [T, H, D]


class _FlexChunk:
    """The same by FlexAttention (arXiv:2412.05496); checked uncompiled on a CPU, on no GPU yet."""

    def __init__(self, store: Store, end: Ints, start: int, stop: int) -> None:
        from torch.nn.attention.flex_attention import create_block_mask

        self._store, self._start, self._stop = store, start, stop
        device = store.keys[0].device
        ends = torch.from_numpy(end).to(device)
        newest = stop - 1  # blocks are rounded up: indices past the chunk are held inside

        def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            node = (query + start).clamp(max=newest)
            return (key <= node) & (node < ends[key.clamp(max=newest)])

        self._mask = create_block_mask(visible, None, None, stop - start, stop, device=str(device))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._store.keys[layer], self._store.values[layer]
        keys[:, self._start : self._stop] = k.transpose(0, 1)
        values[:, self._start : self._stop] = v.transpose(0, 1)
        y = _compiled_flex()(
            q.transpose(0, 1)[None],
            keys[None, :, : self._stop],
            values[None, :, : self._stop],
            block_mask=self._mask,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        return y[0].transpose(0, 1)  # [T, H, D]


@lru_cache(maxsize=1)
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
