"""Tensor parallelism over two processes by gloo, against the model in one process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from llama_oracle import write_model
from transformers import PreTrainedTokenizerFast

from evalsuite.engine.llama import loading
from evalsuite.engine.llama.checkpoint import expected_tensors, open_checkpoint
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.loading import load_model
from evalsuite.engine.llama.parallel import Shard
from evalsuite.engine.llama.workers import WorkerEngine
from evalsuite.records import GenerateRequest, ScoreRequest, UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With biases, which only one rank may add where products are summed."""
    return write_model(
        tmp_path_factory.mktemp("biased"), attention_bias=True, mlp_bias=True, seed=7
    )


@pytest.fixture(scope="module")
def whole(folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaEngine:
    return LlamaEngine.load(folder, tokenizer, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def running() -> Iterator[list[WorkerEngine]]:
    """The engine of `divided`, which is opened once: it takes seconds."""
    engines: list[WorkerEngine] = []
    yield engines
    for engine in engines:
        engine.close()


@pytest.fixture
def divided(
    running: list[WorkerEngine], folder: Path, tokenizer: PreTrainedTokenizerFast
) -> WorkerEngine:
    """One model over two processes; new ones where an earlier test ended the last ones."""
    if not running or not all(p.is_alive() for p in running[-1]._copies[0].processes):
        engine = WorkerEngine(folder, tokenizer, devices=["cpu", "cpu"], ranks=2, dtype="float32")
        running.append(engine)
    return running[-1]


def test_scores_are_those_of_one_process(whole: LlamaEngine, divided: WorkerEngine) -> None:
    rng = random.Random(1)
    shared = tuple(rng.choices(range(3, 96), k=20))
    requests = [
        ScoreRequest(
            shared[: rng.randrange(1, 20)] + tuple(rng.choices(range(3, 96), k=rng.randrange(6))),
            tuple(rng.choices(range(3, 96), k=rng.randrange(1, 6))),
        )
        for _ in range(80)
    ]
    ours, theirs = divided.score(requests), whole.score(requests)
    for a, b in zip(ours, theirs, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
        assert a.is_greedy == b.is_greedy
    assert divided.score(requests) == ours, "the same bits twice"


def test_greedy_texts_are_those_of_one_process(whole: LlamaEngine, divided: WorkerEngine) -> None:
    rng = random.Random(2)
    requests = [
        GenerateRequest(tuple(rng.choices(range(3, 96), k=rng.randrange(2, 12))), 16)
        for _ in range(40)
    ]
    assert divided.generate(requests) == whole.generate(requests)


def test_what_it_is_is_told(whole: LlamaEngine, divided: WorkerEngine) -> None:
    assert (divided.workers, divided.ranks) == (1, 2)
    # Sums in another order differ in the last bits: kept under another key.
    assert divided.identity == {**whole.identity, "ranks": 2}
    assert divided.config == whole.config
    assert divided.memory_bytes() < whole.memory_bytes()


@pytest.mark.parametrize("settings", [{}, {"quantize": "int8"}])
def test_ranks_hold_the_model_once(folder: Path, settings: dict[str, str]) -> None:
    """What two ranks read of each layer is together what one process reads."""
    checkpoint = open_checkpoint(folder)
    cpu, dtype = torch.device("cpu"), torch.float32
    model = load_model(checkpoint, cpu, dtype, **settings)
    parts = [
        load_model(checkpoint, cpu, dtype, **settings, shard=Shard(rank, 2)) for rank in range(2)
    ]
    for layer, *shards in zip(model.layers, *(part.layers for part in parts), strict=True):
        downs = [shard.mlp.down.linear for shard in shards]
        if not settings:
            assert torch.equal(torch.cat([d.weight for d in downs], 1), layer.mlp.down.weight)
        assert sum(d.weight.numel() for d in downs) == layer.mlp.down.weight.numel()
        assert torch.equal(downs[0].bias, layer.mlp.down.bias)
        assert not downs[1].bias.any()
        gates = [shard.mlp.gate_up.weight.chunk(2)[0] for shard in shards]
        assert torch.equal(torch.cat(gates), layer.mlp.gate_up.weight.chunk(2)[0])


def test_a_rank_reads_only_its_slices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, int] = {}
    real = loading._fill

    def watched(model, reader, quantize):  # type: ignore[no-untyped-def]
        def counting(name: str) -> torch.Tensor:
            tensor = reader(name)
            read[name] = tensor.numel()  # of a mapped file: pages are read when they are used
            return tensor

        real(model, counting, quantize)

    monkeypatch.setattr(loading, "_fill", watched)
    checkpoint = open_checkpoint(folder)
    load_model(checkpoint, torch.device("cpu"), torch.float32, shard=Shard(1, 2))
    for name, shape in expected_tensors(checkpoint.config).items():
        size = torch.Size(shape).numel()
        assert read[name] == (size // 2 if "_proj.weight" in name else read[name]), name
    assert any("_proj.weight" in name for name in read)


def test_a_transform_changes_whole_tensors_before_they_are_divided(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    seen: dict[str, tuple[int, ...]] = {}

    def transform(name: str, tensor: torch.Tensor) -> torch.Tensor:
        seen[name] = tuple(tensor.shape)
        return tensor.flip(0)

    cpu, dtype = torch.device("cpu"), torch.float32
    model = load_model(checkpoint, cpu, dtype, transform)
    part = load_model(checkpoint, cpu, dtype, transform, shard=Shard(1, 2))
    assert seen == expected_tensors(checkpoint.config)
    whole = model.layers[0].attention.out.weight
    assert torch.equal(part.layers[0].attention.out.linear.weight, whole[:, 16:])


@pytest.mark.parametrize("ranks", [3, 4])
def test_heads_that_cannot_be_divided_are_refused(folder: Path, ranks: int) -> None:
    config = open_checkpoint(folder).config
    with pytest.raises(UserError, match=f"4 heads, 2 key/value heads .* over {ranks} devices"):
        Shard(0, ranks).config(config)


def test_a_rank_that_dies_is_an_error(divided: WorkerEngine) -> None:
    (copy,) = divided._copies
    copy.processes[1].kill()
    # The other rank waits for it in a sum: it has to be ended, not waited for.
    with pytest.raises(UserError, match=r"died \(killed by SIGKILL\)"):
        divided.score([ScoreRequest((1, 5), (7,))])
    assert not any(process.is_alive() for process in copy.processes)
    divided.close()


def test_an_error_of_both_ranks_is_told_once(divided: WorkerEngine) -> None:
    with pytest.raises(RuntimeError, match="at least one token of context"):
        divided.score([ScoreRequest((), (5,))])
    divided.close()
