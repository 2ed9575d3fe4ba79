"""LLaMA, to be read in one sitting: embedding, layers, norm, head.

It computes tokens side by side, [T] of them, without a batch dimension. Who may look at whom, and
which keys are remembered, is the business of the `Attend` that is handed in: attention over a
packed trie, prefill and decoding are three of them. Knows no files, no requests.

T tokens, C hidden size, H heads, G key/value heads, D head size, F MLP size, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evalsuite.engine.llama.config import LlamaConfig, Rope


class Attend(Protocol):
    """Attention of one layer."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [T, H, D], k and v [T, G, D], rotated already -> [T, H, D]."""
        ...


class Llama(nn.Module):
    """The whole model. `hidden` and `logits` are apart because few positions need logits."""

    frequencies: Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("frequencies", inverse_frequencies(config), persistent=False)

    def hidden(
        self, tokens: Tensor, positions: Tensor, attend: Attend, wanted: Tensor | None = None
    ) -> Tensor:
        """tokens and positions [T] -> the last layer's output [T, C], not yet normed.

        With `wanted` [N] only those rows are returned, [N, C], in that order. Of the last layer
        the others need keys and values alone.
        """
        x = self.embedding(tokens)  # [T, C]
        angles = positions[:, None].float() * self.frequencies  # [T, D/2], float32 as it must be
        cos, sin = angles.cos().to(x.dtype)[:, None], angles.sin().to(x.dtype)[:, None]
        for layer in self.layers[:-1]:
            x = layer(x, cos, sin, attend)
        return self.layers[-1](x, cos, sin, attend, wanted)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [N, C] -> float32 logits [N, V]."""
        return self.head(self.norm(hidden)).float()


class Layer(nn.Module):
    """x + attention, then x + MLP, each behind its norm."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config, index)
        self.mlp_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, wanted: Tensor | None = None
    ) -> Tensor:
        y = self.attention(self.attention_norm(x), cos, sin, attend, wanted)
        x = (x if wanted is None else x[wanted]) + y
        return x + self.mlp(self.mlp_norm(x))


class Attention(nn.Module):
    """Grouped-query attention; queries, keys and values come from one product."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        width, bias = config.heads * config.head_dim, config.attention_bias
        out = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.hidden_size, out, bias=bias)
        self.out = nn.Linear(width, config.hidden_size, bias=bias)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, wanted: Tensor | None
    ) -> Tensor:
        qkv = self.qkv(x).view(x.shape[0], -1, self.head_dim)  # [T, H + 2G, D]
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        y = attend(self.index, rotate(q, cos, sin), rotate(k, cos, sin), v)  # [T, H, D]
        y = y if wanted is None else y[wanted]
        return self.out(y.reshape(y.shape[0], -1))


class MLP(nn.Module):
    """SwiGLU; gate and up come from one product."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_up = nn.Linear(hidden, 2 * inner, bias=bias)
        self.down = nn.Linear(inner, hidden, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # [T, F] each
        return self.down(F.silu(gate) * up)


class RMSNorm(nn.Module):
    """Root mean square norm (arXiv:1910.07467): float32 inside, rounded before the weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv:2104.09864) of x [T, heads, D] by cos and sin [T, 1, D/2].

    The pairs are (i, i + D/2), as in the converted checkpoints, not neighbours as in the paper.
    """
    left, right = x.chunk(2, dim=-1)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    first, second = y.chunk(2, dim=-1)
    torch.mul(left, cos, out=first).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=second).addcmul_(left, sin)
    return y


def inverse_frequencies(config: LlamaConfig) -> Tensor:
    """Angle per position of each pair of a head's numbers: float32 [D/2]."""
    rope, size = config.rope, config.head_dim
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device="cpu") / size
    frequencies = 1.0 / (rope.theta**exponents)
    if rope.kind == "linear":
        return frequencies / rope.factor
    return _llama3(frequencies, rope) if rope.kind == "llama3" else frequencies


def _llama3(frequencies: Tensor, rope: Rope) -> Tensor:
    """LLaMA 3.1's scaling: slow waves are stretched, fast ones kept, the band between blended."""
    wavelengths = 2 * math.pi / frequencies
    turns = rope.original_max_positions / wavelengths
    blend = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    blend = blend.clamp(0.0, 1.0)  # 0: fully stretched, 1: kept
    return (1 - blend) * frequencies / rope.factor + blend * frequencies
