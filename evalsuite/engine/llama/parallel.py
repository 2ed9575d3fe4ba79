"""Tensor parallelism: one model over several devices, each with a part of every layer.

Each rank has whole heads and a slice of the MLP (arXiv:1909.08053): it computes with its rows of
the query, key, value, gate and up matrices and its columns of the output and down matrices, and the
ranks' products are summed. Embedding, norms and head are on every rank. Knows shapes and modules;
no files, no requests, no processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.model import Layer, Llama
from evalsuite.records import UserError

_BY_ROWS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
_BY_COLUMNS = ("o_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of rank `rank` of `ranks`."""

    rank: int
    ranks: int

    def config(self, config: LlamaConfig) -> LlamaConfig:
        """The shape of one rank's model. Raises UserError where it can't be divided evenly."""
        sizes = (config.heads, config.kv_heads, config.intermediate_size)
        if any(size % self.ranks for size in sizes):
            raise UserError(
                f"{sizes[0]} heads, {sizes[1]} key/value heads and an MLP of {sizes[2]} can't be "
                f"divided over {self.ranks} devices: use a number that divides all three."
            )
        heads, kv_heads, inner = (size // self.ranks for size in sizes)
        return replace(config, heads=heads, kv_heads=kv_heads, intermediate_size=inner)

    def part(self, name: str, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Which slice of the checkpoint's tensor `name`, of the given shape, this rank holds."""
        module = name.split(".")[-2]
        dimension = 0 if module in _BY_ROWS else 1 if module in _BY_COLUMNS else None
        if dimension is None or dimension >= len(shape):
            return (slice(None),) * len(shape)
        size = shape[dimension] // self.ranks
        mine = slice(self.rank * size, (self.rank + 1) * size)
        return tuple(mine if d == dimension else slice(None) for d in range(len(shape)))

    def owns(self, name: str) -> bool:
        """False for a bias that is added once to the ranks' sum, and by another rank."""
        return self.rank == 0 or not (name.endswith(".bias") and name.split(".")[-2] in _BY_COLUMNS)


class Summed(nn.Module):
    """A linear layer of which every rank has some columns: the products are summed over ranks."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        dist.all_reduce(y)
        return y


def sum_over_ranks(model: Llama) -> None:
    """Make a model that was filled with one rank's weights exchange its layers' products."""
    for layer in cast(Iterable[Layer], model.layers):
        layer.attention.out = Summed(layer.attention.out)  # type: ignore[assignment]
        layer.mlp.down = Summed(layer.mlp.down)  # type: ignore[assignment]


def meet(shard: Shard, device: torch.device, meeting: Path) -> None:
    """Join the other ranks, processes of this machine; `meeting` is a file that isn't there yet."""
    # The ranks are on one machine, whose name may not be one that can be looked up.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=shard.rank,
        world_size=shard.ranks,
    )
