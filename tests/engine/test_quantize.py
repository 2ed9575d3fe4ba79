"""Quantised weights: torchao is the oracle of the numbers, transformers of what comes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from llama_oracle import load_oracle, write_model
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from evalsuite.cli import main
from evalsuite.engine.llama.checkpoint import expected_tensors, open_checkpoint
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.engine import LlamaEngine, resolve_dtype
from evalsuite.engine.llama.loading import load_model
from evalsuite.engine.llama.memory import weight_bytes
from evalsuite.engine.llama.quantize import (
    Int8Linear,
    check_quantize,
    int4_group,
    quantize_int8,
    quantized_linear,
)
from evalsuite.models import resolve_models
from evalsuite.records import ScoreRequest, ScoreResponse, UserError

torchao = pytest.importorskip("torchao.quantization")
CPU = torch.device("cpu")


def linear(rows: int, columns: int, dtype: torch.dtype, *, bias: bool = False) -> torch.nn.Linear:
    torch.manual_seed(rows + columns)
    return torch.nn.Linear(columns, rows, bias=bias).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_those_of_torchaos_quantize(dtype: torch.dtype) -> None:
    # Large enough for several chunks, whose edges must not show; parts of unequal height.
    theirs = linear(3000, 2048, dtype)
    parts = [part.clone() for part in theirs.weight.detach().split([2500, 100, 400])]
    ours = quantized_linear("int8", parts, None, "w")
    torchao.quantize_(theirs, torchao.Int8WeightOnlyConfig())
    assert isinstance(ours, Int8Linear)
    assert torch.equal(ours.weight, theirs.weight.qdata)
    assert torch.equal(ours.scale, theirs.weight.scale.flatten())


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("bias", [False, True])
def test_products_are_those_of_the_dequantised_weights(rows: int, bias: bool) -> None:
    plain = linear(1300, 2048, torch.float32, bias=bias)
    weight = plain.weight.detach()
    ours = quantized_linear("int8", [weight], plain.bias, "w")
    x = torch.randn(rows, 2048)
    exact = F.linear(
        x.double(),
        torchao.Int8Tensor.from_hp(weight, granularity=torchao.PerRow()).dequantize().double(),
        None if plain.bias is None else plain.bias.double(),
    )
    torch.testing.assert_close(ours(x).double(), exact, atol=1e-5, rtol=0)
    # In bfloat16 we are no further from the exact product than torchao's own layer.
    half = plain.bfloat16()
    mine = quantized_linear("int8", [half.weight.detach()], half.bias, "w")
    torchao.quantize_(half, torchao.Int8WeightOnlyConfig())
    y = x.bfloat16()
    exact = F.linear(
        y.double(),
        half.weight.dequantize(torch.float32).double(),
        None if half.bias is None else half.bias.double(),
    )
    ours_off = (mine(y).double() - exact).abs().mean()
    assert ours_off <= 1.01 * (half(y).double() - exact).abs().mean()


def dequantised_oracle(folder: Path) -> torch.nn.Module:
    """transformers' model with each layer's weights replaced by what int8 makes of them."""
    oracle = load_oracle(folder)
    with torch.no_grad():
        for name, parameter in oracle.named_parameters():
            if "_proj.weight" in name:
                values, scale = quantize_int8(parameter)
                parameter.copy_(values * scale[:, None])
    return oracle


def test_scores_are_those_of_transformers_with_the_quantised_weights(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder = write_model(tmp_path, attention_bias=True, mlp_bias=True)
    oracle = dequantised_oracle(folder)
    engine = LlamaEngine.load(folder, tokenizer, device="cpu", dtype="float32", quantize="int8")
    tokens = (1, 17, 33, 5, 60, 8, 91, 4, 22)
    (answer,) = engine.score([ScoreRequest(tokens[:4], tokens[4:])])
    with torch.inference_mode():
        logprobs = oracle(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    wanted = sum(float(logprobs[i - 1, tokens[i]]) for i in range(4, len(tokens)))
    assert answer.logprob == pytest.approx(wanted, abs=1e-4)
    plain = LlamaEngine.load(folder, tokenizer, device="cpu", dtype="float32")
    (unquantised,) = plain.score([ScoreRequest(tokens[:4], tokens[4:])])
    assert abs(unquantised.logprob - answer.logprob) > 1e-3, "the weights were not quantised"


def test_the_demo_model_in_int8_says_nearly_the_same() -> None:
    from evalsuite.models import load_tokenizer, locate_all

    (spec,) = resolve_models(("demo-large",), None, None)
    weights, _ = locate_all([spec])
    folder = weights[spec.label].folder
    tokenizer = load_tokenizer(folder, spec.label)
    texts = [
        "The dog eats the bone.",
        "Two and three make five.",
        "A bird can fly, a stone cannot.",
    ]
    requests = [
        ScoreRequest(tuple(ids[:2]), tuple(ids[2:]))
        for ids in (tokenizer.encode(text) for text in texts)
    ]

    def scores(quantize: str | None) -> list[ScoreResponse]:
        engine = LlamaEngine.load(
            folder, tokenizer, device="cpu", dtype="float32", quantize=quantize
        )
        return engine.score(requests)

    for request, plain, quantised in zip(requests, scores(None), scores("int8"), strict=True):
        off = abs(plain.logprob - quantised.logprob) / len(request.continuation)
        assert 0 < off < 0.05, "natural logarithms a token"


def test_quantisation_is_part_of_the_engines_identity_and_said(
    small_folder: Path, small_engine: LlamaEngine, tokenizer: PreTrainedTokenizerFast
) -> None:
    engine = LlamaEngine.load(small_folder, tokenizer, device="cpu", quantize="int8")
    assert engine.identity["quantize"] == "int8"
    assert engine.identity["torchao"]
    assert "quantize" not in small_engine.identity
    assert any("saves memory on a CPU, not time" in warning for warning in engine.warnings)
    assert engine.memory_bytes() < small_engine.memory_bytes()


def test_a_transform_is_quantised_too(small_folder: Path) -> None:
    doubled = load_model(
        open_checkpoint(small_folder), CPU, torch.float32, lambda _, t: 2 * t, quantize="int8"
    )
    plain = load_model(open_checkpoint(small_folder), CPU, torch.float32, quantize="int8")
    for ours, theirs in zip(doubled.layers, plain.layers, strict=True):
        assert torch.equal(ours.mlp.down.scale, 2 * theirs.mlp.down.scale)
        assert torch.equal(ours.mlp.down.weight, theirs.mlp.down.weight)


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("int4", torch.bfloat16, "needs an NVIDIA GPU, not cpu: use --quantize int8"),
        ("int8", torch.float16, "overflows in float16: use --dtype bfloat16"),
        ("int2", torch.float32, "one of int8, int4; not 'int2'"),
    ],
)
def test_what_is_not_possible_is_refused(kind: str, dtype: torch.dtype, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_quantize(kind, CPU, dtype)


def test_int4_on_a_cpu_is_one_line_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--output", str(tmp_path / "run"), "--store", str(tmp_path / "s.db")]
    assert main(["run", "--device", "cpu", "--quantize", "int4", "--limit", "1", *places]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "int4 needs an NVIDIA GPU, not cpu: use --quantize int8" in said


def test_without_torchao_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in [name for name in sys.modules if name.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"pip install 'torchao>=0\.18'"):
        check_quantize("int8", CPU, torch.float32)


def test_quantised_weights_on_cuda_are_computed_with_in_bfloat16() -> None:
    cuda = torch.device("cuda")
    assert resolve_dtype("auto", "float16", cuda, "int8") is torch.bfloat16
    assert resolve_dtype("auto", "float16", cuda) is torch.float16


def test_int4_groups_divide_the_rows() -> None:
    assert [int4_group(n, "w") for n in (4096, 11008, 192, 96)] == [128, 128, 64, 32]
    with pytest.raises(UserError, match=r"rows of 100 weights.*use --quantize int8"):
        int4_group(100, "layers.0.mlp.down_proj")


def test_bytes_of_weights_are_counted(small_folder: Path) -> None:
    checkpoint = open_checkpoint(small_folder)
    for quantize in (None, "int8"):
        model = load_model(checkpoint, CPU, torch.float32, quantize=quantize)
        held = {id(t): t for t in [*model.parameters(), *model.buffers()]}
        held.pop(id(model.frequencies))
        actual = sum(t.numel() * t.element_size() for t in held.values())
        assert weight_bytes(checkpoint.config, 4, quantize) == actual


# Loads a checkpoint quantised and then as it is, and reports of each the most memory that was
# private to it (RssAnon: pages of the mapped files are the system's to take back), over what
# importing and a first tiny model took, and what is held afterwards.
PEAK = """
import ctypes, json, sys, threading, time
import torch
torch.set_num_threads(1)
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.loading import load_model
tiny, large = sys.argv[1:]

