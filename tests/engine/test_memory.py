"""What fits where: arithmetic against real tensors, refusals with a way out, halves of batches."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from evalsuite.cli import main
from evalsuite.engine.llama import engine as engine_module
from evalsuite.engine.llama import memory
from evalsuite.engine.llama.checkpoint import open_checkpoint
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.halving import in_halves
from evalsuite.engine.llama.memory import (
    free_bytes,
    least_bytes,
    require_room,
    total_bytes,
    weight_bytes,
)
from evalsuite.engine.llama.plan import Limits
from evalsuite.models.registry import find
from evalsuite.records import ScoreRequest, ScoreResponse, UserError

GIB = 2**30
CPU = torch.device("cpu")


def shape(name: str) -> LlamaConfig:
    """A registry model's shape with LLaMA 1's context."""
    size = find(name).size
    return LlamaConfig(
        vocab_size=size.vocab,
        hidden_size=size.hidden,
        intermediate_size=size.ffn,
        layers=size.layers,
        heads=size.heads,
        kv_heads=size.kv_heads,
        head_dim=size.hidden // size.heads,
        max_positions=2048,
    )


@pytest.mark.parametrize(
    ("name", "quantize", "gib"),
    [("llama-7b", None, 24), ("llama-13b", "int8", 24), ("llama-65b", "int4", 80)],
)
def test_the_sizes_this_engine_is_for_fit(name: str, quantize: str | None, gib: int) -> None:
    """Weights and the largest batches that the limits allow, in cards of 24 and 80 GB."""
    config, total = shape(name), gib * 10**9
    limits = Limits.default("cuda", 2).within(config, total, quantize)
    weights = weight_bytes(config, 2, quantize)
    work = memory.activation_bytes(config, 2, limits.pack_tokens)
    assert weights + work + limits.group_kv_bytes <= memory.USABLE["cuda"] * total
    assert limits.pack_tokens >= 4096
    assert limits.group_kv_bytes >= 2 * 2048 * config.kv_values * 2, "two whole contexts"
    # Without the quantisation it would not have.
    if quantize:
        assert least_bytes(config, 2, 2048) > total


def test_known_sizes_of_weights() -> None:
    """Parameters of the LLaMA paper's models, as published with their weights."""
    assert weight_bytes(shape("llama-7b"), 2) == 2 * 6_738_415_616
    assert weight_bytes(shape("llama-65b"), 2) == 2 * 65_285_660_672
    assert weight_bytes(shape("llama-13b"), 2, "int8") / GIB == pytest.approx(12.4, abs=0.1)
    assert weight_bytes(shape("llama-65b"), 2, "int4") / GIB == pytest.approx(33.3, abs=0.3)


def test_limits_depend_on_the_whole_memory_in_halves() -> None:
    config, default = shape("llama-7b"), Limits.default("cuda", 2)
    assert default.within(config, 80 * 10**9) == default
    small = default.within(config, 24 * 10**9)
    assert small.pack_tokens < default.pack_tokens
    assert default.pack_tokens % small.pack_tokens == 0
    assert default.group_kv_bytes % small.group_kv_bytes == 0
    # A card with a few MB more or less is the same card.
    for total in (24 * 10**9 - 50 * 2**20, 24 * 10**9 + 50 * 2**20):
        assert default.within(config, total) == small
    # Even where nothing fits the least batch is one.
    assert default.within(config, 10**9).pack_tokens == 256


def test_limits_are_part_of_the_engines_identity(small_engine: LlamaEngine) -> None:
    assert small_engine.identity["pack_tokens"] == small_engine.limits.pack_tokens
    assert small_engine.limits == Limits.default("cpu", 4), "small models keep the defaults"


def test_a_model_that_does_not_fit_is_refused_with_what_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = shape("llama-7b")
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16 * GIB)
    with pytest.raises(UserError) as refused:
        require_room("llama-7b", config, CPU, 4, 2048, None)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith("llama-7b needs 27.8 GiB (25.1 of them weights), but cpu has 16.0")
    assert "--quantize int8 (9.7 GiB)" in message
    assert "int4" not in message
    require_room("llama-7b", config, CPU, 4, 2048, "int8")
    # Where keys and values are what is too much, the context is the way out.
    monkeypatch.setattr(memory, "free_bytes", lambda device: 27 * GIB)
    with pytest.raises(UserError, match=r"--max-length 1024 \(26\.4 GiB\)"):
        require_room("llama-7b", config, CPU, 4, 2048, None)
    monkeypatch.setattr(memory, "free_bytes", lambda device: GIB)
    with pytest.raises(UserError, match="Nothing here would make it fit"):
        require_room("llama-65b", shape("llama-65b"), CPU, 4, 2048, None)


def test_on_a_gpu_int4_and_the_cpu_are_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    room = {"cuda": 24 * GIB, "cpu": 500 * GIB}
    monkeypatch.setattr(memory, "free_bytes", lambda device: room[device.type])
    cuda = torch.device("cuda:0")
    with pytest.raises(UserError) as refused:
        require_room("llama-33b", shape("llama-33b"), cuda, 2, 2048, None)
    message = str(refused.value)
    assert "--quantize int8" not in message
    assert "--quantize int4 (" in message
    assert "--device cpu (500.0 GiB free, slow)" in message


