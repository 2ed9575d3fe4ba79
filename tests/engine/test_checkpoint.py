"""Checkpoint folders: what is wrong with one is said in a line, before a weight is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_oracle import load_oracle
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from evalsuite.engine.llama.checkpoint import check_checkpoint, special_token_warnings
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.engine import (
    LlamaEngine,
    resolve_device,
    resolve_dtype,
    resolve_max_length,
)
from evalsuite.records import UserError


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_folder, tmp_path / "model"))


@pytest.fixture
def sharded(small_folder: Path, tmp_path: Path) -> Path:
    load_oracle(small_folder).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    return tmp_path / "shards"


def edit(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "-"}))
    return folder


def refused(folder: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        check_checkpoint(folder)
    assert len(str(error.value).splitlines()) == 1


def test_a_whole_folder_is_accepted(folder: Path, sharded: Path) -> None:
    config = check_checkpoint(folder)
    assert (config.layers, config.heads, config.kv_heads, config.head_dim) == (2, 4, 2, 8)
    assert check_checkpoint(sharded) == config


def test_no_folder_no_config_no_weights(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is not a folder")
    (folder / "model.safetensors").unlink()
    refused(folder, "no weights: expected model.safetensors")
    (folder / "config.json").unlink()
    refused(folder, "no config.json")


def test_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    refused(folder, r"config\.json cannot be read")
    (folder / "config.json").write_text("[]")
    refused(folder, "does not hold a JSON object")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "holds a GPT2LMHeadModel model"),
        ({"architectures": "-", "model_type": "gpt2"}, "holds a gpt2 model"),
        ({"hidden_size": "-"}, r"config\.json lacks 'hidden_size'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'yarn' is not supported"),
        (
            {"rope_parameters": "-", "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "'dynamic' is not supported",
        ),
        ({"rope_parameters": {"rope_type": "longrope"}}, "'longrope' is not supported"),
        ({"rope_parameters": {"rope_type": "linear"}}, "lacks 'factor'"),
        ({"num_key_value_heads": 3}, "don't fit"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"already quantised \(gptq\)"),
        (
            {"architectures": ["MistralForCausalLM"], "sliding_window": 16},
            r"sliding window \(16 of 64 tokens\)",
        ),
        ({"num_hidden_layers": 3}, r"lacks 9 of 30 tensors: model\.layers\.2\."),
        (
            {"num_hidden_layers": 1},
            r"weights of 2 layers, but config\.json's num_hidden_layers is 1: .* both again",
        ),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, but must be 1 or more"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0"),
        ({"head_dim": 0}, "head_dim is 0"),
        ({"hidden_size": -32}, "hidden_size is -32"),
        ({"intermediate_size": 0}, "intermediate_size is 0"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0, but must be 1 or more"),
        ({"vocab_size": 97}, r"embed_tokens\.weight has the shape \[96, 32\].* \[97, 32\]"),
        ({"attention_bias": True}, r"lacks 8 of 29 tensors: .*q_proj\.bias"),
    ],
)
def test_configs_that_are_refused(folder: Path, changes: dict[str, Any], match: str) -> None:
    refused(edit(folder, **changes), match)


@pytest.mark.parametrize("left_out", ["-", None])
def test_sizes_that_may_be_left_out(folder: Path, left_out: Any) -> None:
    edit(folder, max_position_embeddings=left_out, head_dim=left_out)
    config = check_checkpoint(folder)
    assert (config.max_positions, config.head_dim) == (2048, 8)


def test_what_early_conversions_stored_is_left_out(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for layer in range(3):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, path)
    assert check_checkpoint(folder).layers == 2


def test_layers_in_shards_that_the_config_leaves_out(sharded: Path) -> None:
    refused(edit(sharded, num_hidden_layers=1), "weights of 2 layers")


def test_a_window_as_wide_as_the_context_is_none(folder: Path) -> None:
    edit(folder, architectures=["MistralForCausalLM"], sliding_window=64)
    assert check_checkpoint(folder).family == "mistral"


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_a_file_cut_short(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, r"model\.safetensors is damaged .* download it again")


def test_files_that_are_no_safetensors(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    refused(folder, "bytes instead of")
    path.write_bytes(whole[:8] + b"\xff" * (len(whole) - 8))
    refused(folder, "its header cannot be read")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    refused(folder, "git lfs pull")


def test_missing_and_foreign_tensors(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"], tensors["model.norm.weight"]
    save_file(tensors, path)
    refused(folder, r"lacks 2 of 21 tensors: model\.norm\.weight, lm_head\.weight")
    tensors["model.norm.weight"] = torch.ones(32, dtype=torch.int8)
    save_file(tensors, path)
    refused(folder, r"model\.norm\.weight is stored as I8")


def test_shards(sharded: Path) -> None:
    names = sorted(p.name for p in sharded.glob("model-*.safetensors"))
    (sharded / names[1]).write_bytes((sharded / names[1]).read_bytes()[:-5])
    refused(sharded, f"{names[1]} is damaged")
    (sharded / names[1]).unlink()
    refused(sharded, f"lacks 1 of {len(names)} weight files: {names[1]}")
    (sharded / "model.safetensors.index.json").write_text("{}")
    refused(sharded, "it has no weight_map")


def test_bin_files(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    state = load_oracle(folder).state_dict()
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(state, path)
    check_checkpoint(folder)

    edit(folder, num_hidden_layers=1)
    with pytest.raises(UserError, match=r"weights of 2 layers, .*num_hidden_layers is 1"):
        LlamaEngine.load(folder, tokenizer)
    edit(folder, num_hidden_layers=2)

    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, r"pytorch_model\.bin is damaged")

    del state["model.norm.weight"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"lacks 1 of 21 tensors: model\.norm\.weight"):
        LlamaEngine.load(folder, tokenizer)

    torch.save({"code": Path}, path)  # a class, which weights_only does not let in
    with pytest.raises(UserError, match="cannot be read as plain weights"):
        LlamaEngine.load(folder, tokenizer)


def test_early_conversions_are_noticed() -> None:
    def config(**changes: Any) -> LlamaConfig:
        sizes = {"vocab_size": 32_000, "hidden_size": 8, "intermediate_size": 8}
        layers = {"num_hidden_layers": 1, "num_attention_heads": 1}
        return LlamaConfig.from_json(
            {"architectures": ["LlamaForCausalLM"], **sizes, **layers, **changes}, "folder"
        )

    assert special_token_warnings(config(), 1, 2) == []
    (swapped_bos, swapped_eos) = special_token_warnings(
        config(bos_token_id=0, eos_token_id=1), 1, 2
    )
    assert "bos id is 0" in swapped_bos
    assert "eos id is 1" in swapped_eos
    assert len(special_token_warnings(config(), None, None)) == 2
    assert special_token_warnings(config(vocab_size=128_256, bos_token_id=128_000), 7, 8) == []


def test_generation_config_names_the_ends(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, 5]}))
    assert check_checkpoint(folder).eos_ids == (9, 5)
    engine = LlamaEngine.load(folder, tokenizer)
    (answer,) = engine.generate([ends_with(engine, 5)])
    assert answer.finish == "eos"


def ends_with(engine: LlamaEngine, token: int) -> Any:
    """A request whose first greedy token is `token`."""
    from evalsuite.records import GenerateRequest, ScoreRequest

    for first in range(3, 96):
        for second in range(3, 96):
            (answer,) = engine.score([ScoreRequest((first, second), (token,))])
            if answer.is_greedy:
                return GenerateRequest((first, second), 5)
    raise AssertionError("no prompt of two tokens leads to this token")


def test_devices_and_types(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    cpu = torch.device("cpu")
    for name in ("tpu", "mps", "cuda:99", "cpu:x"):
        with pytest.raises(UserError, match="device"):
            resolve_device(name)
    with pytest.raises(UserError, match="unknown dtype 'float33'"):
        resolve_dtype("float33", None, cpu)
    with pytest.raises(UserError, match="too small"):
        resolve_max_length(1, check_checkpoint(folder))
    assert resolve_dtype("auto", "float16", cpu) is torch.float32
    assert resolve_dtype("auto", "float16", torch.device("cuda")) is torch.float16
    assert resolve_dtype("auto", "bfloat16", cpu) in (torch.float32, torch.bfloat16)
    assert resolve_dtype("bfloat16", "float32", cpu) is torch.bfloat16
    longer = LlamaEngine.load(folder, tokenizer, max_length=100)
    assert longer.max_length == 100
    assert any("64 positions" in warning for warning in longer.warnings)
    with pytest.raises(UserError, match="attention 'flex' is not possible on cpu"):
        LlamaEngine.load(folder, tokenizer, device="cpu", attention="flex")
