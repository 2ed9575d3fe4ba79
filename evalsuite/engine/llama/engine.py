"""The suite's own engine: a LLaMA folder that answers score and generate requests.

Puts the parts of this folder together and decides device, data type and context length. Of the
tokenizer it uses decoding and the special ids; the prompts come as token ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from evalsuite.engine.llama import plan
from evalsuite.engine.llama.checkpoint import open_checkpoint, special_token_warnings
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.generation import generate_group
from evalsuite.engine.llama.halving import in_halves
from evalsuite.engine.llama.loading import Transform, load_model
from evalsuite.engine.llama.memory import require_room, total_bytes
from evalsuite.engine.llama.model import Llama
from evalsuite.engine.llama.onednn import lay_out
from evalsuite.engine.llama.parallel import Shard
from evalsuite.engine.llama.quantize import INT8_ON_CPU, check_quantize, quantize_identity
from evalsuite.engine.llama.scoring import LastPrefix, score_pack
from evalsuite.records import (
    Batch,
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

# Raised whenever a change of this folder changes its numbers: stored answers are then not reused.
VERSION = 2

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LlamaEngine:
    """Implements evalsuite.engine.base.Engine; make one with `LlamaEngine.load`."""

    workers = 1

    def __init__(
        self,
        model: Llama,
        tokenizer: Any,
        *,
        config: LlamaConfig | None = None,
        ranks: int = 1,
        max_length: int,
        limits: plan.Limits,
        attention: str,
        weights_hash: str = "",
        quantize: str | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self.model, self.tokenizer, self.limits = model, tokenizer, limits
        self.max_length = max_length
        self.warnings = tuple(warnings)
        # The whole model's; `model` may hold one rank's part of it.
        self.config = config or model.config
        self.ranks, self.quantize = ranks, quantize
        self._attention = attention
        self._prefixes = LastPrefix(model)
        self._eos_ids = frozenset(end_ids(self.config, tokenizer))
        weight = model.embedding.weight
        self.identity: Mapping[str, str | int | float | bool] = {
            "engine": "llama",
            "engine_version": VERSION,
            "torch": torch.__version__,
            "weights": weights_hash,
            "config": hash_text(repr(replace(self.config, eos_ids=tuple(sorted(self._eos_ids))))),
            "tokenizer": tokenizer_hash(tokenizer),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "device": weight.device.type,
            "attention": attention,
            "max_length": max_length,
            "pack_tokens": limits.pack_tokens,
            "group_requests": limits.group_requests,
            "group_kv_bytes": limits.group_kv_bytes,
            "group_slots": limits.group_slots,
            **quantize_identity(quantize),
            **({"ranks": ranks} if ranks > 1 else {}),
        }

    @classmethod
    def load(
        cls,
        folder: str | Path,
        tokenizer: Any,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_length: int | None = None,
        weights_hash: str = "",
        attention: str = "auto",
        limits: plan.Limits | None = None,
        transform: Transform | None = None,
        quantize: str | None = None,
        shard: Shard | None = None,
        check_room: bool = True,
    ) -> LlamaEngine:
        """Load a checkpoint folder.

        `device` is auto, cpu, cuda or cuda:N; `dtype` auto, float32, bfloat16 or float16;
        `max_length` None for the config's context. `attention` chooses between "dense" and "flex"
        (FlexAttention, CUDA only; what auto takes there). `weights_hash` names the weights in
        `identity`. `transform` changes tensors as they are read; `weights_hash` must then tell
        them from the plain ones. `quantize` is int8 or int4 (CUDA only). `shard` is one rank's
        part of a tensor-parallel model. `check_room` False: that it fits was made sure of.

        Raises UserError for anything wrong with the folder or these settings.
        """
        checkpoint = open_checkpoint(folder)
        config = checkpoint.config
        part = shard.config(config) if shard else config
        where = resolve_device(device)
        number = resolve_dtype(dtype, checkpoint.dtype, where, quantize)
        check_quantize(quantize, where, number)
        context = resolve_max_length(max_length, config)
        if attention not in ("auto", "dense", "flex") or (attention, where.type) == ("flex", "cpu"):
            raise UserError(f"attention {attention!r} is not possible on {where.type}.")
        if attention == "auto":
            attention = "flex" if where.type == "cuda" else "dense"
        warnings = special_token_warnings(
            config,
            getattr(tokenizer, "bos_token_id", None),
            getattr(tokenizer, "eos_token_id", None),
        )
        if context > config.max_positions:
            warnings.append(
                f"--max-length {context} is more than the {config.max_positions} positions "
                "this model was trained for."
            )
        if check_room:
            require_room(str(folder), config, where, number.itemsize, context, quantize)
        if (quantize, where.type) == ("int8", "cpu"):
            warnings.append(INT8_ON_CPU)
        return cls(
            lay_out(
                load_model(checkpoint, where, number, transform, quantize=quantize, shard=shard)
            ),
            tokenizer,
            config=config,
            ranks=shard.ranks if shard else 1,
            max_length=context,
            limits=limits or resolve_limits(part, where, number, quantize),
            attention=attention,
            weights_hash=weights_hash,
            quantize=quantize,
            warnings=warnings,
        )

    @property
    def parameters(self) -> int:
        """How many numbers the whole model's weights hold."""
        return self.config.parameters

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        """See `plan.plan_scoring`."""
        return plan.plan_scoring(requests, self.max_length, self.limits)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Answer the requests of one planned pack, in their order."""

        def compute(some: Sequence[ScoreRequest]) -> list[ScoreResponse]:
            return score_pack(self.model, some, self.max_length, self._attention, self._prefixes)

        # Ranks have to do the same: one of them can't go on with a half alone.
        return compute(requests) if self.ranks > 1 else in_halves(compute, requests)

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        """See `plan.plan_generation`."""
        return plan.plan_generation(requests, self.max_length, self.config, self.limits)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Answer the requests of one planned group, in their order."""

        def compute(some: Sequence[GenerateRequest]) -> list[GenerateResponse]:
            return generate_group(
                self.model,
                self.tokenizer,
                some,
                eos_ids=self._eos_ids,
                max_length=self.max_length,
                pack_tokens=self.limits.pack_tokens,
                attention=self._attention,
                slots=self.limits.group_slots,
                kv_bytes=self.limits.group_kv_bytes,
                alone=self.ranks == 1,
            )

        return compute(requests) if self.ranks > 1 else in_halves(compute, requests)

    def memory_bytes(self, scoring: Sequence[Batch] = (), generation: Sequence[Batch] = ()) -> int:
        """See `plan.memory_bytes`."""
        return plan.memory_bytes(
            self.model.config, self.limits, scoring, generation, quantize=self.quantize
        )

    def close(self) -> None:
        """Nothing is held beyond this object."""


