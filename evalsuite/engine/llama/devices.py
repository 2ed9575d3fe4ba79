"""Which devices work on a run, and over how many of them one model has to be divided.

Knows devices, shapes and memory; starts nothing and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evalsuite.engine.llama import memory
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.engine import resolve_device, resolve_dtype, resolve_max_length
from evalsuite.engine.llama.parallel import Shard
from evalsuite.engine.llama.quantize import check_quantize
from evalsuite.records import UserError


def worker_devices(device: str, workers: int | None) -> list[str]:
    """The devices to work on: `workers` of a kind, by default all GPUs or the one CPU.

    Raises UserError for an unknown device and for more workers than GPUs.
    """
    where = resolve_device(device)
    if where.type == "cpu":
        return ["cpu"] * (workers or 1)
    if where.index is not None:
        if workers not in (None, 1):
            raise UserError(
                f"--device {device} is one device: with --workers {workers} use --device cuda."
            )
        return [str(where)]
    here = torch.cuda.device_count()
    if workers is not None and workers > here:
        raise UserError(f"--workers {workers} is more than the {here} GPUs that torch sees here.")
    return [f"cuda:{i}" for i in range(workers or here)]


def ranks_needed(folder: str | Path, devices: Sequence[str], settings: Mapping[str, Any]) -> int:
    """Over how many of the devices one model has to be divided to fit; 1 where a copy fits on each.

    Raises UserError, with what would fit, where all of them are too small.
    """
    checkpoint = open_checkpoint(folder)
    config, quantize = checkpoint.config, settings.get("quantize")
    where = torch.device(devices[0])
    dtype = resolve_dtype(settings.get("dtype", "auto"), checkpoint.dtype, where, quantize)
    check_quantize(quantize, where, dtype)
    context = resolve_max_length(settings.get("max_length"), config)
    if where.type == "cpu":  # all of its workers share one memory: dividing a model saves nothing
        memory.require_room(
            str(folder), config, where, dtype.itemsize, context, quantize, copies=len(devices)
        )
        return 1
    free = min(memory.free_bytes(torch.device(name)) for name in devices)
    for ranks in range(1, len(devices) + 1):
        if len(devices) % ranks:
            continue
        try:
            part = Shard(0, ranks).config(config)
        except UserError:  # this number doesn't divide the heads
            continue
        if memory.least_bytes(part, dtype.itemsize, context, quantize) <= free:
            return ranks
    # It fits on no number of them: refused with what would fit on one.
    memory.require_room(str(folder), config, where, dtype.itemsize, context, quantize)
    return 1
