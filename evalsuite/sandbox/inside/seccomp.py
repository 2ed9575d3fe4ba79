"""A seccomp filter written out by hand: which system calls a confined program may make.

An allow-list: what syscalls.py doesn't name is refused with EPERM, what is younger than the common
table with ENOSYS so that the C library falls back. Sets it on the calling thread; knows no files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from .syscalls import ARCHITECTURES, FIRST_COMMON, Architecture

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _AND, _RETURN = (
    0x20, 0x15, 0x35, 0x45, 0x54, 0x06,
)  # fmt: skip
_KILL_PROCESS, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

# A thread shares memory, signal handlers and the thread group with its maker; a process does not.
_THREAD = 0x00000100 | 0x00000800 | 0x00010000
# CLONE_NEWTIME and every other namespace, CLONE_PTRACE, CLONE_VFORK, CLONE_PIDFD, CLONE_PARENT
_NOT_A_THREAD = 0x80 | 0x7E020000 | 0x00002000 | 0x00004000 | 0x00001000 | 0x00008000
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC. Left out
# are F_SETOWN and F_SETSIG (a signal to any process), leases and directory notices.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what files are asked. No TIOCSTI.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_O_ACCMODE, _O_RDONLY, _O_TRUNC = 0o3, 0o0, 0o1000

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

_PR_SET_SECCOMP, _FILTER_MODE = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def restrict(libc: ctypes.CDLL) -> None:
    """Puts the filter in force for this thread and all it will start. no_new_privs must be set.

    Raises:
        OSError: the processor has no table here, or the kernel refuses the filter.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    instructions = program(ARCHITECTURES[machine])
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = _Program(len(instructions), ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(filter_), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


def program(arch: Architecture) -> list[Instruction]:
    """The filter's instructions for one processor."""
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if arch.foreign_bit is not None:
        code += [(_JUMP_GREATER_EQUAL, 0, 1, arch.foreign_bit), _refuse(errno.ENOSYS)]
    by_argument = {
        "clone": _only_threads(),
        "fcntl": _one_of(1, _FCNTL, errno.EPERM),
        "ioctl": _one_of(1, _IOCTL, errno.ENOTTY),
        "open": _no_truncating_read(1),
        "openat": _no_truncating_read(2),
        "prlimit64": _only_asking(),
    }
    for name, number in arch.allowed.items():
        block = by_argument.get(name, [(_RETURN, 0, 0, _ALLOW)])
        code += [(_JUMP_EQUAL, 0, len(block), number), *block]
    code += [
        (_JUMP_GREATER_EQUAL, 0, 1, FIRST_COMMON),
        _refuse(errno.ENOSYS),
        _refuse(errno.EPERM),
    ]
    return code


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _low(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)  # both processors are little-endian


def _high(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4)


def _only_threads() -> list[Instruction]:
    return [
        _low(0),
        (_JUMP_ANY_BIT, 3, 0, _NOT_A_THREAD),
        (_AND, 0, 0, _THREAD),
        (_JUMP_EQUAL, 0, 1, _THREAD),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EPERM),
    ]


def _one_of(argument: int, values: Sequence[int], otherwise: int) -> list[Instruction]:
    block: list[Instruction] = [_low(argument)]
    for value in values:
        block += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*block, _refuse(otherwise)]


def _no_truncating_read(argument: int) -> list[Instruction]:
    """O_RDONLY with O_TRUNC empties a file; to Landlock before ABI 3 it looks like reading.

    Access mode 3, which asks neither for reading nor for writing, is refused as well.
    """
    return [
        _low(argument),
        (_AND, 0, 0, _O_ACCMODE | _O_TRUNC),
        (_JUMP_EQUAL, 3, 0, _O_RDONLY | _O_TRUNC),
        (_AND, 0, 0, _O_ACCMODE),
        (_JUMP_EQUAL, 1, 0, _O_ACCMODE),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EPERM),
    ]


def _only_asking() -> list[Instruction]:
    """prlimit64 about itself, setting nothing: the new limits' pointer is null."""
    return [
        _low(0),
        (_JUMP_EQUAL, 0, 5, 0),
        _low(2),
        (_JUMP_EQUAL, 0, 3, 0),
        _high(2),
        (_JUMP_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EPERM),
    ]
