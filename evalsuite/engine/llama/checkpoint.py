"""A checkpoint folder: which files hold which tensors, and whether they are all there and whole.

Reads config.json and the headers of safetensors files, never a weight, so a bad folder is found in
milliseconds, before anything long begins. Knows files; no torch.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalsuite.engine.llama.config import LlamaConfig, token_ids
from evalsuite.records import UserError

# safetensors' own limit for a header; a larger number is not a header.
_LARGEST_HEADER = 100_000_000

_SAFETENSORS_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

_OF_A_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
# Early conversions stored what is computed from config.json anyway.
_LEFTOVER = "rotary_emb."

# LLaMA 1 and 2 and what was tuned from them: 32,000 tokens plus a few that were added.
_LLAMA2_VOCABULARY = range(32_000, 32_064)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that was found complete.

    `files` maps each file name to the tensors wanted from it; for .bin files, whose contents only
    loading can tell, it may be empty. `dtype` is what the weights are stored in, if known.
    """

    folder: Path
    config: LlamaConfig
    files: Mapping[str, tuple[str, ...]]
    dtype: str | None
    safetensors: bool


def check_checkpoint(folder: str | Path) -> LlamaConfig:
    """Verify that a folder can be loaded, without loading weights; returns its config.

    Raises UserError, naming the file: no config.json, not a LLaMA, a file missing, cut short or
    corrupt, a tensor missing or of another shape than the config says, layers that it doesn't have.
    """
    return open_checkpoint(folder).config


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Like `check_checkpoint`, and says where the tensors are."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    config = read_config(folder)
    if (folder / "model.safetensors").is_file():
        return _safetensors(folder, config, ["model.safetensors"])
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _safetensors(folder, config, _shards(folder, index))
    index = folder / "pytorch_model.bin.index.json"
    names = _shards(folder, index) if index.is_file() else ["pytorch_model.bin"]
    if not (folder / names[0]).is_file():
        raise UserError(
            f"{folder} has a config.json but no weights: expected model.safetensors, "
            "model.safetensors.index.json or pytorch_model.bin."
        )
    for name in names:
        # torch writes zip archives, whose directory stands at the end: a cut file has none.
        if not zipfile.is_zipfile(folder / name):
            raise UserError(_damaged(folder / name, "it is cut short, or an old pickle file"))
    return Checkpoint(folder, config, dict.fromkeys(names, ()), config.dtype, False)


def read_config(folder: Path) -> LlamaConfig:
    """Read config.json, and generation_config.json for the ids that end an answer."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} has no config.json: it is not a model folder.")
    raw = _read_json(path)
    config = LlamaConfig.from_json(raw, str(folder))
    generation = folder / "generation_config.json"
    if generation.is_file():
        eos = _read_json(generation).get("eos_token_id")
        if eos is not None:
            # transformers' generate stops at these, not at config.json's.
            config = replace(config, eos_ids=token_ids(eos))
    return config


def special_token_warnings(
    config: LlamaConfig, bos_id: int | None = None, eos_id: int | None = None
) -> list[str]:
    """What is suspicious about bos and eos of a LLaMA 1 or 2, one line each.

    Early conversions carry empty or swapped ids; prompts then begin with the wrong token and
    answers do not end. `bos_id` and `eos_id` are the tokenizer's.
    """
    if config.family != "llama" or config.vocab_size not in _LLAMA2_VOCABULARY:
        return []
    found = [
        ("config.json's bos", config.bos_id, 1),
        ("config.json's eos", 2 if 2 in config.eos_ids else next(iter(config.eos_ids), None), 2),
        ("the tokenizer's bos", bos_id, 1),
        ("the tokenizer's eos", eos_id, 2),
    ]
    return [
        f"{what} id is {value}, but a LLaMA with {config.vocab_size} tokens has {wanted}: "
        "probably an early conversion; use a newer one."
        for what, value, wanted in found
        if value != wanted
    ]


def expected_tensors(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor that the model needs, as transformers names them."""
    hidden, inner = config.hidden_size, config.intermediate_size
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    tensors: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.tied_embeddings:
        tensors["lm_head.weight"] = (config.vocab_size, hidden)
    linear = [
        ("self_attn.q_proj", q, hidden, config.attention_bias),
        ("self_attn.k_proj", kv, hidden, config.attention_bias),
        ("self_attn.v_proj", kv, hidden, config.attention_bias),
        ("self_attn.o_proj", hidden, q, config.attention_bias),
        ("mlp.gate_proj", inner, hidden, config.mlp_bias),
        ("mlp.up_proj", inner, hidden, config.mlp_bias),
        ("mlp.down_proj", hidden, inner, config.mlp_bias),
    ]
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "input_layernorm.weight"] = (hidden,)
        tensors[prefix + "post_attention_layernorm.weight"] = (hidden,)
        for name, out, into, bias in linear:
            tensors[f"{prefix}{name}.weight"] = (out, into)
            if bias:
                tensors[f"{prefix}{name}.bias"] = (out,)
    return tensors


