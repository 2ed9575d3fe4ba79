"""Shows on an NVIDIA GPU that models fit where they should, on random weights.

    python benchmarks/memory.py
    python benchmarks/memory.py --arithmetic        (no GPU: what the plan of memory says)

LLaMA-7B in bfloat16 and 13B in int8 score and generate within 24 GB, 65B in int4 within 80 GB:
torch.cuda.set_per_process_memory_fraction makes a larger card that small. Weights are made tensor
by tensor, as loading does it. Prints one JSON line a model; exit code 1 when one of them fails.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from evalsuite.engine.llama.checkpoint import expected_tensors
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.loading import build_model
from evalsuite.engine.llama.memory import activation_bytes, least_bytes, weight_bytes
from evalsuite.engine.llama.plan import Limits
from evalsuite.models.registry import find
from evalsuite.records import GenerateRequest, ScoreRequest

CASES = (("llama-7b", None, 24), ("llama-13b", "int8", 24), ("llama-65b", "int4", 80))
CONTEXT = 2048


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arithmetic", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.arithmetic and not torch.cuda.is_available():
        parser.error("no GPU that torch can use; --arithmetic needs none")
    failed = False
    for name, quantize, gigabytes in CASES:
        planned = plan(name, quantize, gigabytes)
        failed = failed or not planned["fits"]
        if options.arithmetic:
            print(json.dumps(planned), flush=True)
            continue
        try:
            measured = measure(name, quantize, gigabytes)
        except torch.OutOfMemoryError as error:
            measured, failed = {"out_of_memory": str(error).splitlines()[0]}, True
        print(json.dumps({**planned, **measured}), flush=True)
    return int(failed)


def plan(name: str, quantize: str | None, gigabytes: int) -> dict[str, Any]:
    """What the engine plans with on such a card, in GB."""
    config, total = shape(name), gigabytes * 10**9
    limits = Limits.default("cuda", 2).within(config, total, quantize)
    weights, work = (
        weight_bytes(config, 2, quantize),
        activation_bytes(config, 2, limits.pack_tokens),
    )
    return {
        "model": name,
        "quantize": quantize,
        "card_gb": gigabytes,
        "weights_gb": round(weights / 1e9, 2),
        "pack_tokens": limits.pack_tokens,
        "pack_gb": round(work / 1e9, 2),
        "keys_and_values_gb": round(limits.group_kv_bytes / 1e9, 2),
        "least_gb": round(least_bytes(config, 2, CONTEXT, quantize) / 1e9, 2),
        "fits": weights + work + limits.group_kv_bytes <= total,
    }


def measure(name: str, quantize: str | None, gigabytes: int) -> dict[str, Any]:
    """Load, score a full pack and generate a group with the card held to so many GB."""
    device, config = torch.device("cuda:0"), shape(name)
    total = torch.cuda.get_device_properties(device).total_memory
    if total < gigabytes * 10**9:
        return {"skipped": f"this card has {total / 1e9:.0f} GB"}
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    torch.cuda.set_per_process_memory_fraction(gigabytes * 10**9 / total, device)
    shapes = expected_tensors(config)

    def read(tensor: str) -> torch.Tensor:
        # Small, as trained weights are; ones for the norms.
        if "norm" in tensor:
            return torch.ones(shapes[tensor], dtype=torch.bfloat16, device=device)
        made = torch.empty(shapes[tensor], dtype=torch.bfloat16, device=device)
        return made.normal_(std=0.02)

    limits = Limits.default("cuda", 2).within(config, gigabytes * 10**9, quantize)
    clock = [time.monotonic()]
    model = build_model(config, read, device, torch.bfloat16, quantize=quantize)
    loaded = torch.cuda.max_memory_allocated(device)
    words = models.WordLevel({f"w{i}": i for i in range(config.vocab_size)}, unk_token="w0")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="w2")
    engine = LlamaEngine(
        model,
        tokenizer,
        max_length=CONTEXT,
        limits=limits,
        attention="flex",
        quantize=quantize,
    )
    rng = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(3, config.vocab_size), k=count))

    clock.append(time.monotonic())
    for length, count in ((1024, limits.pack_tokens // 1024), (CONTEXT - 8, 4)):
        requests = [ScoreRequest(tokens(length), tokens(8)) for _ in range(count)]
        for batch in engine.plan_scoring(requests):
            engine.score([requests[i] for i in batch.requests])
    clock.append(time.monotonic())
    prompts = [GenerateRequest(tokens(1024), 64) for _ in range(64)]
    for batch in engine.plan_generation(prompts):
        engine.generate([prompts[i] for i in batch.requests])
    clock.append(time.monotonic())
    return {
        "loading_peak_gb": round(loaded / 1e9, 2),
        "peak_gb": round(torch.cuda.max_memory_reserved(device) / 1e9, 2),
        "load_seconds": round(clock[1] - clock[0], 1),
        "score_seconds": round(clock[2] - clock[1], 1),
        "generate_seconds": round(clock[3] - clock[2], 1),
    }


def shape(name: str) -> LlamaConfig:
    """A registry model's shape with LLaMA 1's context."""
    size = find(name).size
    return LlamaConfig(
        vocab_size=size.vocab,
        hidden_size=size.hidden,
        intermediate_size=size.ffn,
        layers=size.layers,
        heads=size.heads,
        kv_heads=size.kv_heads,
        head_dim=size.hidden // size.heads,
        max_positions=CONTEXT,
    )


if __name__ == "__main__":
    raise SystemExit(main())
