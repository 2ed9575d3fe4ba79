"""Weights from a checkpoint's files into a Llama, tensor by tensor.

Each tensor is converted, quantised and put in its place as it is read; beside the model stand only
the pages of the mapped files, which the system can drop. Knows files and the model; no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from evalsuite.engine.llama.checkpoint import (
    Checkpoint,
    expected_tensors,
    refuse_unused_layers,
    require_tensors,
)
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.memory import weight_bytes
from evalsuite.engine.llama.model import Layer, Llama, inverse_frequencies
from evalsuite.engine.llama.parallel import Shard, sum_over_ranks
from evalsuite.engine.llama.quantize import quantized_linear
from evalsuite.records import UserError

Read = Callable[[str], Tensor]
Transform = Callable[[str, Tensor], Tensor]
"""What a tensor of the files, by its name there, is to be replaced with (a merged adapter's)."""


def load_model(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    transform: Transform | None = None,
    *,
    quantize: str | None = None,
    shard: Shard | None = None,
) -> Llama:
    """Build the model of a checked folder with its weights as `dtype` on `device`.

    `transform` is asked for every tensor as it is read. With `quantize` (int8 or int4, checked
    before) the layers' weights are quantised as they are read. With `shard` only that part of them
    is read, and the model's products are summed over the ranks, which must have met.

    Raises UserError for a .bin file that cannot be read, lacks tensors or has more layers than the
    config, and for a device without enough memory.
    """
    config = checkpoint.config if shard is None else shard.config(checkpoint.config)
    try:
        with _reader(checkpoint, None if transform else shard) as read:
            if transform is not None:
                read = _transformed(read, transform, shard)
            model = build_model(config, read, device, dtype, quantize=quantize)
    except torch.OutOfMemoryError:
        need = weight_bytes(config, dtype.itemsize, quantize) / 2**30
        raise UserError(
            f"{checkpoint.folder} does not fit into the memory of {device}: its weights alone take "
            f"{need:.1f} GiB in {quantize or str(dtype).removeprefix('torch.')}."
        ) from None
    if shard is not None:
        sum_over_ranks(model)
    return model


def build_model(
    config: LlamaConfig,
    read: Read,
    device: torch.device,
    dtype: torch.dtype,
    *,
    quantize: str | None = None,
) -> Llama:
    """A model whose tensors are what `read` gives for their names in a checkpoint, one by one."""
    with torch.device("meta"):
        model = Llama(config)
    # Made on the CPU on purpose: another device's pow and division round in their own way.
    model.frequencies = inverse_frequencies(config).to(device)
    _fill(model, lambda name: read(name).to(device, dtype), quantize)
    return model.eval()


def _transformed(read: Read, transform: Transform, shard: Shard | None) -> Read:
    """A transform wants whole tensors: a rank's part is cut from what it made."""

    def transformed(name: str) -> Tensor:
        tensor = transform(name, read(name))
        return tensor if shard is None else _part(shard, name, tensor)

    return transformed


def _part(shard: Shard, name: str, tensor: Tensor) -> Tensor:
    part = tensor[shard.part(name, tuple(tensor.shape))]
    return part if shard.owns(name) else torch.zeros_like(part)


def _fill(model: Llama, read: Read, quantize: str | None) -> None:
    def stacked(*names: str) -> nn.Parameter:
        """Tensors stacked by rows."""
        parts = [read(name) for name in names]
        # A clone, because a part may be a view of the mapped file, gone when that is closed.
        value = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
        return nn.Parameter(value, requires_grad=False)

    def put_linear(owner: nn.Module, field: str, *names: str) -> None:
        """Fill a linear layer of `owner`, or put a quantised one in its place."""
        linear = cast(nn.Linear, getattr(owner, field))
        biased = linear.bias is not None
        bias = stacked(*(f"{name}.bias" for name in names)) if biased else None
        weights = [f"{name}.weight" for name in names]
        if quantize is not None:
            setattr(owner, field, quantized_linear(quantize, map(read, weights), bias, weights[0]))
            return
        linear.weight = stacked(*weights)
        if bias is not None:
            linear.bias = bias

    model.embedding.weight = stacked("model.embed_tokens.weight")
    for i, layer in enumerate(cast(Iterable[Layer], model.layers)):
        prefix = f"model.layers.{i}."
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        layer.attention_norm.weight = stacked(prefix + "input_layernorm.weight")
        put_linear(layer.attention, "qkv", *(attention + x for x in ("q_proj", "k_proj", "v_proj")))
        put_linear(layer.attention, "out", attention + "o_proj")
        layer.mlp_norm.weight = stacked(prefix + "post_attention_layernorm.weight")
        put_linear(layer.mlp, "gate_up", mlp + "gate_proj", mlp + "up_proj")
        put_linear(layer.mlp, "down", mlp + "down_proj")
    model.norm.weight = stacked("model.norm.weight")
    if model.config.tied_embeddings:
        model.head.weight = model.embedding.weight
    else:
        model.head.weight = stacked("lm_head.weight")


@contextmanager
def _reader(checkpoint: Checkpoint, shard: Shard | None) -> Iterator[Read]:
    """A function from a tensor's name to the tensor, or a rank's part, while the files are open."""
    if not checkpoint.safetensors:
        whole = _read_bin(checkpoint)  # mapped: a part of a tensor is read alone here too
        yield whole if shard is None else lambda name: _part(shard, name, whole(name))
        return
    from safetensors import safe_open

    where = {name: file for file, names in checkpoint.files.items() for name in names}
    files = {
        file: safe_open(str(checkpoint.folder / file), framework="pt", device="cpu")
        for file, names in checkpoint.files.items()
        if names
    }

    def read(name: str) -> Tensor:
        file = files[where[name]]
        if shard is None:
            return file.get_tensor(name)
        stored = file.get_slice(name)
        part = stored[shard.part(name, tuple(stored.get_shape()))]
        return part if shard.owns(name) else torch.zeros_like(part)

    yield read


def _read_bin(checkpoint: Checkpoint) -> Read:
    """.bin files are pickles: weights_only keeps them from running code, mmap from being copied."""
    tensors: dict[str, Tensor] = {}
    for file in checkpoint.files:
        tensors.update(_torch_load(checkpoint.folder / file))
    refuse_unused_layers(checkpoint.folder, checkpoint.config, map(str, tensors))
    wanted = expected_tensors(checkpoint.config)
    tensors = {name: tensor for name, tensor in tensors.items() if name in wanted}
    require_tensors(
        checkpoint.folder, checkpoint.config, {name: tuple(t.shape) for name, t in tensors.items()}
    )
    return tensors.__getitem__


def _torch_load(path: Path) -> dict[str, Any]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle's, zip's and its own errors here
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{path} cannot be read as plain weights ({reason}): convert it to safetensors."
        ) from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} does not hold tensors by name.")
    return loaded