def test_a_model_larger_than_this_machine_is_refused_before_its_weights_are_read(
    small_folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A real folder whose config.json claims a context that no machine has room for."""
    text = (small_folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        text.replace('"max_position_embeddings": 64', f'"max_position_embeddings": {2**40}')
    )
    (tmp_path / "model.safetensors").symlink_to(small_folder / "model.safetensors")
    with pytest.raises(UserError, match=r"has .* GiB free\. What would fit: --max-length \d+"):
        LlamaEngine.load(tmp_path, tokenizer, device="cpu")
    LlamaEngine.load(tmp_path, tokenizer, device="cpu", max_length=64)


def test_memory_is_what_the_system_tells() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    assert total_bytes(CPU) <= page * os.sysconf("SC_PHYS_PAGES")
    if not list(memory._cgroup_memory()):
        assert total_bytes(CPU) == page * os.sysconf("SC_PHYS_PAGES")
        # Memory that caches would give back is free too.
        assert free_bytes(CPU) > 0.8 * page * os.sysconf("SC_AVPHYS_PAGES")
    assert 0 < free_bytes(CPU) < total_bytes(CPU)


def test_control_groups_bound_the_memory(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    v2 = tmp_path / "v2"
    inner = v2 / "outer" / "inner"
    inner.mkdir(parents=True)
    own.write_text("0::/outer/inner\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("1\n")
    (v2 / "outer" / "memory.max").write_text(f"{8 * GIB}\n")
    (v2 / "outer" / "memory.current").write_text(f"{3 * GIB}\n")
    (v2 / "outer" / "memory.stat").write_text(f"anon {GIB}\ninactive_file {GIB}\n")
    assert list(memory._cgroup_memory(v2, own)) == [(8 * GIB, 6 * GIB)]
    # In a container the path is the host's, and what is mounted is the group itself.
    own.write_text("0::/docker/abc\n")
    (v2 / "memory.max").write_text(f"{2 * GIB}\n")
    (v2 / "memory.current").write_text(f"{GIB}\n")
    assert list(memory._cgroup_memory(v2, own)) == [(2 * GIB, GIB)]
    own.write_text("5:cpu,cpuacct:/a\n4:memory:/b\n")
    group = v2 / "memory" / "b"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{5 * GIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{GIB}\n")
    (v2 / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (v2 / "memory" / "memory.usage_in_bytes").write_text("5\n")
    assert list(memory._cgroup_memory(v2, own)) == [(5 * GIB, 4 * GIB)]
    assert list(memory._cgroup_memory(v2, tmp_path / "none")) == []


def requests(count: int) -> list[ScoreRequest]:
    return [ScoreRequest((1, 5 + i % 3, 7 + i), (9 + i, 4)) for i in range(count)]


def test_a_pack_that_runs_out_of_memory_is_answered_in_halves(
    small_engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(13)
    whole = small_engine.score(asked)
    sizes: list[int] = []
    real = engine_module.score_pack

    def short_of_memory(model, some, *rest):  # type: ignore[no-untyped-def]
        sizes.append(len(some))
        if len(some) > 3:
            torch.empty(2**60)  # torch's own error of a CPU allocation that fails
        return real(model, some, *rest)

    monkeypatch.setattr(engine_module, "score_pack", short_of_memory)
    answers = small_engine.score(asked)
    wanted = pytest.approx([answer.logprob for answer in whole], abs=1e-4)
    assert [answer.logprob for answer in answers] == wanted
    assert [a.is_greedy for a in answers] == [a.is_greedy for a in whole]
    assert sizes == [13, 6, 3, 3, 7, 3, 4, 2, 2]


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError])
def test_every_kind_of_failed_allocation_is_known(kind: type[Exception]) -> None:
    def compute(some: list[int]) -> list[int]:
        if len(some) > 2:
            raise kind("CUDA out of memory")
        return [2 * n for n in some]

    assert in_halves(compute, list(range(7))) == [0, 2, 4, 6, 8, 10, 12]


def test_one_request_that_does_not_fit_is_an_error_with_advice() -> None:
    def compute(some: list[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match=r"a single request does not fit.*--max-length"):
        in_halves(compute, [1, 2])


def test_other_errors_are_not_retried() -> None:
    calls: list[int] = []

    def compute(some: list[int]) -> list[int]:
        calls.append(len(some))
        raise RuntimeError("a product of the wrong shapes")

    with pytest.raises(RuntimeError, match="wrong shapes"):
        in_halves(compute, [1, 2, 3])
    assert calls == [3]


def test_nothing_of_the_failed_pack_is_held_while_its_halves_are_computed() -> None:
    import weakref

    held: list[weakref.ref[torch.Tensor]] = []

    def compute(some: list[int]) -> list[int]:
        if len(some) > 1:
            work = torch.ones(10)
            held.append(weakref.ref(work))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert all(reference() is None for reference in held)
        return some

    assert in_halves(compute, [1, 2]) == [1, 2]
    assert held


def test_plan_tells_quantised_memory(
    small_engine: LlamaEngine, small_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*more: str) -> str:
        assert main(["plan", "--models", "demo-large", "--limit", "2", *more]) == 0
        return capsys.readouterr().out

    assert "parameters in float32 on cpu" in said("--device", "cpu")
    assert "parameters in int8 and float32 on cpu" in said("--device", "cpu", "--quantize", "int8")
    config = replace(open_checkpoint(small_folder).config)
    assert weight_bytes(config, 4, "int8") < small_engine.memory_bytes()


def test_scores_have_the_type_they_promise(small_engine: LlamaEngine) -> None:
    assert all(isinstance(answer, ScoreResponse) for answer in small_engine.score(requests(2)))
