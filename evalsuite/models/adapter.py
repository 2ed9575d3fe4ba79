"""A LoRA adapter merged into a model's weights, tensor by tensor while they are loaded.

Knows peft's adapter_config.json and adapter_model files, and tensors by the names that
transformers gives them; no model class and no engine. What it can't merge exactly it refuses.

LoRA is W' = W + s B A with s = alpha / r (Hu et al. 2021, arXiv:2106.09685), or alpha / sqrt(r)
(rsLoRA, Kalajdzievski 2023, arXiv:2312.03732).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.records import UserError

if TYPE_CHECKING:
    from torch import Tensor

# What peft's wrapper puts before the names of the model's own tensors.
_WRAPPER = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.weight)?$")
# Settings that change what the tensors mean, and what to tell their users.
_REFUSED = {
    "use_dora": "DoRA",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QALoRA",
    "lora_bias": "a bias beside LoRA's matrices",
    "alora_invocation_tokens": "an adapter that is only active from certain tokens on",
    "layer_replication": "repeated layers",
    "megatron_config": "an adapter of Megatron",
    "trainable_token_indices": "single trained tokens",
    "target_parameters": "adapters on bare parameters",
    "arrow_config": "routing between adapters",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "lora_ga_config": "LoRA-GA, which changes the base model before training",
}
# These begin training from a changed base model, which the adapter alone can't restore.
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class LowRank:
    """One module's factors: `a` [r, in] and `b` [out, r], and what their product is scaled by.

    For an embedding they are transposed as peft keeps them: `a` [r, tokens], `b` [hidden, r].
    """

    a: Tensor
    b: Tensor
    scale: float
    embedding: bool

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that it changes."""
        out, into = self.b.shape[0], self.a.shape[1]
        return (into, out) if self.embedding else (out, into)

    def delta(self) -> Tensor:
        """What is added to the weight, in float32."""
        product = (self.b.float() @ self.a.float()) * self.scale  # [out, in]
        return product.T if self.embedding else product


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: changes and replacements by the names of the base model's tensors."""

    folder: Path
    low_rank: Mapping[str, LowRank]
    replaced: Mapping[str, Tensor]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Makes sure that the adapter fits a model, given the names and shapes of its tensors.

        Raises:
            UserError: a tensor of the adapter has no place in the model, or another shape.
        """
        wanted: dict[str, tuple[int, ...]] = {n: each.shape for n, each in self.low_rank.items()}
        wanted |= {name: tuple(each.shape) for name, each in self.replaced.items()}
        head, embedding = "lm_head.weight", "model.embed_tokens.weight"
        if head not in shapes and (head in wanted or embedding in wanted):
            raise UserError(
                f"{self.folder} changes the embedding or the output matrix, which are one in this "
                "model; such an adapter can't be merged without making two of them"
            )
        for name, shape in wanted.items():
            if name not in shapes:
                raise UserError(f"{self.folder} is for another model: this one has no {name}")
            if shapes[name] != shape:
                raise UserError(
                    f"{self.folder} is for another model: {name} has the shape "
                    f"{list(shapes[name])} here and {list(shape)} there"
                )

    def transform(self, name: str, tensor: Tensor) -> Tensor:
        """The merged tensor for a base tensor: for whoever loads weights one by one.

        A tensor that the adapter changes comes back as float32, so that rounding to the type of
        the computation happens once; any other one as it is.
        """
        return merge_adapter(self, name, tensor)


def merge_adapter(adapter: Adapter, name: str, tensor: Tensor) -> Tensor:
    """The base tensor called `name` with the adapter's change: W + s B A, or its replacement.

    Pure: `tensor` is not changed. Shapes must have passed `Adapter.check`.
    """
    merged = adapter.replaced.get(name)
    if merged is not None:
        merged = merged.to(tensor.device).float()
    change = adapter.low_rank.get(name)
    if change is None:
        return tensor if merged is None else merged
    base = tensor.float() if merged is None else merged
    return base + change.delta().to(tensor.device)


def load_adapter(folder: Path) -> Adapter:
    """Reads an adapter's folder: adapter_config.json, and safetensors or (weights only) .bin.

    Raises:
        UserError: files missing or damaged, or a kind of adapter that can't be merged here.
    """
    config = _read_config(folder)
    tensors = _read_tensors(folder)
    factors: dict[str, dict[str, Tensor]] = {}
    embeddings: set[str] = set()
    replaced: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(_WRAPPER)
        match = _FACTOR.fullmatch(name)
        if match is not None:
            module = match["module"]
            factors.setdefault(module, {})[match["side"]] = tensor
            if match["embedding"]:
                embeddings.add(module)
            continue
        module, _, last = name.rpartition(".")
        # peft writes the new weight of a module under several names, depending on its version.
        module = module.replace(".modules_to_save", "").removesuffix(".base_layer")
        if last != "weight" or "lora_" in name:
            raise UserError(f"{folder}: {key} is nothing that can be merged into a LLaMA")
        replaced[f"{module}.weight"] = tensor
    low_rank = {
        f"{module}.weight": _low_rank(folder, config, module, sides, module in embeddings)
        for module, sides in factors.items()
    }
    if not low_rank and not replaced:
        raise UserError(f"{folder}: the adapter has no tensors")
    return Adapter(folder, low_rank, replaced)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config.get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
    if kind != "LORA":
        raise UserError(f"{folder} is a {kind or 'nameless'} adapter; only LoRA can be merged")
    if config.get("bias", "none") != "none":
        raise UserError(f"{folder} trains biases (bias: {config['bias']}), which can't be merged")
    for setting, what in _REFUSED.items():
        if config.get(setting):
            raise UserError(f"{folder} is {what} ({setting}), which can't be merged")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGED_BASE):
        raise UserError(
            f"{folder} began from a changed base model (init_lora_weights: {start}); convert it to "
            "plain LoRA when saving it (peft: path_initial_model_for_weight_conversion)"
        )
    if not isinstance(config.get("r"), int) or not isinstance(
        config.get("lora_alpha"), (int, float)
    ):
        raise UserError(f"{path} names no r or no lora_alpha")
    return dict(config)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "adapter_model.safetensors"
    try:
        if path.is_file():
            from safetensors.torch import load_file

            return dict(load_file(path))
        path = folder / "adapter_model.bin"
        if path.is_file():
            import torch

            # A pickle: weights_only keeps it from running code.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(loaded, dict):
                raise UserError(f"{path} does not hold tensors by name")
            return loaded
    except UserError:
        raise
    except Exception as error:  # safetensors, pickle, zip and torch each have their own
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} can't be read as plain weights: {reason}") from error
    raise UserError(f"{folder} has no adapter_model.safetensors and no adapter_model.bin")


def _low_rank(
    folder: Path,
    config: Mapping[str, Any],
    module: str,
    sides: Mapping[str, Tensor],
    embedding: bool,
) -> LowRank:
    if sides.keys() != {"A", "B"}:
        raise UserError(f"{folder}: {module} has only one of LoRA's two matrices")
    a, b = sides["A"], sides["B"]
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1]:
        raise UserError(f"{folder}: LoRA's matrices of {module} don't fit each other")
    rank = _for_module(config.get("rank_pattern"), module, config["r"])
    alpha = _for_module(config.get("alpha_pattern"), module, config["lora_alpha"])
    if rank != a.shape[0]:
        raise UserError(
            f"{folder}: {module} has rank {a.shape[0]}, but adapter_config.json says {rank}"
        )
    # fan_in_fan_out is for layers that keep their weight transposed; LLaMA's don't, and peft, too,
    # leaves it out for them.
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LowRank(a, b, scale, embedding)


def _for_module(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """The value for a module: of the first pattern that fits its name's end, as in peft."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
