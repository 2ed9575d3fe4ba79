"""A causal language model of any architecture before its weights are loaded: size, context, files.

Reads a folder by transformers' own config classes, never by code from the folder, and divides
requests into batches. Computes nothing; the engine is huggingface.py's.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.engine.base import generation_input, scoring_input
from evalsuite.records import Batch, GenerateRequest, ScoreRequest, UserError

# transformers' config classes call a model's context by these names; the order is lm-eval's.
_CONTEXT_NAMES = ("n_positions", "max_position_embeddings", "n_ctx")
_DEFAULT_CONTEXT = 2048  # lm-eval's, where neither config nor tokenizer says
# Tokenizers without a limit of their own carry a number like 10**30.
_NO_LIMIT = 10**9
# Constants and not measurements, as in llama/plan.py: a plan is the same wherever it is made.
# Floating point operations a second, bytes of weights read a second, seconds a layer and step.
_RATES = {"cpu": (5e10, 1e10, 5e-4), "cuda": (1e14, 1e12, 2e-4)}
_GROUP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batch: padded tokens, numbers in its logits, rows and key/value bytes."""

    tokens: int
    logits: int
    rows: int
    kv_bytes: int

    @classmethod
    def default(cls, device: str) -> Limits:
        """The limits for a device type ("cpu" or "cuda")."""
        if device == "cpu":
            return cls(2048, 2**27, 32, 2 * 2**30)
        return cls(16_384, 2**29, 128, 16 * 2**30)


@dataclass(frozen=True, slots=True)
class Shape:
    """What planning needs to know of a model: `kv_values` are numbers a token leaves in a cache.

    `config` is transformers' own. `stored` is the data type of the weights, if it is said;
    `tensors` are their names and shapes.
    """

    config: Any
    architecture: str
    parameters: int
    layers: int
    kv_values: int
    vocab_size: int
    stored: str | None
    tensors: Mapping[str, tuple[int, ...]] = field(repr=False, compare=False, default_factory=dict)

    def context(self, wanted: int | None, tokenizer: Any) -> int:
        """The context in tokens: `wanted`, or what config and tokenizer say, by lm-eval's rule.

        Raises UserError for a context below 2.
        """
        if wanted is not None:
            if wanted < 2:
                raise UserError(f"--max-length {wanted} is too small: it must be 2 or more.")
            return wanted
        inner = getattr(self.config, "text_config", None) or self.config
        for name in _CONTEXT_NAMES:
            value = getattr(inner, name, None)
            if value is not None:
                return int(value)
        said = getattr(tokenizer, "model_max_length", None)
        return int(said) if said is not None and said < _NO_LIMIT else _DEFAULT_CONTEXT

    def generation_seconds(self, device: str, value_bytes: int, tokens: int, steps: int) -> float:
        """How long computing `tokens` in all over `steps` steps may take, by constants."""
        operations, bandwidth, overhead = _RATES[device]
        a_step = self.parameters * value_bytes / bandwidth + self.layers * overhead
        return 2 * self.parameters * tokens / operations + steps * a_step


