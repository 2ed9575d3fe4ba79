"""The model against transformers: float32 logits of every variant, within 1e-4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from llama_oracle import SMALL, load_oracle, oracle_logits, save_random, write_model
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from evalsuite.engine.llama.attention import pack_attention
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.loading import load_model
from evalsuite.engine.llama.trie import build_pack

CPU = torch.device("cpu")
TOKENS = tuple(torch.randint(3, 96, (60,), generator=torch.Generator().manual_seed(1)).tolist())
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500_000.0,
}
BIASES = {"attention_bias": True, "mlp_bias": True}

VARIANTS: dict[str, dict[str, object]] = {
    "multi-head": {"num_key_value_heads": 4},
    "grouped-query": {"num_key_value_heads": 2},
    "multi-query": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "llama3 rope": {"rope_parameters": LLAMA3},
    "linear rope": {
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
    },
    "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    "biases": BIASES,
    "head_dim": {"head_dim": 16},
    "head_dim, biases, llama3, tied": {
        "head_dim": 16,
        "tie_word_embeddings": True,
        "rope_parameters": LLAMA3,
        **BIASES,
    },
    "norm eps": {"rms_norm_eps": 0.1},
}


def our_logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    model = load_model(open_checkpoint(folder), CPU, dtype)
    pack = build_pack([TOKENS], [1])
    with torch.inference_mode():
        hidden = model.hidden(
            torch.from_numpy(pack.tokens),
            torch.from_numpy(pack.positions),
            pack_attention(pack.end, dtype, CPU, "dense"),
        )
        return model.logits(hidden)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_transformers(variant: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path, **VARIANTS[variant])
    theirs = oracle_logits(load_oracle(folder), TOKENS)
    ours = our_logits(folder)
    assert theirs.abs().max() > 1  # else 1e-4 would say nothing
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_every_setting_changes_the_logits(tmp_path: Path) -> None:
    """The variants above would all pass if the settings had no effect in either implementation."""
    plain = our_logits(write_model(tmp_path / "plain"))
    for variant in ("llama3 rope", "linear rope", "theta", "norm eps"):
        other = our_logits(write_model(tmp_path / variant, **VARIANTS[variant]))
        assert (other - plain).abs().max() > 1e-2, variant


def test_mistral_without_window(tmp_path: Path) -> None:
    config = MistralConfig(**SMALL, sliding_window=None)
    folder = save_random(MistralForCausalLM(config), tmp_path, seed=3, scale=0.4)
    oracle = MistralForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(our_logits(folder), oracle_logits(oracle, TOKENS), atol=1e-4, rtol=0)


def _as_bfloat16(model: PreTrainedModel, folder: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(folder)


def _as_shards(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def _as_bin(model: PreTrainedModel, folder: Path) -> None:
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


@pytest.mark.parametrize("write", [_as_bfloat16, _as_shards, _as_bin])
def test_forms_of_a_checkpoint(
    write: Callable[[PreTrainedModel, Path], None], small_folder: Path, tmp_path: Path
) -> None:
    write(load_oracle(small_folder), tmp_path)
    theirs = oracle_logits(load_oracle(tmp_path), TOKENS)
    torch.testing.assert_close(our_logits(tmp_path), theirs, atol=1e-4, rtol=0)


def test_bfloat16_is_as_near_to_float32_as_transformers(
    small_folder: Path, small_oracle: PreTrainedModel
) -> None:
    exact = oracle_logits(small_oracle, TOKENS).log_softmax(-1)
    rounded = load_oracle(small_folder).to(torch.bfloat16)
    theirs = (oracle_logits(rounded, TOKENS).log_softmax(-1) - exact).abs().mean()
    ours = (our_logits(small_folder, torch.bfloat16).log_softmax(-1) - exact).abs().mean()
    assert ours < 1.25 * theirs


def test_old_config_keys_mean_the_same(tmp_path: Path) -> None:
    """rope_theta and rope_scaling, as transformers wrote them before version 5."""
    import json

    folder = write_model(tmp_path, rope_parameters=LLAMA3)
    new = our_logits(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config))
    torch.testing.assert_close(our_logits(folder), new, atol=0, rtol=0)
