"""The seccomp program read by an interpreter of its language, and its numbers by the headers."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from evalsuite.sandbox.inside.seccomp import program
from evalsuite.sandbox.inside.syscalls import AARCH64, ARCHITECTURES, X86_64

ALLOW, KILL = 0x7FFF0000, 0x80000000
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), X86_64),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), AARCH64),
}


def decide(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers to a call: the classic BPF machine, as the kernel documents it."""
    arch = ARCHITECTURES[machine]
    words = {0: number, 4: arch.audit if audit is None else audit}
    for index, value in enumerate([*arguments, 0, 0, 0][:6]):
        words[16 + 8 * index] = value & 0xFFFFFFFF
        words[20 + 8 * index] = value >> 32
    code, at, accumulator = program(arch), 0, 0
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        if operation == 0x20:
            accumulator = words[constant]
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x06:
            return constant
        else:
            holds = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }[operation]
            at += yes if holds else no


def refused(answer: int, number: int = errno.EPERM) -> bool:
    return answer == 0x00050000 | number


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_the_kernels(machine: str) -> None:
    header, table = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"no {header} on this machine")
    found = dict(
        re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(encoding="utf-8"))
    )
    # The generic header's own name for it.
    found.setdefault("newfstatat", found.get("fstatat", ""))
    assert {name: int(found[name]) for name in table} == table


@pytest.mark.parametrize("machine", HEADERS)
def test_what_is_listed_is_allowed_and_the_rest_refused(machine: str) -> None:
    table = ARCHITECTURES[machine].allowed
    conditional = {"clone", "fcntl", "ioctl", "open", "openat", "prlimit64"}
    for name, number in table.items():
        if name not in conditional:
            assert decide(machine, number) == ALLOW, name
    for number in set(range(424)) - set(table.values()):
        assert refused(decide(machine, number)), number
    for number in set(range(424, 1000)) - set(table.values()):
        assert refused(decide(machine, number), errno.ENOSYS), number


@pytest.mark.parametrize("machine", HEADERS)
def test_arguments_decide(machine: str) -> None:
    table = ARCHITECTURES[machine].allowed

    def answer(name: str, *arguments: int) -> int:
        return decide(machine, table[name], *arguments)

    thread = 0x3D0F00  # what pthread_create passes
    assert answer("clone", thread) == ALLOW
    for flags in (17, 0x4111, thread | 0x10000000, thread | 0x20000, thread & ~0x10000, 0):
        assert refused(answer("clone", flags)), hex(flags)
    for command in (8, 10, 1024, 1026):  # F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY
        assert refused(answer("fcntl", 1, command))
    assert answer("fcntl", 1, 3) == ALLOW
    assert answer("ioctl", 1, 0x5401) == ALLOW
    assert refused(answer("ioctl", 1, 0x5412), errno.ENOTTY)  # TIOCSTI types into a terminal
    for flags, allowed in (
        (0o0, True),
        (0o1102, True),
        (0o1101, True),
        (0o1000, False),
        (3, False),
    ):
        assert (answer("openat", 0, 0, flags) == ALLOW) is allowed, oct(flags)
    assert answer("prlimit64", 0, 7, 0, 1 << 40) == ALLOW
    for changing in ((0, 7, 1 << 40, 0), (0, 7, 16, 0), (5, 7, 0, 16)):
        assert refused(answer("prlimit64", *changing))


def test_other_tables_of_the_processor_are_closed() -> None:
    assert decide("x86_64", 1, audit=0x40000003) == KILL  # i386 through int 0x80
    assert refused(decide("x86_64", 0x40000001), errno.ENOSYS)  # x32
