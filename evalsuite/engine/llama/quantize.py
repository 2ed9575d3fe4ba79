"""Weight-only quantisation: linear layers with int8 or int4 weights and floating-point products.

torchao decides the quantised numbers. The embedding and the head stay in the model's data type:
they are few, and the head's errors go straight into the log-probabilities. Knows single weights; no
files, no model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from evalsuite.records import UserError

KINDS = ("int8", "int4")

INT8_ON_CPU = "--quantize int8 saves memory on a CPU, not time: every product converts its weights."

# Groups of int4 weights that share a scale and a zero point: the largest that divides a row.
INT4_GROUPS = (128, 64, 32)

# Weights quantised, and on a CPU converted back, at once. A converted chunk of 2**20 numbers stays
# in the processor's cache: a product with one row of 2,048 numbers took 2.2 ms (float32 weights
# 2.3 ms), with the whole weight converted first 20 ms.
_CHUNK = 2**20
_QUANTIZE_CHUNK = 2**22


def check_quantize(kind: str | None, device: torch.device, dtype: torch.dtype) -> None:
    """Raise UserError where `kind` is not possible with this device, data type or installation."""
    if kind is None:
        return
    if kind not in KINDS:
        raise UserError(f"--quantize is one of {', '.join(KINDS)}; not {kind!r}.")
    if kind == "int4" and device.type != "cuda":
        raise UserError(f"--quantize int4 needs an NVIDIA GPU, not {device}: use --quantize int8.")
    if kind == "int4" and dtype is not torch.bfloat16:
        raise UserError("--quantize int4 computes in bfloat16 only: use --dtype bfloat16.")
    if kind == "int4" and torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError(
            f"--quantize int4 needs an Ampere GPU or newer, which {device} is not: "
            "use --quantize int8."
        )
    if dtype is torch.float16:
        # A product is scaled after it is summed up, and can be 127 times larger until then.
        raise UserError("--quantize overflows in float16: use --dtype bfloat16.")
    if find_spec("torchao") is None:
        raise UserError("--quantize needs torchao: pip install 'torchao>=0.18'.")


def quantize_identity(kind: str | None) -> dict[str, str]:
    """What the quantisation adds to an engine's identity; nothing without one."""
    return {"quantize": kind, "torchao": metadata.version("torchao")} if kind else {}


class Int8Linear(nn.Module):
    """y = (x q^T) * scale + bias, with one int8 row and one float32 scale an output.

    torchao's own Int8Tensor computes the same, but converts a whole weight for every product. Here
    a CPU converts a chunk of rows at a time.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        """weight int8 [N, K], scale float32 [N], bias [N] in the data type to compute in."""
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., K] -> [..., N] in x's data type."""
        rows = x.reshape(-1, x.shape[-1])  # [T, K]
        if x.device.type == "cpu":
            y = self._by_chunks(rows)
        else:
            y = torch.mm(rows, self.weight.to(x.dtype).t())  # [T, N]
        y.mul_(self.scale)  # multiplied in float32, rounded once
        if self.bias is not None:
            y.add_(self.bias)
        return y.view(*x.shape[:-1], -1)

    def _by_chunks(self, x: Tensor) -> Tensor:
        outputs, inputs = self.weight.shape
        y = x.new_empty(len(x), outputs)
        step = max(1, _CHUNK // inputs)
        for start in range(0, outputs, step):
            weight = self.weight[start : start + step].to(x.dtype)
            # mm, because for one row F.linear takes ten times as long on a CPU.
            torch.mm(x, weight.t(), out=y[:, start : start + step])
        return y


def quantized_linear(
    kind: str, parts: Iterable[Tensor], bias: Tensor | None, name: str
) -> nn.Module:
    """A linear layer of weights stacked by rows.

    `parts` are [N, K] each, on the device and in the data type to compute in; int8 takes one after
    the other, so that beside the quantised weights only one of them has to be held. `name` is for
    messages.

    Raises UserError for int4 rows that can't be divided into groups.
    """
    if kind == "int8":
        done = [
            quantize_int8(chunk)
            for part in parts
            for chunk in part.split(max(1, _QUANTIZE_CHUNK // part.shape[1]))
        ]
        return Int8Linear(torch.cat([w for w, _ in done]), torch.cat([s for _, s in done]), bias)
    weight = _quantize_int4(torch.cat(list(parts)), name)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [N, K] -> int8 [N, K] and float32 scales [N]; each row's largest becomes 127."""
    torchao = _torchao()
    made = torchao.Int8Tensor.from_hp(weight, granularity=torchao.PerRow())
    return made.qdata, made.scale.flatten()


def int4_group(inputs: int, name: str) -> int:
    """How many neighbours of a row of `inputs` weights share a scale.

    Raises UserError where no group size divides the row.
    """
    for group in INT4_GROUPS:
        if inputs % group == 0:
            return group
    raise UserError(
        f"{name} has rows of {inputs} weights, which int4 can't divide into groups of "
        f"{INT4_GROUPS[-1]}: use --quantize int8."
    )


def _quantize_int4(weight: Tensor, name: str) -> Tensor:
    """weight bfloat16 [N, K] on CUDA -> torchao's tensor for its tinygemm kernel."""
    from torchao.quantization.quantize_.workflows import Int4TilePackedTo4dTensor

    _torchao()
    block = [1, int4_group(weight.shape[1], name)]
    with torch.cuda.device(weight.device):  # torchao asks the current device what it can do
        return Int4TilePackedTo4dTensor.from_hp(weight, block)


def _torchao() -> Any:
    """torchao.quantization; a build for another CUDA is no news worth a warning here."""
    logging.getLogger("torchao").setLevel(logging.ERROR)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    import torchao.quantization

    return torchao.quantization
