"""The canary: a program that really tries to get out, run before anything else is trusted.

`CANARY` is source for the candidate's side. Each attempt returns when it got out and raises when it
was held; the tests' side wants an empty list of those that got out.
"""

from __future__ import annotations

CANARY = '''
import ctypes, os, signal, socket, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def forked():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

def attempts(secret, folder, parent):
    new = os.path.join(folder, "new")
    yield "read a file outside", lambda: open(secret).read()
    yield "list a folder outside", lambda: os.listdir(folder)
    yield "write a file outside", lambda: open(new, "w").write("x")
    yield "append to a file outside", lambda: open(secret, "a").write("x")
    yield "truncate by reading", lambda: os.open(secret, os.O_RDONLY | os.O_TRUNC)
    yield "truncate by name", lambda: os.truncate(secret, 1)
    yield "make a folder outside", lambda: os.mkdir(new + "-folder")
    yield "link from outside", lambda: os.link(secret, "linked")
    yield "symlink", lambda: (os.symlink(secret, "symlink"), open("symlink").read())
    yield "change a mode", lambda: os.chmod(secret, 0o604)
    yield "change times", lambda: os.utime(secret, (1, 1))
    yield "change an attribute", lambda: os.setxattr(secret, "user.x", b"x")
    yield "read another's environment", lambda: open("/proc/%d/environ" % parent, "rb").read()
    yield "read the own environment file", lambda: open("/proc/self/environ", "rb").read()
    yield "read /etc/passwd", lambda: open("/etc/passwd").read()
    yield "signal another process", lambda: os.kill(parent, 0)
    yield "signal all processes", lambda: os.kill(-1, 0)
    yield "owner of a pipe's signals", lambda: __import__("fcntl").fcntl(1, 8, parent)
    yield "fork", forked
    yield "start a program", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)
    yield "become another program", lambda: os.execv("/nothing-there", ["x"])
    yield "a session of its own", os.setsid
    yield "TCP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    yield "UDP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    yield "unix socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
    yield "socket pair", lambda: [s.close() for s in socket.socketpair()]
    yield "ptrace", lambda: call("ptrace", 0x4206, parent, 0, 0)
    yield "a new namespace", lambda: call("unshare", 0x10000000)
    yield "memory without a file", lambda: os.close(os.memfd_create("x"))
    yield "keys", lambda: call("syscall", KEYCTL, 0, -3, 1)
    yield "raise a limit", lambda: __import__("resource").setrlimit(7, (32, 32))

KEYCTL = {"x86_64": 250, "aarch64": 219}[os.uname().machine]

def escapes(secret, folder, parent):
    out = []
    for name, attempt in attempts(secret, folder, parent):
        try:
            attempt()
        except FileNotFoundError:
            # Only a sandbox may hide what is there; exec of nothing gets this far only when open.
            if name == "become another program" or not os.environ["HOME"] == "/box":
                out.append(name)
        except (OSError, ValueError):  # setrlimit says ValueError for "not permitted"
            pass
        else:
            out.append(name)
    return out
'''

CANARY_TESTS = "out = escapes({secret!r}, {folder!r}, {parent!r})\nassert out == [], ', '.join(out)\n"
