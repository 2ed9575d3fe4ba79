"""What goes into the sandbox and what comes out of it: cases, limits, outcomes, the protection.

Knows no benchmark and no operating system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "timeout", "memory", "output", "infra_error"]
Mode = Literal["bwrap+landlock+seccomp", "landlock+seccomp", "none", "unsafe"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one case may use. Memory and disk are sums over both of its processes.

    The defaults leave canonical solutions a factor of ten: the slowest of HumanEval and MBPP needs
    about a second of a processor and 60 MiB.
    """

    cpu_seconds: int = 6  # for each process, threads summed
    wall_seconds: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20  # one file
    disk_bytes: int = 64 << 20  # all files left in the temporary folders at one time
    output_bytes: int = 8 << 20  # printed, after which the case is stopped
    output_kept: int = 4096  # printed characters that are kept for a reader
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class Case:
    """A program that a model wrote, and the tests that judge it, as Python sources.

    `helpers` runs before the tests on their side (a prompt's own functions). `names` are functions
    that the tests take from the candidate even where Python or the helpers have one of that name;
    other names that the tests use and nobody else defines come from the candidate, too.
    """

    candidate: str
    tests: str
    helpers: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended. `passed` only when the tests ran to their end without an exception.

    `timeout`, `memory` and `output` are failures with a name. `infra_error` says that the sandbox
    or the tests themselves failed: neither right nor wrong. `detail` is one line for a reader,
    `output` the beginning of what the program printed.
    """

    status: Status
    detail: str
    seconds: float
    output: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def decided(self) -> bool:
        """Whether the outcome says something about the program."""
        return self.status != "infra_error"


@dataclass(frozen=True, slots=True)
class Protection:
    """What holds a program on this machine. `reasons`: why it isn't more, and what is special."""

    mode: Mode
    reasons: tuple[str, ...] = ()

    @property
    def contained(self) -> bool:
        return self.mode in ("bwrap+landlock+seccomp", "landlock+seccomp")