def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

def load(folder, quantize):
    cpu, dtype = torch.device("cpu"), torch.float32
    return load_model(open_checkpoint(folder), cpu, dtype, quantize=quantize)

def measured(quantize):
    load(tiny, quantize)
    trim(0)  # what the allocator keeps for later is not held by us
    before, peak, stop = held(), [0], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], held())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = load(large, quantize)
    stop.set()
    watcher.join()
    trim(0)
    return [peak[0] - before, held() - before]

trim = ctypes.CDLL(None).malloc_trim
print(json.dumps([measured("int8"), measured(None)]))
"""


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 208 MB in float32, all but 2 MB of it in its 4 layers."""
    folder = tmp_path_factory.mktemp("large")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 256,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = expected_tensors(LlamaConfig.from_json(config, "here"))
    rng = np.random.default_rng(0)
    tensors = {
        name: torch.from_numpy(rng.random(shape, dtype=np.float32) - 0.5)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_loading_never_holds_the_model_in_float(large_folder: Path, small_folder: Path) -> None:
    command = [sys.executable, "-c", PEAK, str(small_folder), str(large_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (peak, after), (plain_peak, _) = json.loads(done.stdout)
    config = open_checkpoint(large_folder).config
    whole, quantised = weight_bytes(config, 4), weight_bytes(config, 4, "int8")
    assert whole > 200e6
    assert plain_peak > 0.95 * whole, "the measurement sees what is held"
    assert after < 1.1 * quantised
    # Beside the quantised weights: the largest tensor's pieces, not a second model.
    assert peak < 2 * quantised < 0.55 * whole


def test_dtype_is_not_changed_by_quantising(small_folder: Path) -> None:
    model = load_model(open_checkpoint(small_folder), CPU, torch.bfloat16, quantize="int8")
    assert model.embedding.weight.dtype is model.head.weight.dtype is torch.bfloat16
    assert replace(model.config) == open_checkpoint(small_folder).config
