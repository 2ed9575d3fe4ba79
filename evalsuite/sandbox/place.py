"""Where sandboxed programs run on this machine: interpreter, readable folders, boxes, user id.

Made once a sandbox. Knows paths and permissions; starts nothing.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import shutil
import stat
import sys
import sysconfig
import tempfile
import time
from functools import cache
from pathlib import Path

from evalsuite.files import Closing
from evalsuite.records import UserError

# What loading an extension module of the standard library needs beside the module itself.
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_SMALL_THINGS = ("/etc/localtime", "/usr/share/zoneinfo", "/dev/zero", "/dev/urandom")
# A range in which distributions make no users and systemd takes no dynamic ones.
_UNUSED_IDS = range(59000, 59999)
_NOT_COPIED = ("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip")


class Place(Closing):
    """The paths that runs on this machine share, and the folder that holds their boxes.

    `drop_to` is the user id that programs get when this process is root, else None.

    Raises:
        UserError: no temporary folder that a sandboxed program could reach.
    """

    def __init__(self) -> None:
        self.drop_to = _unused_id() if os.geteuid() == 0 else None
        # The real file behind a virtual environment's links: it finds its own library.
        self.python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
        self.package = str(Path(__file__).parent)  # the folder that has `inside` in it
        temporary = self._temporary()
        self.root = Path(tempfile.mkdtemp(prefix="evalsuite-sandbox-", dir=temporary))
        self.root.chmod(0o711)
        own = [sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})]
        dynamic = sysconfig.get_config_var("DESTSHARED")
        self.library = [path for path in [*own, dynamic] if path]
        self.python_home: str | None = None  # where Python is told to look for its library
        if self.drop_to is not None and not all(map(_reachable, self.library)):
            self.python_home = _copied(self.library[0], temporary).name
            self.library = [self.python_home]
        shared = sysconfig.get_config_var("LIBDIR")
        more = [shared] if shared and _reachable(shared) else []
        self.readable = [*self.library, *more, *_SYSTEM_LIBRARIES, *_SMALL_THINGS]

    def box(self) -> Path:
        """A new empty folder that a program may write to."""
        box = Path(tempfile.mkdtemp(prefix="box-", dir=self.root))
        if self.drop_to is not None:
            os.chown(box, self.drop_to, self.drop_to)
        return box

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _temporary(self) -> str:
        folders = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
        for folder in folders:
            if self.drop_to is None or _reachable(folder):
                return folder
        raise UserError(
            f"no temporary folder that user {self.drop_to} can enter ({', '.join(folders)}): "
            "set TMPDIR to one"
        )


@cache
def _copied(library: str, base: str) -> tempfile.TemporaryDirectory[str]:
    """The standard library where the unused user can read it, as when Python is in /root.

    Made once a process, which removes it at its end.
    """
    home = tempfile.TemporaryDirectory(prefix="evalsuite-python-", dir=base)
    os.chmod(home.name, 0o755)
    target = home.name / Path(os.path.realpath(library)).relative_to(
        os.path.realpath(sys.base_prefix)
    )
    ignore = shutil.ignore_patterns(*_NOT_COPIED, "config-*", "*.opt-?.pyc", "*.a")
    shutil.copytree(library, target, ignore=ignore)
    return home


def sweep(box: Path, patience: float = 10.0) -> None:
    """Removes a box whatever a program left in it: depth, modes and names don't matter.

    A killed program may still be in the middle of a write; what it adds meanwhile is removed too,
    for `patience` seconds.

    Raises:
        OSError: something in it can't be removed.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return _sweep(box)
        except OSError as error:
            still_dying = error.errno in (errno.ENOTEMPTY, errno.ENOENT) and box.exists()
            if not still_dying or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _sweep(box: Path) -> None:
    """One round: folders are emptied one at a time and their own folders are moved up to the top,
    so neither recursion nor the length of a path sets a limit."""
    moved_name = f".{secrets.token_hex(16)}"  # that no program can have taken
    top = os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        moved = 0
        while folders := _emptied(top):
            for name in folders:
                os.chmod(name, 0o700, dir_fd=top)
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                try:
                    for deeper in _emptied(inner):
                        moved += 1
                        os.chmod(deeper, 0o700, dir_fd=inner)
                        os.rename(deeper, f"{moved_name}-{moved}", src_dir_fd=inner, dst_dir_fd=top)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(box)


def _emptied(folder: int) -> list[str]:
    """Removes a folder's files; returns the names of its folders."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def disk_used(box: Path, at_most: int) -> int:
    """Bytes on disk below a box; stops counting past `at_most`. Each entry counts as a block.

    What can't be looked into counts as too much.
    """
    used, waiting = 0, [str(box)]
    while waiting and used <= at_most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    used += max(entry.stat(follow_symlinks=False).st_blocks * 512, 4096)
        except FileNotFoundError:
            continue  # removed while we looked
        except OSError:
            return at_most + 1
    return used


def _reachable(path: str) -> bool:
    """Whether a user without any rights of his own can enter and read this folder."""
    real = Path(os.path.realpath(path))
    try:
        parents = all(p.stat().st_mode & stat.S_IXOTH for p in real.parents)
        wanted = stat.S_IROTH | stat.S_IXOTH
        return parents and real.stat().st_mode & wanted == wanted
    except OSError:
        return False


def _unused_id() -> int | None:
    """A user and group id that nobody has; None where this root can't become another user."""
    for number in _UNUSED_IDS:
        if not _exists(number) and _mapped("uid", number) and _mapped("gid", number):
            return number
    return None


def _exists(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        try:
            look_up(number)
        except KeyError:
            continue
        return True
    return False


def _mapped(kind: str, number: int) -> bool:
    """Whether the id exists in this user namespace (a rootless container may have only 0)."""
    rows = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()
    ranges = [tuple(map(int, row.split())) for row in rows]
    return any(first <= number < first + count for first, _, count in ranges)
