"""One case from start to outcome: two confined processes, watched until there is a verdict.

The candidate's process and the tests' process talk over pipes that this one does not read. It reads
the verdict, keeps the clock and adds up memory, disk and output; whatever happens, both are dead
and their folder is gone when `run_case` returns.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.sandbox.place import Place, disk_used, sweep
from evalsuite.sandbox.records import Case, Limits, Mode, Outcome, Status
from evalsuite.sandbox.start import start

_LOOK_SECONDS = 0.05  # between two looks at memory and disk
_LONGEST_REPORT = 64 << 10
_LAST_WORDS_SECONDS = 1.0  # for a process that closed its pipes to be dead
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class _Side:
    """One of the two processes and what was heard from it."""

    process: subprocess.Popen[bytes]
    report: int
    output: int
    said: bytes = b""
    printed: bytes = b""
    printed_bytes: int = 0
    cpu_seconds: float = 0.0

    def reports(self) -> list[dict[str, Any]]:
        """What it reported, each line a record of our own code, or nothing."""
        return [json.loads(line) for line in self.said.split(b"\n")[:-1]]

    def exit_code(self, wait: float) -> int | None:
        """Its exit code, negative for a signal, also where bubblewrap hands it on; None: alive."""
        try:
            code = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            return None
        return 128 - code if code > 128 else code


@dataclass
class _Run:
    """The descriptors and processes of one case, all closed and killed by `end`."""

    open: list[int] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self.open.extend(ends)
        return ends

    def close(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            self.open.remove(descriptor)
            os.close(descriptor)

    def end(self) -> None:
        for process in self.processes:
            try:
                # The whole session: without a sandbox a program may have started others.
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.close(*list(self.open))


def run_case(place: Place, mode: Mode, case: Case, limits: Limits) -> Outcome:
    """Runs one case and says how it ended. Never raises for what a program did.

    Raises:
        OSError: this machine couldn't start the processes, or a box can't be swept.
    """
    began = time.monotonic()
    box = place.box()
    run = _Run()
    try:
        candidate, tests = _started(run, place, mode, case, limits, box)
        status, detail = _watched(candidate, tests, limits, box, began)
    finally:
        run.end()
        sweep(box)
    seconds = time.monotonic() - began
    text = candidate.printed.decode("utf-8", "replace")
    if status == "infra_error":
        text += tests.printed.decode("utf-8", "replace")
        detail = f"{detail}: {text.strip()[-300:]}" if text.strip() else detail
    return Outcome(status, detail, seconds, text[: limits.output_kept])


def _started(
    run: _Run, place: Place, mode: Mode, case: Case, limits: Limits, box: Path
) -> tuple[_Side, _Side]:
    to_candidate, to_tests = run.pipe(), run.pipe()
    jobs: tuple[tuple[dict[str, Any], Path | None, tuple[int, int]], ...] = (
        (
            {"role": "candidate", "source": case.candidate},
            box,
            (to_candidate[0], to_tests[1]),
        ),
        (
            {"role": "tests", "tests": case.tests, "helpers": case.helpers, "names": case.names},
            None,
            (to_tests[0], to_candidate[1]),
        ),
    )
    sides = []
    for job, folder, wire in jobs:
        report, output = run.pipe(), run.pipe()
        job |= {"wire": wire, "report": report[1]}
        process = start(place, mode, limits, job, folder, (*wire, report[1]), output[1])
        run.processes.append(process)
        run.close(*wire, report[1], output[1])
        sides.append(_Side(process, report[0], output[0]))
    return sides[0], sides[1]


def _watched(
    candidate: _Side, tests: _Side, limits: Limits, box: Path, began: float
) -> tuple[Status, str]:
    """Waits for the verdict or for a reason to wait no longer."""
    deadline = began + limits.wall_seconds
    next_look = began + _LOOK_SECONDS
    with selectors.DefaultSelector() as selector:
        for side in (candidate, tests):
            selector.register(side.report, selectors.EVENT_READ, side)
            selector.register(side.output, selectors.EVENT_READ, side)
        open_reports = {candidate.report, tests.report}
        while tests.report in open_reports:
            now = time.monotonic()
            if now >= deadline:
                return "timeout", f"no verdict after {limits.wall_seconds:g} seconds"
            if now >= next_look:
                next_look = now + _LOOK_SECONDS
                if found := _over(candidate, tests, limits, box):
                    return found
            for key, _ in selector.select(max(min(deadline, next_look) - now, 0)):
                if not _heard(key.data, key.fd):
                    selector.unregister(key.fd)
                    open_reports.discard(key.fd)
            if candidate.printed_bytes + tests.printed_bytes > limits.output_bytes:
                return "output", f"printed more than {limits.output_bytes >> 20} MiB"
    return _concluded(candidate, tests, limits)


def _heard(side: _Side, descriptor: int) -> bool:
    """Takes in what a descriptor has; False at its end."""
    data = os.read(descriptor, 1 << 16)
    if descriptor == side.report:
        side.said = (side.said + data)[:_LONGEST_REPORT]
    else:
        side.printed_bytes += len(data)
        side.printed = (side.printed + data)[:_LONGEST_REPORT]
    return bool(data)


def _over(candidate: _Side, tests: _Side, limits: Limits, box: Path) -> tuple[Status, str] | None:
    resident = 0
    for side in (candidate, tests):
        memory, side.cpu_seconds = _usage(side.process.pid, side.cpu_seconds)
        resident += memory
    if resident > limits.memory_bytes:
        return "memory", f"used more than {limits.memory_bytes >> 20} MiB"
    if disk_used(box, limits.disk_bytes) > limits.disk_bytes:
        return "failed", f"left more than {limits.disk_bytes >> 20} MiB of files"
    return None


def _usage(process: int, cpu_seconds: float) -> tuple[int, float]:
    """Bytes in memory and processor seconds of a process and all below it, as far as they live.

    Seconds are at least what was seen before.
    """
    memory, seconds, waiting = 0, 0.0, [process]
    while waiting:
        folder = Path(f"/proc/{(number := waiting.pop())}")
        try:
            stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
            below = (folder / f"task/{number}/children").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        # proc(5): fields 14, 15 and 24; the name in brackets may hold anything.
        fields = stat.rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / _TICKS
        memory += int(fields[21]) * _PAGE
        waiting += map(int, below.split())
    return memory, max(seconds, cpu_seconds)


def _concluded(candidate: _Side, tests: _Side, limits: Limits) -> tuple[Status, str]:
    """The outcome once the tests' process has closed its report."""
    said = tests.reports()
    for report in [*candidate.reports(), *said]:
        if report["status"] == "infra_error":
            return "infra_error", report["detail"]
    if not candidate.reports() or not said:
        return "infra_error", "a sandboxed process ended before it was ready"
    verdict = said[1] if len(said) > 1 else None
    if verdict is not None and verdict["status"] == "passed":
        return "passed", ""
    if verdict is None or verdict["candidate"] == "ended":
        for side in (candidate, tests):
            if found := _killed(side, limits):
                return found
    if verdict is None:
        return "failed", "the tests' process ended without a verdict"
    memory = verdict["detail"].startswith("MemoryError")
    return ("memory" if memory else "failed"), verdict["detail"]


def _killed(side: _Side, limits: Limits) -> tuple[Status, str] | None:
    """What a fatal signal means that the kernel or somebody outside sent.

    A confined program can send none itself: SIGKILL is its processor limit, or not its doing.
    """
    code = side.exit_code(_LAST_WORDS_SECONDS)
    slack = 1.5 + _LOOK_SECONDS  # the hard limit comes a second later; then the last look's age
    near = side.cpu_seconds > limits.cpu_seconds - slack
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and near):
        return "timeout", f"used more than {limits.cpu_seconds} seconds of a processor"
    if code == -signal.SIGKILL:
        return "infra_error", "a sandboxed process was killed from outside, out of memory perhaps"
    return None
