"""--engine hf: other architectures answer as lm-eval's own hf backend does on the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    FalconConfig,
    GPT2Config,
    MistralConfig,
    Qwen2Config,
)

from evalsuite.cli import main
from evalsuite.config import RunConfig
from evalsuite.engine.huggingface import HuggingFaceEngine
from evalsuite.engine.huggingface_shape import Limits, read_shape
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.models.names import DEMO_FOLDER
from evalsuite.outline import outline
from evalsuite.records import GenerateRequest, ScoreRequest, UserError

DEMO = DEMO_FOLDER / "demo-small"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
CONTEXT = 96
TEXTS = (
    ("Question: How many legs has a spider?\nAnswer:", " 8"),
    ("Question: How many legs has a spider?\nAnswer:", " 6"),
    ("Question: How many legs has a spider?\nAnswer:", " it depends on the spider"),
    ("The sky", " is blue, and so is the sea on a good day"),
    ("A", " b"),
    ("One two three four five six seven eight nine ten. " * 9, " and then some more"),
)


def config_of(name: str, tokenizer: Any) -> Any:
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_attention_heads": 4, **ends}
    if name == "gpt2":
        return GPT2Config(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=4, **ends
        )
    if name == "falcon":  # one key head for all, attention and MLP side by side
        return FalconConfig(num_hidden_layers=2, max_position_embeddings=CONTEXT, **size)
    size |= {"num_hidden_layers": 2, "intermediate_size": 64, "num_key_value_heads": 2}
    size["max_position_embeddings"] = CONTEXT
    if name == "mistral":  # its window is shorter than the context: ours refuses it
        return MistralConfig(sliding_window=16, **size)
    return Qwen2Config(**size)


def write(folder: Path, name: str, *, pickled: bool = False) -> Path:
    folder.mkdir(parents=True)
    for file in TOKENIZER_FILES:
        shutil.copy(DEMO / file, folder)
    torch.manual_seed(7)
    config = config_of(name, AutoTokenizer.from_pretrained(DEMO))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # so that the tokens are not all nearly as likely
    model.save_pretrained(folder)
    if pickled:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(DEMO)


@pytest.fixture(scope="module", params=["gpt2", "qwen2", "mistral", "falcon"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("other") / request.param, request.param)


@pytest.fixture(scope="module")
def engine(folder: Path, tokenizer: Any) -> HuggingFaceEngine:
    # Small batches, so that there are several.
    limits = Limits(tokens=200, logits=2**20, rows=3, kv_bytes=2**30)
    return HuggingFaceEngine.load(folder, tokenizer, device="cpu", dtype="float32", limits=limits)


@pytest.fixture(scope="module")
def oracle(folder: Path, tokenizer: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2, device="cpu")


def in_batches(plan: Callable, compute: Callable, requests: Sequence[Any]) -> list[Any]:
    answers: dict[int, Any] = {}
    for batch in plan(requests):
        its = compute([requests[i] for i in batch.requests])
        answers.update(zip(batch.requests, its, strict=True))
    assert sorted(answers) == list(range(len(requests)))
    return [answers[i] for i in range(len(requests))]


def scores(oracle: Any) -> list[ScoreRequest]:
    pairs = [oracle._encode_pair(*text) for text in TEXTS]
    return [ScoreRequest(tuple(left), tuple(right)) for left, right in pairs]


def asked(*arguments: Any) -> Any:
    return SimpleNamespace(args=arguments, arguments=arguments)


def test_logprobs_equal_lm_evals(engine: HuggingFaceEngine, oracle: Any) -> None:
    requests = scores(oracle)
    assert len(engine.plan_scoring(requests)) > 1
    mine = in_batches(engine.plan_scoring, engine.score, requests)
    theirs = oracle.loglikelihood([asked(*text) for text in TEXTS], disable_tqdm=True)
    assert [m.logprob for m in mine] == pytest.approx([t[0] for t in theirs], abs=1e-4)
    assert [m.is_greedy for m in mine] == [t[1] for t in theirs]
    assert [m.truncated > 0 for m in mine] == [False] * 5 + [True]


def test_greedy_texts_equal_lm_evals(engine: HuggingFaceEngine, oracle: Any) -> None:
    prompts = [text[0] for text in TEXTS]
    settings = {"until": ["e", "\n"], "max_gen_toks": 12, "do_sample": False}
    theirs = oracle.generate_until([asked(p, dict(settings)) for p in prompts], disable_tqdm=True)
    stops = ("e", "\n", oracle.tokenizer.eos_token)
    requests = [GenerateRequest(tuple(oracle.tok_encode(p)), 12, stops) for p in prompts]
    mine = in_batches(engine.plan_generation, engine.generate, requests)
    assert [m.text for m in mine] == theirs
    assert mine[-1].truncated > 0
    assert {m.finish for m in mine} <= {"stop", "eos", "length"}


def test_a_sampled_text_depends_on_its_seed_alone(engine: HuggingFaceEngine, oracle: Any) -> None:
    prompt = tuple(oracle.tok_encode(TEXTS[0][0]))
    requests = [
        GenerateRequest(prompt, 10, (), temperature=1.0, top_p=0.9, seed=seed) for seed in range(6)
    ]
    alone = [engine.generate([request])[0].tokens for request in requests]
    together = [answer.tokens for answer in engine.generate(requests[::-1])][::-1]
    assert alone == together
    assert len(set(alone)) > 1


def test_an_answer_that_ends_at_the_contexts_end_leaves_its_neighbours_alone(
    engine: HuggingFaceEngine,
) -> None:
    long = GenerateRequest(tuple(range(5, 5 + CONTEXT - 1)), 1)
    short = GenerateRequest((5, 6, 7), CONTEXT - 10)
    together = engine.generate([long, short])
    assert together == [engine.generate([request])[0] for request in (long, short)]


def test_a_llama_answers_alike_in_both_engines(tokenizer: Any, oracle: Any) -> None:
    ours = LlamaEngine.load(DEMO, tokenizer, device="cpu", dtype="float32")
    theirs = HuggingFaceEngine.load(DEMO, tokenizer, device="cpu", dtype="float32")
    assert ours.max_length == theirs.max_length
    assert ours.parameters == theirs.parameters
    requests = scores(oracle)
    a = in_batches(ours.plan_scoring, ours.score, requests)
    b = in_batches(theirs.plan_scoring, theirs.score, requests)
    assert [x.logprob for x in a] == pytest.approx([y.logprob for y in b], abs=1e-4)
    assert [x.truncated for x in a] == [y.truncated for y in b]
    asks = [
        GenerateRequest(request.context, 16, ("\n",), temperature, 0.95, seed)
        for request in requests
        for temperature, seed in ((0.0, 0), (0.8, 3))
    ]
    one = in_batches(ours.plan_generation, ours.generate, asks)
    two = in_batches(theirs.plan_generation, theirs.generate, asks)
    assert [x.tokens for x in one] == [y.tokens for y in two]
    assert [x.finish for x in one] == [y.finish for y in two]


def test_the_identity_names_transformers_and_settings(
    engine: HuggingFaceEngine, folder: Path, tokenizer: Any
) -> None:
    import transformers

    assert engine.identity["transformers"] == transformers.__version__
    other = HuggingFaceEngine.load(folder, tokenizer, device="cpu", dtype="float32", max_length=50)
    assert dict(other.identity) != dict(engine.identity)
    assert other.max_length == 50


def test_a_plan_without_weights_makes_the_engines_batches(
    folder: Path, tokenizer: Any, oracle: Any
) -> None:
    config = RunConfig(engine="hf", device="cpu", dtype="float32")
    loaded = HuggingFaceEngine.load(folder, tokenizer, device="cpu", dtype="float32")
    planned = outline(folder, tokenizer, config)
    requests = scores(oracle)
    assert planned.plan_scoring(requests) == loaded.plan_scoring(requests)
    asks = [GenerateRequest(request.context, 9) for request in requests]
    assert planned.plan_generation(asks) == loaded.plan_generation(asks)
    assert planned.parameters == sum(p.numel() for p in loaded.model.parameters())
    assert planned.memory_bytes([], []) == 4 * planned.parameters


def test_pickled_weights_are_read(tmp_path: Path, tokenizer: Any) -> None:
    plain = write(tmp_path / "plain", "gpt2")
    pickled = write(tmp_path / "pickled", "gpt2", pickled=True)
    request = ScoreRequest((1, 5, 9), (7, 8))
    answers = [
        HuggingFaceEngine.load(f, tokenizer, device="cpu", dtype="float32").score([request])
        for f in (plain, pickled)
    ]
    assert answers[0] == answers[1]


def test_what_cannot_be_run_is_one_line(tmp_path: Path, tokenizer: Any) -> None:
    place = write(tmp_path / "model", "gpt2")
    config = json.loads((place / "config.json").read_text())

    def refused(change: dict[str, Any]) -> str:
        (place / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError) as raised:
            read_shape(place)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    code = {"auto_map": {"AutoModelForCausalLM": "modeling.Mine"}, "model_type": "mine"}
    (place / "modeling.py").write_text("raise SystemExit('this must never run')")
    assert "needs code from its own folder" in refused(code)
    assert "transformers can't run this" in refused({"model_type": "nobody-knows"})
    assert "transformers can't run this" in refused(
        {"model_type": "vit", "architectures": ["ViTModel"]}
    )
    (place / "config.json").write_text(json.dumps(config))
    whole = (place / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(UserError, match="is damaged"):
        read_shape(place)
    (place / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        read_shape(place)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path, tokenizer: Any) -> None:
    from safetensors.torch import load_file, save_file

    place = write(tmp_path / "model", "qwen2")
    tensors = load_file(place / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight"):
        HuggingFaceEngine.load(place, tokenizer, device="cpu")


def test_a_run_with_another_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "tiny-qwen", "qwen2")
    flags = ["--models", str(place), "--tasks", "starter_commonsense", "starter_code_output"]
    flags += ["--limit", "5", "--progress", "none", "--judge", "none", "--device", "cpu"]
    flags += ["--store", str(tmp_path / "store.db")]
    capsys.readouterr()  # what the writing of the model said
    assert main(["run", *flags, "--output", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert "--engine hf" in said
    assert len(said.strip().splitlines()) == 1
    assert main(["plan", *flags, "--engine", "hf"]) == 0
    assert "parameters in float32" in capsys.readouterr().out
    assert main(["run", *flags, "--engine", "hf", "--output", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err == ""  # transformers would draw a bar
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["config"]["engine"] == "hf"
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    assert set(board["models"][0]["tasks"]) == {"starter_commonsense", "starter_code_output"}


@pytest.mark.parametrize(
    ("flag", "value", "why"), [("--quantize", "int8", "quantise"), ("--workers", "2", "process")]
)
def test_flags_of_the_other_engine_are_refused(
    flag: str, value: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--models", str(DEMO), "--engine", "hf", flag, value]
    for command in (["run", "--output", str(tmp_path / "run")], ["plan"]):
        assert main([*command, *flags]) == 2
        said = capsys.readouterr().err.strip()
        assert said.count("\n") == 0
        assert f"{flag} {value}: --engine hf" in said
        assert why in said
    assert main(["plan", *flags[:4], "--workers", "1", "--tasks", "starter", "--limit", "1"]) == 0
