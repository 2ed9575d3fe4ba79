"""Several processes: the numbers of one, clear errors, and nobody left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from llama_oracle import write_model
from transformers import PreTrainedTokenizerFast

from evalsuite.cli import main
from evalsuite.engine.base import Engine
from evalsuite.engine.llama.devices import ranks_needed, worker_devices
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.plan import Limits
from evalsuite.engine.llama.workers import WorkerEngine, open_engine
from evalsuite.inference import Inference
from evalsuite.models.adapter import Adapter, LowRank
from evalsuite.progress import make_progress
from evalsuite.records import GenerateRequest, ScoreRequest, UserError
from evalsuite.store import Store

# Small packs and groups, so that there are many batches to spread.
LIMITS = Limits(24, 3, 2**20, "cpu", 4)


def make_adapter() -> Adapter:
    generator = torch.Generator().manual_seed(0)
    change = LowRank(
        torch.randn(2, 48, generator=generator), torch.randn(32, 2, generator=generator), 0.5, False
    )
    name = "model.layers.1.mlp.down_proj.weight"
    return Adapter(Path("adapter"), low_rank={name: change}, replaced={})


# Every engine here but `plain` has an adapter, so that it reaches the workers in every test.
SETTINGS = {"device": "cpu", "limits": LIMITS, "transform": make_adapter().transform}


@pytest.fixture(scope="module")
def plain(small_folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaEngine:
    return LlamaEngine.load(small_folder, tokenizer, device="cpu", limits=LIMITS)


@pytest.fixture(scope="module")
def one(small_folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaEngine:
    return LlamaEngine.load(small_folder, tokenizer, **SETTINGS)


@pytest.fixture(scope="module")
def running() -> Iterator[list[WorkerEngine]]:
    """The engine of `two`, which is opened once: it takes seconds."""
    engines: list[WorkerEngine] = []
    yield engines
    for engine in engines:
        engine.close()


@pytest.fixture
def two(
    running: list[WorkerEngine], small_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> WorkerEngine:
    """Two workers; new ones where an earlier test ended the last ones."""
    if not running or not all(alive(pid) for pid in pids(running[-1])):
        engine = open_engine(small_folder, tokenizer, workers=2, **SETTINGS)
        assert isinstance(engine, WorkerEngine)
        running.append(engine)
    return running[-1]


def scores(count: int = 60) -> list[ScoreRequest]:
    rng = random.Random(3)
    shared = [tuple(rng.choices(range(3, 96), k=12)) for _ in range(4)]
    return [
        ScoreRequest(
            rng.choice(shared) + tuple(rng.choices(range(3, 96), k=rng.randrange(1, 6))),
            tuple(rng.choices(range(3, 96), k=rng.randrange(1, 5))),
        )
        for _ in range(count)
    ]


def prompts(count: int = 20) -> list[GenerateRequest]:
    rng = random.Random(4)
    return [
        GenerateRequest(tuple(rng.choices(range(3, 96), k=6)), 8, temperature=i % 2, seed=i)
        for i in range(count)
    ]


def test_two_workers_say_what_they_are(one: LlamaEngine, two: WorkerEngine) -> None:
    assert isinstance(one, Engine)
    assert isinstance(two, Engine)
    assert (one.workers, two.workers) == (1, 2)
    # Their answers are one worker's, so these are kept under the same key.
    assert two.identity == one.identity
    assert (two.max_length, two.config, two.limits) == (one.max_length, one.config, one.limits)
    assert two.memory_bytes() == one.memory_bytes()


def test_two_workers_give_the_bits_of_one(
    one: LlamaEngine, two: WorkerEngine, tmp_path: Path
) -> None:
    """Threads are equal here: one in this process (conftest.py), one in each worker."""
    answers = {}
    for name, engine in (("one", one), ("two", two)):
        with Store(tmp_path / f"{name}.db") as store:
            inference = Inference(engine, store, "run", make_progress("none"))
            answers[name] = (inference.score(scores()), inference.generate(prompts()))
            usage = inference.usage
            assert usage.batches > 12
            assert usage.batches_begun == usage.batches, "each batch was begun once"
            # All of it was committed: nothing is computed again.
            again = Inference(engine, store, "another run", make_progress("none"))
            assert (again.score(scores()), again.generate(prompts())) == answers[name]
            assert again.usage.batches == 0
    assert answers["one"] == answers["two"]


def test_one_worker_does_not_wait_for_the_other(two: WorkerEngine) -> None:
    """With one process stopped, the other one's answers still come."""
    stopped = pids(two)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=two.score, args=(scores(3),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while all(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not all(thread.is_alive() for thread in threads)
    finally:
        os.kill(stopped, signal.SIGCONT)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def pids(engine: WorkerEngine) -> list[int]:
    return [process.pid or 0 for copy in engine._copies for process in copy.processes]


def test_an_interrupted_run_goes_on_with_another_number_of_workers(
    one: LlamaEngine, two: WorkerEngine, tmp_path: Path
) -> None:
    class Interrupted:
        """The engine, and an error once some batches are done."""

        def __init__(self) -> None:
            self.left = 5

        def __getattr__(self, name: str) -> object:
            return getattr(two, name)

        def score(self, requests: list[ScoreRequest]) -> object:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("pulled the plug")
            return two.score(requests)

    with Store(tmp_path / "whole.db") as store:
        whole = Inference(one, store, "run", make_progress("none")).score(scores())
    with Store(tmp_path / "store.db") as store:
        with pytest.raises(RuntimeError, match="plug"):
            Inference(Interrupted(), store, "run", make_progress("none")).score(scores())  # type: ignore[arg-type]
        inference = Inference(one, store, "run", make_progress("none"))
        assert inference.score(scores()) == whole
        # What came back before the error was kept: 5 batches less those in flight with it.
        assert (
            inference.usage.batches + 3 >= inference.usage.batches_begun > inference.usage.batches
        )
        assert inference.usage.computed_tokens < inference.usage.distinct_tokens


def test_an_error_of_a_request_is_told_with_its_place(two: WorkerEngine) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process:.*at least one token of con"):
        two.score([ScoreRequest((), (5,))])
    assert two.score(scores(2)), "and the workers go on"


def test_a_folder_that_cannot_be_loaded_is_one_line(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A .bin file's contents are found wrong only by the worker that loads it."""
    folder = write_model(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": torch.ones(32)}, folder / "pytorch_model.bin")
    assert ranks_needed(folder, ["cpu", "cpu"], {}) == 1, "nothing is found wrong in this process"
    with pytest.raises(UserError, match="lacks 20 of 21 tensors"):
        WorkerEngine(folder, tokenizer, devices=["cpu"])


def test_adapters_reach_the_workers(
    plain: LlamaEngine, one: LlamaEngine, two: WorkerEngine
) -> None:
    assert two.score(scores(5)) == one.score(scores(5)) != plain.score(scores(5))


def test_a_worker_that_is_killed_is_an_error_and_ends_nothing_else(two: WorkerEngine) -> None:
    left, right = pids(two)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            two.generate([GenerateRequest((1, 5, i), 50, seed=i) for i in range(3, 90)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    os.kill(left, signal.SIGKILL)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a call hangs"
    (failure,) = failures
    assert isinstance(failure, UserError)
    assert failure.exit_code == 4
    assert "a worker process on cpu died (killed by SIGKILL)" in str(failure)
    two.close()
    assert not alive(left)
    assert not alive(right)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(processes: list[int], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in processes)


PARENT = """
import sys
sys.path.insert(0, sys.argv[2])
from llama_oracle import make_tokenizer
from evalsuite.engine.llama.workers import WorkerEngine
from evalsuite.records import GenerateRequest

if __name__ == "__main__":
    workers = 2 if sys.argv[3] == "is killed" else 1
    engine = WorkerEngine(sys.argv[1], make_tokenizer(), devices=["cpu"] * workers)
    busy, *idle = engine._copies
    requests = [GenerateRequest((1, 5, i), 50, seed=i) for i in range(3, 90)]
    if idle:
        busy.ask("generate", requests)
    print(*(p.pid for copy in engine._copies for p in copy.processes), flush=True)
    while idle:
        busy.answer()
        busy.ask("generate", requests)
"""


@pytest.mark.parametrize(("doing", "count"), [("is killed", 2), ("ends", 1)])
def test_no_worker_outlives_its_parent(
    doing: str, count: int, small_folder: Path, tmp_path: Path
) -> None:
    """Killed while one worker is busy and the other one idle, or ended without a close()."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script), str(small_folder), str(Path(__file__).parent), doing]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == count
        if doing != "ends":
            assert all(alive(pid) for pid in workers)
            parent.kill()
        assert gone([parent.pid, *workers] if doing == "ends" else workers)
    assert parent.returncode == (0 if doing == "ends" else -signal.SIGKILL)


def test_a_run_with_two_workers_is_the_run_with_one(tmp_path: Path) -> None:
    def run(workers: int) -> dict[str, object]:
        folder = tmp_path / str(workers)
        flags = ["--models", "demo-small", "--tasks", "starter", "--limit", "12"]
        flags += ["--output", str(folder), "--store", str(tmp_path / f"{workers}.db")]
        # One thread each (conftest.py): then even the last bits are equal.
        assert main(["run", *flags, "--workers", str(workers), "--progress", "none"]) == 0
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["models"][0]["workers"] == workers
        board = json.loads((folder / "leaderboard.json").read_text())
        del board["run"]
        return dict(board)

    assert run(1) == run(2)


def test_ctrl_c_ends_a_run_and_its_workers_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evalsuite", "run", "--models", "demo-large", "--workers", "2"]
    command += ["--output", str(tmp_path / "run"), "--store", str(tmp_path / "store.db")]
    with subprocess.Popen(
        [*command, "--progress", "plain"], stderr=subprocess.PIPE, text=True, process_group=0
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "loaded in" in line:
                break
        workers = children(run.pid)
        assert len(workers) >= 2
        time.sleep(1)
        os.killpg(run.pid, signal.SIGINT)
        said = run.stderr.read()
        assert run.wait(30) == 130, said
    assert "Traceback" not in said
    assert gone(workers)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


@pytest.mark.parametrize(
    ("device", "workers", "devices"),
    [("cpu", None, ["cpu"]), ("cpu", 3, ["cpu"] * 3), ("cuda", None, 4), ("cuda", 2, 2)],
)
def test_devices(
    device: str, workers: int | None, devices: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    if isinstance(devices, int):
        devices = [f"cuda:{i}" for i in range(devices)]
    assert worker_devices(device, workers) == devices


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("cuda", 5, "--workers 5 is more than the 4 GPUs"),
        ("cuda:1", 2, "--device cuda:1 is one device: with --workers 2 use --device cuda"),
    ],
)
def test_devices_that_are_not_there(
    device: str, workers: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert worker_devices("cuda:1", 1) == ["cuda:1"]
    with pytest.raises(UserError, match=message):
        worker_devices(device, workers)


@pytest.mark.parametrize(("free", "ranks"), [(100, 1), (60, 2), (30, 4)])
def test_a_model_is_divided_over_as_few_gpus_as_it_takes(
    free: int, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arithmetic only: a 33B model in bfloat16, and cards with so many GB free."""
    from evalsuite.engine.llama import devices as devices_module
    from evalsuite.engine.llama import memory
    from evalsuite.engine.llama.checkpoint import Checkpoint
    from evalsuite.engine.llama.config import LlamaConfig

    config = LlamaConfig(32000, 6656, 17920, 60, 52, 52, 128, 2048)
    checkpoint = Checkpoint(tmp_path, config, {}, "bfloat16", True)
    monkeypatch.setattr(devices_module, "open_checkpoint", lambda folder: checkpoint)
    monkeypatch.setattr(memory, "free_bytes", lambda device: free * 10**9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    devices = [f"cuda:{i}" for i in range(4)]
    assert ranks_needed(tmp_path, devices, {}) == ranks
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    with pytest.raises(UserError, match=r"cuda:0 has 0\.9 GiB free"):
        ranks_needed(tmp_path, devices, {})
