"""What running out of memory looks like. Knows torch's errors, nothing else."""

from __future__ import annotations

import torch

_CPU_MESSAGES = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left for a tensor."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's allocator has no class of its own for it.
    said = str(error)
    return isinstance(error, RuntimeError) and any(words in said for words in _CPU_MESSAGES)