def read_shape(folder: str | Path) -> Shape:
    """The shape of the model in a folder; its weights' files are looked at, not read.

    Raises:
        UserError: no config, one that needs code from the folder or isn't known to transformers,
            no causal language model, or weights that are missing or cut short.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = Path(folder)
    raw = _read_json(folder / "config.json", f"{folder} has no config.json: it is no model folder.")
    named = raw.get("architectures") or [raw.get("model_type", "unknown")]
    architecture = str(named[0])
    if raw.get("auto_map") and not _known(raw):
        raise UserError(
            f"{folder}: this {architecture} model needs code from its own folder, which is never "
            "run; use a checkpoint that transformers knows by itself."
        )
    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        # On the meta device a model has names and shapes but no numbers: exact for any size.
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, bare ones among them
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: transformers can't run this {architecture} model as a causal language "
            f"model: {reason}"
        ) from error
    _check_weights(folder)
    inner = config.get_text_config()
    layers = int(getattr(inner, "num_hidden_layers", 0) or 1)
    return Shape(
        config=config,
        architecture=architecture,
        parameters=sum(parameter.numel() for parameter in empty.parameters()),
        layers=layers,
        kv_values=_kv_values(inner, layers),
        vocab_size=int(inner.vocab_size),
        stored=str(config.dtype).removeprefix("torch.") if config.dtype is not None else None,
        tensors={name: tuple(each.shape) for name, each in empty.named_parameters()},
    )


def plan_scoring(
    requests: Sequence[ScoreRequest], max_length: int, shape: Shape, limits: Limits
) -> list[Batch]:
    """Batches of inputs of like length; requests with equal inputs (one-token choices) share a row.

    Raises ValueError, naming the request's index, for one that `scoring_input` refuses.
    """
    members: dict[tuple[int, ...], list[int]] = {}
    starts: dict[tuple[int, ...], int] = {}
    for index, request in enumerate(requests):
        try:
            tokens, _ = scoring_input(request, max_length)
        except ValueError as error:
            raise ValueError(f"request {index}: {error}") from None
        members.setdefault(tokens, []).append(index)
        start = len(tokens) - len(request.continuation)
        starts[tokens] = min(start, starts.get(tokens, start))

    # The longest first: a machine that is too small for them shows it at once.
    order = sorted(members, key=lambda tokens: (-len(tokens), tokens))
    batches: list[Batch] = []
    rows: list[tuple[int, ...]] = []
    for tokens in order:
        more = [*rows, tokens]
        longest = len(more[0])
        kept = longest - min(starts[row] for row in more)
        too_long = len(more) * longest > limits.tokens
        if rows and (too_long or len(more) * kept * shape.vocab_size > limits.logits):
            batches.append(_scoring_batch(rows, members))
            more = [tokens]
        rows = more
    if rows:
        batches.append(_scoring_batch(rows, members))
    return batches


def _scoring_batch(
    rows: Sequence[tuple[int, ...]], members: dict[tuple[int, ...], list[int]]
) -> Batch:
    indices = [index for row in rows for index in members[row]]
    total = sum(len(row) * len(members[row]) for row in rows)
    return Batch(tuple(indices), sum(map(len, rows)), total)


def plan_generation(
    requests: Sequence[GenerateRequest],
    max_length: int,
    shape: Shape,
    limits: Limits,
    device: str,
    value_bytes: int,
) -> list[Batch]:
    """Groups of prompts of like length, a minute of work or less (or a single request).

    Raises ValueError, naming the request's index, for one that `generation_input` refuses.
    """
    sizes: list[tuple[int, int]] = []
    for index, request in enumerate(requests):
        try:
            prompt, new, _ = generation_input(request, max_length)
        except ValueError as error:
            raise ValueError(f"request {index}: {error}") from None
        sizes.append((len(prompt), new))
    order = sorted(
        range(len(requests)), key=lambda i: (-sizes[i][0], requests[i].prompt, requests[i].seed)
    )
    return list(_groups(order, sizes, shape, limits, device, value_bytes))


def _groups(
    order: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    shape: Shape,
    limits: Limits,
    device: str,
    value_bytes: int,
) -> Iterator[Batch]:
    def batch(rows: Sequence[int]) -> Batch:
        tokens = sum(sum(sizes[i]) for i in rows)
        return Batch(tuple(rows), tokens, tokens)

    group: list[int] = []
    for index in order:
        more = [*group, index]
        prompt, new = max(sizes[i][0] for i in more), max(sizes[i][1] for i in more)
        kv_bytes = len(more) * (prompt + new) * shape.kv_values * value_bytes
        seconds = shape.generation_seconds(device, value_bytes, len(more) * (prompt + new), new)
        full = len(more) > limits.rows or kv_bytes > limits.kv_bytes or seconds > _GROUP_SECONDS
        if group and full:
            yield batch(group)
            more = [index]
        group = more
    if group:
        yield batch(group)


def memory_bytes(
    shape: Shape,
    limits: Limits,
    value_bytes: int,
    scoring: Sequence[Batch] = (),
    generation: Sequence[Batch] = (),
) -> int:
    """Estimate of the most bytes held at once: weights, and a batch's own tensors at their most."""
    inner = shape.config.get_text_config()
    hidden = int(getattr(inner, "hidden_size", 0) or 0)
    # The residual stream and an MLP of four times its width, in the model's type and in float32.
    a_token = 12 * hidden * max(value_bytes, 4)
    work = 0
    if scoring:
        most = max(batch.distinct_tokens for batch in scoring)
        logits = min(limits.logits, most * shape.vocab_size)
        work = most * a_token + 2 * 4 * logits
    for batch in generation:
        cache = batch.total_tokens * shape.kv_values * value_bytes
        work = max(work, cache + batch.total_tokens * a_token)
    return shape.parameters * value_bytes + work


def _known(raw: dict[str, Any]) -> bool:
    """Whether transformers has a class of its own for a config that brings code along as well."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return raw.get("model_type") in CONFIG_MAPPING_NAMES


def _kv_values(inner: Any, layers: int) -> int:
    heads = int(getattr(inner, "num_attention_heads", 0) or 1)
    hidden = int(getattr(inner, "hidden_size", 0) or heads)
    groups = getattr(inner, "num_key_value_heads", None) or heads
    head = getattr(inner, "head_dim", None) or hidden // heads
    return 2 * layers * int(groups) * int(head)


def _check_weights(folder: Path) -> None:
    """Raises UserError when files of the weights are missing or cut short."""
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / single).is_file():
            names = {single}
        elif (folder / index).is_file():
            table = _read_json(folder / index, "").get("weight_map")
            if not isinstance(table, dict) or not table:
                raise UserError(f"{folder / index} has no weight_map: download it again.")
            names = set(map(str, table.values()))
        else:
            continue
        for name in sorted(names):
            _check_file(folder / name)
        return
    raise UserError(
        f"{folder} has a config.json but no weights: expected model.safetensors, "
        "pytorch_model.bin or the index of either."
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing: download it again.")
    if path.suffix != ".safetensors":
        # torch writes zip archives, whose directory stands at the end: a cut file has none.
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path} is cut short, or an old pickle file: download it again.")
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): download it again.") from error


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(missing)
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return loaded