def resolve_device(name: str) -> torch.device:
    """auto, cpu, cuda or cuda:N as a device that exists here. Raises UserError otherwise."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device {name!r} is not here: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices."
        )
    return device


def resolve_dtype(
    name: str, stored: str | None, device: torch.device, quantize: str | None = None
) -> torch.dtype:
    """The data type to compute in: `name`, or for auto what the checkpoint is `stored` in.

    auto is bfloat16 for quantised weights on CUDA: int4 has no other, int8 overflows in float16.

    auto is float32 on a CPU for float16 weights, and for bfloat16 where the CPU has no
    instructions for it: both run there, but slowly. Raises UserError for an unknown name.
    """
    if name != "auto":
        if name not in DTYPES:
            raise UserError(f"unknown dtype {name!r}: use auto, {', '.join(DTYPES)}.")
        return DTYPES[name]
    if quantize is not None and device.type == "cuda":
        return torch.bfloat16
    dtype = DTYPES.get(stored or "float32", torch.float32)
    native = dtype is torch.float32 or (dtype is torch.bfloat16 and _cpu_has_bfloat16())
    return torch.float32 if device.type == "cpu" and not native else dtype


def resolve_max_length(wanted: int | None, config: LlamaConfig) -> int:
    """The context in tokens: `wanted`, or config.json's, as lm-eval takes it.

    lm-eval asks the tokenizer's model_max_length only where the config names no length.
    """
    if wanted is None:
        return config.max_positions
    if wanted < 2:
        raise UserError(f"--max-length {wanted} is too small: it must be 2 or more.")
    return wanted


def resolve_limits(
    config: LlamaConfig, device: torch.device, dtype: torch.dtype, quantize: str | None = None
) -> plan.Limits:
    """How large batches may be: a function of the model and of the kind of device."""
    limits = plan.Limits.default(device.type, dtype.itemsize)
    return limits.within(config, total_bytes(device), quantize)


def end_ids(config: LlamaConfig, tokenizer: Any) -> tuple[int, ...]:
    """The ids that end an answer: the checkpoint's, and the tokenizer's own eos."""
    own = getattr(tokenizer, "eos_token_id", None)
    return tuple(sorted({*config.eos_ids, *(() if own is None else (own,))}))


def tokenizer_hash(tokenizer: Any) -> str:
    """A hash of what a tokenizer does; of its vocabulary where it isn't a `tokenizers` one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return hash_text(backend.to_str())
    return hash_text(repr(sorted(tokenizer.get_vocab().items())))


def hash_text(text: str) -> str:
    """The first 16 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
