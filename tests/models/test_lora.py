"""LoRA adapters against peft's own merge, and what can't be merged refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_llamas import fast, llama_tokenizer, write_checkpoint
from transformers import LlamaForCausalLM

from evalsuite.models import load_adapter, merge_adapter
from evalsuite.records import UserError

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "two": {"target_modules": ["q_proj", "v_proj"]},
    "all linear": {"target_modules": LINEAR, "r": 3, "lora_alpha": 7},
    "rslora": {"target_modules": LINEAR, "use_rslora": True},
    "fan in": {"target_modules": ["q_proj", "down_proj"], "fan_in_fan_out": True},
    "patterns": {
        "target_modules": LINEAR,
        "rank_pattern": {"layers.1.self_attn.q_proj": 6, "up_proj": 2},
        "alpha_pattern": {r".*\.0\.mlp\.(gate|up)_proj": 32, "o_proj": 1},
    },
    "embedding": {"target_modules": ["embed_tokens", "lm_head", "q_proj"]},
    "saved": {"target_modules": ["k_proj"], "modules_to_save": ["lm_head", "embed_tokens"]},
    "some layers": {"target_modules": LINEAR, "layers_to_transform": [1]},
    "every layer": {"target_modules": "all-linear"},
    "norm saved": {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return write_checkpoint(folder, fast(llama_tokenizer()), num_key_value_heads=2)


def _write(base: Path, folder: Path, *, safe: bool = True, **config: Any) -> Path:
    """An adapter as peft saves it, with random numbers in all of its matrices."""
    settings = {"r": 4, "lora_alpha": 16, "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(**settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "modules_to_save" not in name:
                parameter.normal_(0, 0.1)
            elif parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder, safe_serialization=safe)
    if not safe and not (folder / "adapter_model.bin").exists():
        # Newer versions of peft write safetensors alone.
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
    return folder


def _merged(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    loaded = load_adapter(adapter)
    tensors = load_file(base / "model.safetensors")
    loaded.check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    merged = {name: loaded.transform(name, tensor) for name, tensor in tensors.items()}
    assert all(torch.equal(before[name], tensors[name]) for name in tensors)
    return merged


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_are_peft_s(base: Path, tmp_path: Path, kind: str) -> None:
    adapter = _write(base, tmp_path / "lora", **KINDS[kind])
    merged = _merged(base, adapter)
    oracle = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), adapter).eval()
    ids = torch.tensor([[1, 300, 301, 302, 310, 320, 2]])
    with torch.no_grad():
        unmerged_logits = oracle(ids).logits
    wanted = oracle.merge_and_unload().state_dict()
    changed = 0
    for name, tensor in merged.items():
        assert (tensor - wanted[name]).abs().max() <= 1e-6, name
        changed += not torch.equal(tensor, load_file(base / "model.safetensors")[name])
    assert changed
    model = LlamaForCausalLM.from_pretrained(base).eval()
    model.load_state_dict(merged)
    with torch.no_grad():
        assert (model(ids).logits - unmerged_logits).abs().max() <= 1e-4


def test_a_bin_adapter_is_read_as_plain_weights(base: Path, tmp_path: Path) -> None:
    safe = _write(base, tmp_path / "safe", target_modules=LINEAR)
    pickled = _write(base, tmp_path / "bin", safe=False, target_modules=LINEAR)
    assert not (pickled / "adapter_model.safetensors").exists()
    one, two = _merged(base, safe), _merged(base, pickled)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_pickle_with_code_is_refused(base: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    adapter = _write(base, tmp_path / "bin", safe=False, target_modules=["q_proj"])
    torch.save({"x": Evil()}, adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="can't be read as plain weights"):
        load_adapter(adapter)
    assert not (tmp_path / "ran").exists()


def test_merging_rounds_once(base: Path, tmp_path: Path) -> None:
    """Tensors of a bfloat16 checkpoint come back as float32; what isn't touched stays as it is."""
    adapter = load_adapter(_write(base, tmp_path / "lora", target_modules=["q_proj"]))
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    merged = merge_adapter(adapter, name, tensors[name].bfloat16())
    exact = tensors[name].bfloat16().float() + adapter.low_rank[name].delta()
    assert merged.dtype is torch.float32
    assert torch.equal(merged, exact)
    other = tensors["model.norm.weight"].bfloat16()
    assert merge_adapter(adapter, "model.norm.weight", other) is other


def test_an_adapter_for_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = load_adapter(_write(base, tmp_path / "a", target_modules=["q_proj"]))
    shapes = {n: tuple(t.shape) for n, t in load_file(base / "model.safetensors").items()}
    adapter.check(shapes)
    first = "model.layers.0.self_attn.q_proj.weight"
    with pytest.raises(UserError, match=r"for another model: .*q_proj\.weight has the shape"):
        adapter.check({**shapes, first: (32, 64)})
    with pytest.raises(UserError, match=r"for another model: this one has no .*q_proj"):
        adapter.check({name: shape for name, shape in shapes.items() if name != first})
    embedding = load_adapter(_write(base, tmp_path / "b", target_modules=["embed_tokens"]))
    tied = {name: shape for name, shape in shapes.items() if name != "lm_head.weight"}
    with pytest.raises(UserError, match="which are one in this model"):
        embedding.check(tied)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, r"is DoRA \(use_dora\)"),
        ({"bias": "all"}, "trains biases"),
        ({"lora_bias": True}, "a bias beside LoRA's matrices"),
        ({"init_lora_weights": "pissa"}, "began from a changed base model"),
        ({"init_lora_weights": "olora"}, "began from a changed base model"),
        ({"alora_invocation_tokens": [1, 2]}, "only active from certain tokens"),
        ({"peft_type": "LOHA"}, "is a LOHA adapter; only LoRA"),
        ({"peft_type": None}, "is a nameless adapter"),
        ({"r": None}, "names no r"),
        ({"r": 5}, "has rank 4, but adapter_config.json says 5"),
    ],
)
def test_what_is_no_plain_lora_is_refused(
    base: Path, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    adapter = _write(base, tmp_path / "lora", target_modules=["q_proj"])
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    with pytest.raises(UserError, match=message) as caught:
        load_adapter(adapter)
    assert "\n" not in str(caught.value)


def test_dora_as_peft_writes_it_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is DoRA"):
        load_adapter(_write(base, tmp_path / "d", target_modules=["q_proj"], use_dora=True))


def _without_b(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if "lora_B" not in name}


def _unknown(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "base_model.model.model.embed_tokens.token_adapter.delta": torch.ones(2)}


def _not_fitting(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: t[:, :3].contiguous() if "lora_B" in n else t for n, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_b, "has only one of LoRA's two matrices"),
        (_unknown, "is nothing that can be merged"),
        (_not_fitting, "don't fit each other"),
        (lambda tensors: {}, "has no tensors"),
    ],
)
def test_files_that_are_not_whole_are_refused(
    base: Path,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    message: str,
) -> None:
    adapter = _write(base, tmp_path / "lora", target_modules=["q_proj"])
    path = adapter / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(UserError, match=message):
        load_adapter(adapter)


def test_missing_and_damaged_files(base: Path, tmp_path: Path) -> None:
    adapter = _write(base, tmp_path / "lora", target_modules=["q_proj"])
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="can't be read as plain weights"):
        load_adapter(adapter)
    weights.unlink()
    with pytest.raises(UserError, match=r"no adapter_model\.safetensors and no"):
        load_adapter(adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"adapter_config\.json can't be read"):
        load_adapter(adapter)
