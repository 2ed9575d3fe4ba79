"""A process gives up what it could do, step by step, before it runs code of others.

Limits, then the user, then capabilities, Landlock and seccomp, in an order in which each step is
still possible. Any step that fails raises: nothing runs half confined.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Any

from . import landlock, seccomp

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def confine(guard: dict[str, Any]) -> None:
    """Confines this process as `guard` says.

    `guard` has `limits` (resource name -> soft and hard), `parent` (its id, null behind bubblewrap),
    `drop_to` (a user id or null), `restrict` (false runs bare), `readable` and `writable` (paths).

    Raises:
        OSError: a step failed; the message names it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for name, (soft, hard) in guard["limits"].items():
        _limit(getattr(resource, name), soft, hard)
    if guard["drop_to"] is not None:
        os.setgroups([])
        os.setresgid(guard["drop_to"], guard["drop_to"], guard["drop_to"])
        os.setresuid(guard["drop_to"], guard["drop_to"], guard["drop_to"])
    _die_with(libc, guard["parent"])
    if not guard["restrict"]:
        return
    _drop_capabilities(libc)
    # No core files, and no other process of this user may look into this one.
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")
    landlock.restrict(libc, guard["readable"], guard["writable"])
    seccomp.restrict(libc)


def _limit(which: int, soft: int, hard: int) -> None:
    """Sets a limit, or keeps the one that is there already when it is lower."""
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))


def _die_with(libc: ctypes.CDLL, parent: int | None) -> None:
    """The kernel kills this process when its parent ends. After setresuid, which would undo it."""
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        raise OSError("the process that started this one is gone")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(ctypes.byref(header), ctypes.byref(nothing)):
        raise OSError(ctypes.get_errno(), "capset failed")
