"""What the engine benchmark measures with: turns, memory, the rate of matrix products.

Knows torch and this machine; no engine, no peer, no workload.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(slots=True)
class Turns:
    """The timings of one side, in seconds, and what it answered last."""

    seconds: list[float] = field(default_factory=list)
    answers: Any = None

    @property
    def best(self) -> float:
        return min(self.seconds)


def timed(work: Callable[[], Any], *, cuda: bool) -> tuple[float, Any]:
    """Seconds, and what came back; a device's queue is empty before and after."""
    gc.collect()
    if cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    result = work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began, result


class Memory:
    """How much memory a piece of work takes beside what was held before it.

    On CUDA the allocator's peak, above what is held once both engines are loaded. On a CPU the
    process's peak of resident memory, above what is resident when the work starts.
    """

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self._before = torch.cuda.memory_allocated() if cuda else 0

    def start(self) -> None:
        """The work starts now."""
        gc.collect()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        self._before = _status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is resident

    def taken(self) -> int:
        """Bytes taken since `start`."""
        peak = torch.cuda.max_memory_allocated() if self._cuda else _status_bytes("VmHWM")
        return max(0, int(peak - self._before))


def _status_bytes(name: str) -> int:
    """A size from this process's status, in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def matrix_rate(device: str, dtype: str, size: int | None = None) -> float:
    """Floating point operations a second of a large matrix product: the best of several."""
    cuda = device.startswith("cuda")
    size = size or (8192 if cuda else 2048)
    number = getattr(torch, dtype)
    a = torch.randn(size, size, device=device).to(number)
    b = torch.randn(size, size, device=device).to(number)
    seconds = []
    for _ in range(12):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 / min(seconds)


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)
