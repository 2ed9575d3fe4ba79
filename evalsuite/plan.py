"""What a run would take: requests, tokens, memory and time, for `evalsuite plan`.

Makes the very requests and batches that `run` would make, but loads no weights, computes nothing
and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.config import RunConfig
from evalsuite.engine.base import generation_input, scoring_input
from evalsuite.engine.llama import plan as llama
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.models import load_tokenizer
from evalsuite.pipeline import load_task_set, prepare
from evalsuite.progress import duration, make_progress

if TYPE_CHECKING:
    import torch

    from evalsuite.harness.tasks import TaskSet

# Of the matrix rate measured below, this much was reached by scoring packs of real tasks.
_SCORING_SHARE = 0.5
_MEASURING_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model's part of a run. `seconds` is an estimate; everything else is exact."""

    model: str
    parameters: int
    dtype: str
    device: str
    score_requests: int
    generate_requests: int
    distinct_tokens: int
    total_tokens: int
    most_new_tokens: int
    truncated: int
    memory_bytes: int
    seconds: float


def plan(config: RunConfig) -> tuple[ModelPlan, ...]:
    """The work of each model of a config, in order.

    Raises:
        UserError: as `pipeline.run` does for the same config.
    """
    progress = make_progress(config.progress)
    prepared = prepare(config)
    progress.note("reading data and building requests …")
    task_set = load_task_set(config, prepared)
    for note in task_set.warnings:
        progress.note(f"note: {note}")
    return tuple(
        _plan_model(spec.label, prepared.weights[spec.label].folder, config, task_set)
        for spec in prepared.models
    )


def describe(plans: Sequence[ModelPlan]) -> str:
    """The plans as a person reads them."""
    parts = []
    for p in plans:
        shared = p.total_tokens / max(p.distinct_tokens, 1)
        lines = [
            f"{p.model}: {p.parameters:,} parameters in {p.dtype} on {p.device}",
            f"  requests  {p.score_requests:,} to score, {p.generate_requests:,} to generate",
            f"  tokens    {p.distinct_tokens:,} to compute, instead of {p.total_tokens:,} without "
            f"sharing prefixes ({shared:.1f} times)",
            f"  memory    about {p.memory_bytes / 2**30:.2f} GiB",
            f"  time      about {duration(p.seconds)}",
        ]
        if p.most_new_tokens:
            lines[2] += f"; of these {p.most_new_tokens:,} at most are generated"
            lines[4] += " if every answer takes all the tokens it may"
        if p.truncated:
            lines.append(f"  truncated {p.truncated:,} requests are longer than the context")
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _plan_model(label: str, folder: Path, config: RunConfig, task_set: TaskSet) -> ModelPlan:
    from evalsuite.engine.llama.engine import resolve_device, resolve_dtype, resolve_max_length
    from evalsuite.harness.adapter import token_requests

    checkpoint = open_checkpoint(folder)
    shape, device = checkpoint.config, resolve_device(config.device)
    dtype = resolve_dtype(config.dtype, checkpoint.dtype, device)
    context = resolve_max_length(config.max_length, shape)
    limits = llama.Limits.default(device.type, dtype.itemsize)
    tokenizer = load_tokenizer(folder, label)
    score, generate = token_requests(task_set, tokenizer, context, run_seed=config.seed)
    # Equal requests are computed once, as inference does it.
    to_score, to_generate = list(dict.fromkeys(score)), list(dict.fromkeys(generate))
    packs = llama.plan_scoring(to_score, context, limits)
    groups = llama.plan_generation(to_generate, context, shape, limits)

    operations = 2 * shape.parameters * sum(pack.distinct_tokens for pack in packs)
    seconds = operations / (_SCORING_SHARE * _matrix_rate(device, dtype)) if packs else 0.0
    for group in groups:
        news = [to_generate[i].max_new_tokens for i in group.requests]
        seconds += llama.generation_seconds(
            shape,
            limits,
            prompt_tokens=group.distinct_tokens - sum(news),
            new_tokens=sum(news),
            steps=max(news),
        )
    return ModelPlan(
        model=label,
        parameters=shape.parameters,
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
        score_requests=len(score),
        generate_requests=len(generate),
        distinct_tokens=sum(batch.distinct_tokens for batch in [*packs, *groups]),
        total_tokens=sum(batch.total_tokens for batch in [*packs, *groups]),
        most_new_tokens=sum(request.max_new_tokens for request in to_generate),
        truncated=sum(scoring_input(request, context)[1] > 0 for request in score)
        + sum(generation_input(request, context)[2] > 0 for request in generate),
        memory_bytes=llama.memory_bytes(shape, limits, packs, groups),
        seconds=seconds,
    )


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second of a large matrix product here, measured just now."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device).to(dtype)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _MEASURING_SECONDS:
        _ = left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - began)
