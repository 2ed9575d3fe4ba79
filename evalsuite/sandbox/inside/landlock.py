"""Landlock: which folders a confined program may read and write, enforced by the kernel.

Knows paths and rights. What Landlock doesn't cover (modes, times, owners, and truncating before ABI
3) is seccomp.py's to refuse.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from .syscalls import LANDLOCK_ADD_RULE, LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

# How many rights to files each ABI knows: 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV.
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_BITS_NOW = 16
_NET_ABI, _NET_BITS = 4, 0b11  # binding and connecting TCP
_SCOPE_ABI, _SCOPE_BITS = 6, 0b11  # abstract unix sockets and signals beyond the domain
_RULE_PATH_BENEATH, _ASK_VERSION = 1, 1


def abi(libc: ctypes.CDLL) -> int:
    """The kernel's Landlock version, 0 when it has none or it is switched off."""
    version = _call(libc, LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(int(version), 0)


def restrict(libc: ctypes.CDLL, readable: Iterable[str], writable: Iterable[str]) -> None:
    """From here on this thread opens only what lies below these paths. no_new_privs must be set.

    Raises:
        OSError: the kernel has no Landlock, or refuses; the message names the step.
    """
    version = abi(libc)
    if version < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    handled = (1 << _FILE_BITS.get(version, _FILE_BITS_NOW)) - 1
    attributes = struct.pack("=Q", handled)
    if version >= _NET_ABI:
        attributes += struct.pack("=Q", _NET_BITS)
    if version >= _SCOPE_ABI:
        attributes += struct.pack("=Q", _SCOPE_BITS)
    size = ctypes.c_size_t(len(attributes))
    ruleset = _call(libc, LANDLOCK_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset failed")
    for paths, rights in ((readable, _READ), (writable, _WRITE)):
        for path in paths:
            _allow(libc, ruleset, path, rights & handled)
    if _call(libc, LANDLOCK_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # nothing there, nothing to allow
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, place)
        if _call(libc, LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), f"landlock_add_rule failed for {path}")
    finally:
        os.close(place)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    # Arguments go as the kernel reads them: a bare int would be passed as a 32-bit C int.
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *passed))
