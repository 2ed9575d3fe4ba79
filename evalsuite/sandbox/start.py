"""Starts one confined process: the command line with and without bubblewrap, its job, its limits.

Knows how a process is wrapped; what the processes say to each other is case_run.py's.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalsuite.sandbox.place import Place
from evalsuite.sandbox.records import Limits, Mode

_BOOT = "import sys; sys.path.append({!r}); from inside.main import main; main()"
_BOX = "/box"  # where a box is, seen from behind bubblewrap
_MEMLOCK_BYTES = 64 << 10


def start(
    place: Place,
    mode: Mode,
    limits: Limits,
    job: dict[str, Any],
    box: Path | None,
    descriptors: Sequence[int],
    output: int,
) -> subprocess.Popen[bytes]:
    """Starts a process that confines itself and then does its job.

    `job` goes to its standard input; it gets `descriptors` under their own numbers and `output` as
    standard output and error, and no variable of this process's environment.

    Raises:
        OSError: bubblewrap or the interpreter can't be started.
    """
    wrapped = mode == "bwrap+landlock+seccomp"
    inside = "/" if box is None else _BOX if wrapped else str(box)
    guard = {
        "limits": _resources(limits),
        "parent": None if wrapped else os.getpid(),
        "drop_to": None if mode == "unsafe" else place.drop_to,
        "restrict": mode != "unsafe",
        "readable": place.readable,
        "writable": ["/dev/null"] if box is None else ["/dev/null", "."],
    }
    command = [place.python, "-s", "-S", "-P", "-B", "-X", "utf8", "-c"]
    command.append(_BOOT.format(place.package))
    if wrapped:
        command = [*bubblewrap(place, box), *command]
    given = _in_memory(job | {"box": inside, "guard": guard, "path": place.path})
    try:
        return subprocess.Popen(
            command,
            stdin=given,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_environment(inside),
            pass_fds=tuple(descriptors),
            start_new_session=True,
        )
    finally:
        os.close(given)


def bubblewrap(place: Place, box: Path | None) -> list[str]:
    """bubblewrap's part of the command line: own namespaces, and a root with next to nothing in it.

    As root no user namespace is needed, and the process inside drops to another user by itself.
    """
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    if os.geteuid() != 0:
        command += ["--unshare-user", "--cap-drop", "ALL"]
    paths = [*place.readable, place.package, place.python]
    paths = [path for path in dict.fromkeys(paths) if not path.startswith("/dev/")]
    # The folders on the way there, open to the user that the process will be; by itself bubblewrap
    # makes them for root alone.
    parents = {"/dev"} | {str(parent) for path in paths for parent in Path(path).parents}
    for parent in sorted(parents - {"/"}):
        command += ["--perms", "0755", "--dir", parent]
    for path in paths:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind-try", path, path]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        command += ["--dev-bind", device, device]
    if box is not None:
        command += ["--bind", str(box), _BOX]
    return [*command, "--remount-ro", "/", "--chdir", "/", "--"]


def _environment(home: str) -> dict[str, str]:
    # A fixed seed for hashes: a program that prints a set's order does it twice alike.
    return {"HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


def _resources(limits: Limits) -> dict[str, tuple[int, int]]:
    """Limits that the kernel keeps for each process, as resource names with soft and hard."""
    return {
        "RLIMIT_AS": (limits.memory_bytes, limits.memory_bytes),
        # At the soft limit SIGXCPU, which a program could ignore; SIGKILL a second later.
        "RLIMIT_CPU": (limits.cpu_seconds, limits.cpu_seconds + 1),
        "RLIMIT_FSIZE": (limits.file_bytes, limits.file_bytes),
        "RLIMIT_NOFILE": (limits.open_files, limits.open_files),
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_MEMLOCK": (_MEMLOCK_BYTES, _MEMLOCK_BYTES),
        "RLIMIT_MSGQUEUE": (0, 0),
    }


def _in_memory(job: dict[str, Any]) -> int:
    """A descriptor from which the job can be read, that no other process can name."""
    descriptor = os.memfd_create("job")
    rest = memoryview(json.dumps(job).encode("ascii"))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
