"""The engine in several processes: a copy of the model a device, or one model over all of them.

The parent plans and hands out batches, each to one copy; so numbers don't depend on how many there
are. Knows processes and the engine; no store, no tasks.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import tempfile
import threading
import traceback
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from evalsuite.engine.llama import plan
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.devices import ranks_needed, worker_devices
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.parallel import Shard, meet
from evalsuite.records import (
    Batch,
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

_SPAWN = multiprocessing.get_context("spawn")  # CUDA can't be used in a forked process


@dataclass(frozen=True, slots=True)
class _Start:
    """What a worker process is told: where its part goes, and LlamaEngine.load's arguments."""

    folder: str
    tokenizer: Any
    device: str
    threads: int
    shard: Shard | None
    meeting: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a worker says once its model is loaded."""

    identity: Mapping[str, str | int | float | bool]
    config: LlamaConfig
    max_length: int
    limits: plan.Limits
    warnings: tuple[str, ...]


def open_engine(
    folder: str | Path,
    tokenizer: Any,
    *,
    device: str = "auto",
    workers: int | None = None,
    **settings: Any,
) -> LlamaEngine | WorkerEngine:
    """The engine on as many devices as there are, or on `workers` of them.

    One device: in this process. Several: a copy of the model on each where it fits, else each model
    over as many of them as it takes. `settings` are `LlamaEngine.load`'s.

    Raises UserError as `LlamaEngine.load` does, and where there are fewer devices than `workers`.
    """
    devices = worker_devices(device, workers)
    if len(devices) == 1:
        return LlamaEngine.load(folder, tokenizer, device=devices[0], **settings)
    ranks = ranks_needed(folder, devices, settings)
    return WorkerEngine(folder, tokenizer, devices=devices, ranks=ranks, **settings)


class WorkerEngine:
    """Implements evalsuite.engine.base.Engine over processes; `score` and `generate` may be called
    from as many threads at once as there are `workers`.
    """

    def __init__(
        self,
        folder: str | Path,
        tokenizer: Any,
        *,
        devices: Sequence[str],
        ranks: int = 1,
        **settings: Any,
    ) -> None:
        """A copy of the model a `ranks` devices. Room for them must have been made sure of.

        Raises UserError as `LlamaEngine.load` does, and for a process that ends before it is ready.
        """
        self.workers, self.ranks = len(devices) // ranks, ranks
        threads = max(1, torch.get_num_threads() // len(devices))
        self._meetings = tempfile.TemporaryDirectory(prefix="evalsuite-")
        self._copies: list[_Copy] = []
        self._stop = weakref.finalize(self, _stop, self._copies, self._meetings)
        try:
            for number in range(self.workers):
                part = devices[number * ranks : (number + 1) * ranks]
                self._copies.append(
                    _Copy(
                        [
                            _Start(
                                str(folder),
                                tokenizer,
                                device,
                                threads,
                                Shard(rank, ranks) if ranks > 1 else None,
                                Path(self._meetings.name) / f"copy{number}",
                                {**settings, "check_room": False},
                            )
                            for rank, device in enumerate(part)
                        ]
                    )
                )
            readies = [copy.answer() for copy in self._copies]
        except BaseException:
            self.close()
            raise
        ready: _Ready = readies[0]
        self.identity, self.config, self.max_length = ready.identity, ready.config, ready.max_length
        self.limits, self.warnings = ready.limits, ready.warnings
        self.quantize = settings.get("quantize")
        # What is on one device: planned with, because that is where a batch has to fit.
        self._shape = Shard(0, ranks).config(ready.config)
        self._idle: queue.SimpleQueue[_Copy] = queue.SimpleQueue()
        for copy in self._copies:
            self._idle.put(copy)

    @property
    def parameters(self) -> int:
        """How many numbers the whole model's weights hold."""
        return self.config.parameters

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        """See `plan.plan_scoring`."""
        return plan.plan_scoring(requests, self.max_length, self.limits)

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        """See `plan.plan_generation`."""
        return plan.plan_generation(requests, self.max_length, self._shape, self.limits)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Answer the requests of one planned pack, in their order, on whichever copy is idle."""
        return self._ask("score", requests)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Answer the requests of one planned group, in their order, on whichever copy is idle."""
        return self._ask("generate", requests)

    def memory_bytes(self, scoring: Sequence[Batch] = (), generation: Sequence[Batch] = ()) -> int:
        """The most bytes held at once on each device; see `plan.memory_bytes`."""
        return plan.memory_bytes(
            self._shape, self.limits, scoring, generation, quantize=self.quantize
        )

    def close(self) -> None:
        """End the processes. A call that waits for one of them fails."""
        self._stop()

    def _ask(self, method: str, requests: Sequence[Any]) -> list[Any]:
        copy = self._idle.get()
        try:
            copy.ask(method, requests)
            return copy.answer()
        finally:
            self._idle.put(copy)


