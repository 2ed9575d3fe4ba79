"""A model as planning needs it: size, context and batches, from its folder without its weights.

One outline for each engine that computes here. Knows engines' plans; no task and no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evalsuite.config import RunConfig
from evalsuite.engine import huggingface_shape as huggingface
from evalsuite.engine.llama import plan as llama
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.records import Batch, GenerateRequest, ScoreRequest

if TYPE_CHECKING:
    import torch


class Outline(Protocol):
    """What `evalsuite plan` asks of a model; batches are exactly those that a run would make."""

    @property
    def parameters(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def devices(self) -> int:
        """How many devices work on the model's requests; `device` is the first one."""
        ...

    @property
    def context(self) -> int: ...

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]: ...

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]: ...

    def memory_bytes(self, scoring: Sequence[Batch], generation: Sequence[Batch]) -> int: ...

    def generation_seconds(self, prompt_tokens: int, new_tokens: int, steps: int) -> float: ...


def outline(folder: Path, tokenizer: Any, config: RunConfig) -> Outline:
    """The outline of the model in a folder under a config's engine, devices, dtype and context.

    Raises:
        UserError: the engine can't run it, or not with these settings.
    """
    import torch

    from evalsuite.engine.llama.devices import worker_devices
    from evalsuite.engine.llama.engine import (
        resolve_device,
        resolve_dtype,
        resolve_limits,
        resolve_max_length,
    )
    from evalsuite.engine.llama.quantize import check_quantize

    if config.engine == "hf":
        device = resolve_device(config.device)
        shape = huggingface.read_shape(folder)
        return HuggingFaceOutline(
            shape,
            resolve_dtype(config.dtype, shape.stored, device),
            device,
            shape.context(config.max_length, tokenizer),
            huggingface.Limits.default(device.type),
        )
    checkpoint = open_checkpoint(folder)
    devices = worker_devices(config.device, config.workers)
    device = torch.device(devices[0])
    dtype = resolve_dtype(config.dtype, checkpoint.dtype, device, config.quantize)
    check_quantize(config.quantize, device, dtype)
    return LlamaOutline(
        checkpoint.config,
        dtype,
        device,
        len(devices),
        resolve_max_length(config.max_length, checkpoint.config),
        resolve_limits(checkpoint.config, device, dtype, config.quantize),
        config.quantize,
    )


@dataclass(frozen=True, slots=True)
class LlamaOutline:
    """For the engine in engine/llama."""

    shape: LlamaConfig
    dtype: torch.dtype
    device: torch.device
    devices: int
    context: int
    limits: llama.Limits
    quantize: str | None

    @property
    def parameters(self) -> int:
        return self.shape.parameters

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        return llama.plan_scoring(requests, self.context, self.limits)

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        return llama.plan_generation(requests, self.context, self.shape, self.limits)

    def memory_bytes(self, scoring: Sequence[Batch], generation: Sequence[Batch]) -> int:
        return llama.memory_bytes(
            self.shape, self.limits, scoring, generation, quantize=self.quantize
        )

    def generation_seconds(self, prompt_tokens: int, new_tokens: int, steps: int) -> float:
        return llama.generation_seconds(
            self.shape,
            self.limits,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            steps=steps,
        )


@dataclass(frozen=True, slots=True)
class HuggingFaceOutline:
    """For the engine in engine/huggingface.py."""

    shape: huggingface.Shape
    dtype: torch.dtype
    device: torch.device
    context: int
    limits: huggingface.Limits

    @property
    def devices(self) -> int:
        return 1

    @property
    def parameters(self) -> int:
        return self.shape.parameters

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        return huggingface.plan_scoring(requests, self.context, self.shape, self.limits)

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        return huggingface.plan_generation(
            requests,
            self.context,
            self.shape,
            self.limits,
            self.device.type,
            self.dtype.itemsize,
        )

    def memory_bytes(self, scoring: Sequence[Batch], generation: Sequence[Batch]) -> int:
        return huggingface.memory_bytes(
            self.shape, self.limits, self.dtype.itemsize, scoring, generation
        )

    def generation_seconds(self, prompt_tokens: int, new_tokens: int, steps: int) -> float:
        return self.shape.generation_seconds(
            self.device.type, self.dtype.itemsize, prompt_tokens + new_tokens, steps
        )
