"""What running out of memory looks like. Knows torch's errors, nothing else."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left for a tensor."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's allocator has no class of its own for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