@dataclass(slots=True)
class _Copy:
    """One model: a process, or one a rank. All of them get every batch, the first one answers."""

    starts: Sequence[_Start]
    processes: list[SpawnProcess] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        for start in self.starts:
            ours, theirs = _SPAWN.Pipe()
            # daemon: ended by Python when the parent ends in any way that lets it.
            process = _SPAWN.Process(target=_serve, args=(theirs, start), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.connections.append(ours)

    def ask(self, method: str, requests: Sequence[Any]) -> None:
        try:
            for connection in self.connections:
                connection.send((method, tuple(requests)))
        except OSError:
            raise self._died() from None

    def answer(self) -> Any:
        """The first rank's answer, once every rank has answered.

        Raises what a rank raised, and UserError for a rank that has died; the others, who would
        wait for it for ever, are ended.
        """
        answers: dict[int, Any] = {}
        while len(answers) < len(self.connections):
            waiting = [i for i in range(len(self.connections)) if i not in answers]
            sentinels = [self.processes[i].sentinel for i in waiting]
            wait([*(self.connections[i] for i in waiting), *sentinels])
            for i in waiting:
                if self.connections[i].poll():
                    answers[i] = self._received(i)
                elif not self.processes[i].is_alive():
                    raise self._died()
        return answers[0]

    def _received(self, rank: int) -> Any:
        try:
            failed, value = self.connections[rank].recv()
        except (EOFError, OSError):
            raise self._died() from None
        if failed:
            if len(self.processes) > 1:
                # A rank whose partner died fails for that reason, which is the one worth telling.
                for process in self.processes:
                    process.join(0.2)
                if not all(process.is_alive() for process in self.processes):
                    raise self._died()
                self.stop()
            raise value
        return value

    def _died(self) -> UserError:
        for process in self.processes:
            process.join(0.5)  # its exit code comes a moment after its end of the pipe is gone
        codes = sorted(p.exitcode for p in self.processes if p.exitcode is not None)
        self.stop()
        how = f"exit code {codes[0]}" if codes else "it closed its connection"
        if codes and codes[0] < 0:
            how = f"killed by {signal.Signals(-codes[0]).name}"
        return UserError(
            f"a worker process on {self.starts[0].device} died ({how}): perhaps for want of "
            "memory; --workers 1 does without. Give the same command again to go on. (A script of "
            "your own needs `if __name__ == '__main__':` around its calls.)",
            exit_code=4,
        )

    def stop(self) -> None:
        # Killed, because nothing of theirs is worth keeping, and a rank that waits for another
        # one would not end otherwise.
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def _stop(copies: list[_Copy], meetings: tempfile.TemporaryDirectory[str]) -> None:
    for copy in copies:
        copy.stop()
    meetings.cleanup()


def _serve(connection: Connection, start: _Start) -> None:
    """A worker process: loads its part, then answers until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to deal with
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(start.threads)
    try:
        if torch.device(start.device).type == "cuda":
            torch.cuda.set_device(start.device)
        if start.shard is not None:
            meet(start.shard, torch.device(start.device), start.meeting)
        engine = LlamaEngine.load(
            start.folder,
            start.tokenizer,
            device=start.device,
            shard=start.shard,
            **start.settings,
        )
    except Exception as error:
        connection.send((True, _portable(error)))
        return
    connection.send(
        (
            False,
            _Ready(
                engine.identity,
                engine.config,
                engine.max_length,
                engine.limits,
                engine.warnings,
            ),
        )
    )
    while True:
        try:
            method, requests = connection.recv()
        except EOFError:
            return
        try:
            answers = getattr(engine, method)(requests)
        except Exception as error:
            connection.send((True, _portable(error)))
            continue
        # The ranks' answers are equal: the first one's is enough.
        first = start.shard is None or start.shard.rank == 0
        connection.send((False, answers if first else None))


def _end_with_parent() -> None:
    """End this process at once when its parent has ended, however that came about."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """An error as it can be sent: ours as it is, any other as text with its traceback."""
    if isinstance(error, UserError):
        return error
    return RuntimeError(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
