"""CUDA graphs of decode steps: what is launched again and again in the same way is replayed.

Written against torch's documentation and not run on any GPU yet; where capturing fails, steps are
launched one by one, and a warning says so. Knows a function without arguments; no model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

# Capturing costs about as much as two launches and warms nothing up: a step is captured once it
# has been launched this often in the same way.
_LAUNCHES_BEFORE = 4


class StepGraphs:
    """Runs a step by its key: launched at first, then captured, then replayed.

    The step must read and write the same tensors for one key, allocate nothing it hands to the
    next step but its result, and not wait for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._key: Hashable = None
        self._launches = 0
        self._captured: tuple[torch.cuda.CUDAGraph, Tensor] | None = None
        self._possible = True

    def run(self, key: Hashable, step: Callable[[], Tensor]) -> Tensor:
        """The step's result; it is overwritten by the next call with the same key."""
        if key != self._key:
            self._key, self._launches, self._captured = key, 0, None
        if self._captured is None and self._possible and self._launches >= _LAUNCHES_BEFORE:
            self._captured = self._capture(step)
        if self._captured is None:
            self._launches += 1
            return step()
        graph, result = self._captured
        graph.replay()
        return result

    def _capture(self, step: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor] | None:
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self._device), torch.cuda.graph(graph):
                result = step()
        except RuntimeError as error:
            self._possible = False
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"decoding goes on without CUDA graphs: {reason}", stacklevel=2)
            return None
        return graph, result
