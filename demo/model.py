"""LLaMA for the trainer: plain torch, parameters named as in transformers' LlamaForCausalLM.

Knows tensors only. It is quicker here than the reference because it takes logits at the answers
alone and lets the matrix products run in bfloat16; `train.py` checks both give the same logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig


def rotary(length: int, head: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the positions, each [length, head]."""
    frequency = theta ** (-torch.arange(0, head, 2).float() / head)  # [head / 2]
    angle = torch.outer(torch.arange(length).float(), frequency).repeat(1, 2)  # [length, head]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates queries or keys [batch, heads, length, head] by their positions."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_dim
        self.head = head
        self.groups = config.num_attention_heads // config.num_key_value_heads
        self.q_proj = nn.Linear(width, config.num_attention_heads * head, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * head, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * head, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * head, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        shape = (batch, length, -1, self.head)
        # float32 here: the bfloat16 kernel's backward pass is several times slower on a CPU
        q = self.q_proj(x).float().view(shape).transpose(1, 2)  # [batch, heads, length, head]
        k = self.k_proj(x).float().view(shape).transpose(1, 2)  # [batch, kv heads, length, head]
        v = self.v_proj(x).float().view(shape).transpose(1, 2)
        q, k = rotate(q, cos[:length], sin[:length]), rotate(k, cos[:length], sin[:length])
        if self.groups > 1:
            k, v = (t.repeat_interleave(self.groups, dim=1) for t in (k, v))
        with torch.autocast("cpu", enabled=False):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))
        return out


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """`forward(tokens, keep)` gives the next-token logits at the kept positions, [kept, vocab]."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.model = Decoder(config)
        cos, sin = rotary(
            config.max_position_embeddings,
            config.head_dim,
            float(config.rope_parameters["rope_theta"]),
        )
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        scale = config.initializer_range
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # what adds to the residual stream starts smaller, the deeper the model
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                depth = (2 * config.num_hidden_layers) ** 0.5 if last else 1.0
                nn.init.normal_(parameter, std=scale / depth)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        x = self.model.embed_tokens(tokens)  # [batch, length, width]
        for layer in self.model.layers:
            x = layer(x, self.cos, self.sin)
        x = self.model.norm(x[keep])  # [kept, width]
        return F.linear(x, self.model.embed_tokens.weight).float()
