"""A batch that runs out of memory is computed in two halves, and each of these again.

Nothing is lost but time: a half repeats the prefixes it shared with the other. Its numbers can
differ in the last bits from those of the whole batch. Knows errors of allocation; no model.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from evalsuite.engine.llama.out_of_memory import is_out_of_memory
from evalsuite.records import UserError

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


def in_halves(
    compute: Callable[[Sequence[_Asked]], list[_Answer]], requests: Sequence[_Asked]
) -> list[_Answer]:
    """`compute(requests)`, in as many parts as memory makes necessary; answers in order.

    Raises UserError where a single request does not fit; any other error as it is.
    """
    try:
        return compute(requests)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(requests) < 2:
            raise UserError(
                "a single request does not fit into memory beside the model: use a smaller "
                "--max-length, --quantize or another --device.",
                exit_code=4,
            ) from None
    # Outside of the except block: until its end the error's frames hold the failed batch's tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(requests) // 2
    return [*in_halves(compute, requests[:middle]), *in_halves(compute, requests[middle:])]
