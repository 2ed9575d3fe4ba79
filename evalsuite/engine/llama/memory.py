"""Bytes that a LLaMA's weights take, before any of them is read.

Knows shapes; no files, no requests, and no torch but where a device is asked.
"""

from __future__ import annotations

from evalsuite.engine.llama.config import LlamaConfig


def weight_bytes(config: LlamaConfig, value_bytes: int, quantize: str | None = None) -> int:
    """Bytes of all weights; `value_bytes` is a number's size in the data type computed in.

    Of a quantised model, embedding, head and norms keep that data type. int8 has a float32 scale a
    row. int4 has two bfloat16 numbers a group of 128, and its rows are padded to a multiple of
    1,024 (torchao's tinygemm format).
    """
    if quantize is None:
        return config.parameters * value_bytes
    width, inner = config.heads * config.head_dim, config.intermediate_size
    linears = [  # rows, numbers a row
        (width + 2 * config.kv_heads * config.head_dim, config.hidden_size),
        (config.hidden_size, width),
        (2 * inner, config.hidden_size),
        (config.hidden_size, inner),
    ]
    plain = config.parameters - config.layers * sum(n * k for n, k in linears)
    if quantize == "int8":
        layer = sum(n * k + 4 * n for n, k in linears)
    else:
        layer = sum(n * -(-k // 1024) * 1024 * (128 + 8) // 256 for n, k in linears)
    return plain * value_bytes + config.layers * layer