def require_tensors(
    where: Path, config: LlamaConfig, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise UserError when a needed tensor is missing from `shapes` or has another shape."""
    wanted = expected_tensors(config)
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise UserError(
            f"{where} lacks {len(missing)} of {len(wanted)} tensors: {_first(missing)}."
        )
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise UserError(
                f"{where}: {name} has the shape {list(shapes[name])}, but config.json makes it "
                f"{list(shape)}: weights and config do not belong together."
            )


def refuse_unused_layers(where: Path, config: LlamaConfig, names: Iterable[str]) -> None:
    """Raise UserError when `names` has tensors of layers that the config leaves out."""
    found = filter(None, map(_OF_A_LAYER.fullmatch, names))
    layers = max((int(of[1]) + 1 for of in found if _LEFTOVER not in of[2]), default=0)
    if layers > config.layers:
        raise UserError(
            f"{where} has weights of {layers} layers, but config.json's num_hidden_layers is "
            f"{config.layers}: weights and config do not belong together, download both again."
        )


def _safetensors(folder: Path, config: LlamaConfig, names: list[str]) -> Checkpoint:
    wanted = expected_tensors(config)
    shapes: dict[str, tuple[int, ...]] = {}
    files: dict[str, tuple[str, ...]] = {}
    dtypes: list[str] = []
    headers = {name: _read_header(folder / name) for name in names}
    refuse_unused_layers(folder, config, [tensor for held in headers.values() for tensor in held])
    for name, header in headers.items():
        found = [tensor for tensor in header if tensor in wanted]
        files[name] = tuple(found)
        for tensor in found:
            shapes[tensor] = tuple(header[tensor]["shape"])
            stored = header[tensor]["dtype"]
            if stored not in _SAFETENSORS_DTYPES:
                raise UserError(
                    f"{folder / name}: {tensor} is stored as {stored}; this engine reads float32, "
                    "float16 and bfloat16."
                )
            dtypes.append(_SAFETENSORS_DTYPES[stored])
    require_tensors(folder, config, shapes)
    return Checkpoint(folder, config, files, config.dtype or dtypes[0], True)


def _read_header(path: Path) -> dict[str, Any]:
    """A safetensors file's header, once the file was found to be as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version " and size < 1024:
            raise UserError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`.")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise UserError(_damaged(path, "its header is not whole"))
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        ends = [int(tensor["data_offsets"][1]) for tensor in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(_damaged(path, "its header cannot be read")) from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise UserError(_damaged(path, f"{size:,} bytes instead of {expected:,}"))
    return header


def _shards(folder: Path, index: Path) -> list[str]:
    """The file names that an index lists, all of them present."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(_damaged(index, "it has no weight_map"))
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of {len(names)} weight files: {_first(missing)}. "
            "Download them again."
        )
    return names


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} does not hold a JSON object.")
    return raw


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _damaged(path: Path, what: str) -> str:
    return f"{path} is damaged ({what}): download it again."
