"""The system calls that a confined program may make, by name and number, for each processor.

Numbers from the kernel's own headers (asm/unistd_64.h, asm-generic/unistd.h), which a test reads
again. What is not named here is refused; seccomp.py says which of these are refused by argument.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """`audit` is the kernel's AUDIT_ARCH_ constant; `foreign_bit` marks a second table (x32)."""

    audit: int
    allowed: dict[str, int]
    foreign_bit: int | None = None


# fmt: off
X86_64 = {
    # files, read or written through descriptors
    "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18, "close": 3,
    "close_range": 436, "lseek": 8, "ftruncate": 77, "fsync": 74, "fdatasync": 75, "flock": 73,
    "fcntl": 72, "ioctl": 16, "dup": 32, "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293,
    "fadvise64": 221,
    # looking at files; Landlock decides which can be opened
    "fstat": 5, "stat": 4, "lstat": 6, "newfstatat": 262, "statx": 332, "access": 21,
    "faccessat": 269, "faccessat2": 439, "readlink": 89, "readlinkat": 267, "statfs": 137,
    "fstatfs": 138, "getdents": 78, "getdents64": 217, "getcwd": 79,
    # names inside the box; Landlock decides where
    "open": 2, "openat": 257, "mkdir": 83, "mkdirat": 258, "rmdir": 84, "unlink": 87,
    "unlinkat": 263, "rename": 82, "renameat": 264, "renameat2": 316, "chdir": 80, "fchdir": 81,
    "umask": 95,
    # memory
    "mmap": 9, "mprotect": 10, "munmap": 11, "mremap": 25, "madvise": 28, "brk": 12,
    # signals, the process's own
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "rt_sigpending": 127,
    "rt_sigsuspend": 130, "rt_sigtimedwait": 128, "sigaltstack": 131, "pause": 34, "alarm": 37,
    "setitimer": 38, "getitimer": 36, "restart_syscall": 219,
    # threads and the end
    "clone": 56, "futex": 202, "futex_waitv": 449, "set_robust_list": 273, "rseq": 334,
    "exit": 60, "exit_group": 231, "sched_yield": 24, "sched_getaffinity": 204, "membarrier": 324,
    "getcpu": 309, "wait4": 61, "waitid": 247,
    # waiting
    "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270, "epoll_create1": 291,
    "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281, "eventfd2": 290, "nanosleep": 35,
    "clock_nanosleep": 230,
    # asking
    "clock_gettime": 228, "clock_getres": 229, "gettimeofday": 96, "time": 201, "times": 100,
    "getrusage": 98, "getrlimit": 97, "prlimit64": 302, "getpid": 39, "getppid": 110,
    "gettid": 186, "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108, "getresuid": 118,
    "getresgid": 120, "getgroups": 115, "getpgrp": 111, "getpgid": 121, "getsid": 124,
    "uname": 63, "sysinfo": 99, "getrandom": 318,
}

# Written from the headers, never run on such a processor.
AARCH64 = {
    # files, read or written through descriptors
    "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68,
    "close": 57, "close_range": 436, "lseek": 62, "ftruncate": 46, "fsync": 82, "fdatasync": 83,
    "flock": 32, "fcntl": 25, "ioctl": 29, "dup": 23, "dup3": 24, "pipe2": 59, "fadvise64": 223,
    # looking at files; Landlock decides which can be opened
    "fstat": 80, "newfstatat": 79, "statx": 291, "faccessat": 48, "faccessat2": 439,
    "readlinkat": 78, "statfs": 43, "fstatfs": 44, "getdents64": 61, "getcwd": 17,
    # names inside the box; Landlock decides where
    "openat": 56, "mkdirat": 34, "unlinkat": 35, "renameat": 38, "renameat2": 276, "chdir": 49,
    "fchdir": 50, "umask": 166,
    # memory
    "mmap": 222, "mprotect": 226, "munmap": 215, "mremap": 216, "madvise": 233, "brk": 214,
    # signals, the process's own
    "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "rt_sigpending": 136,
    "rt_sigsuspend": 133, "rt_sigtimedwait": 137, "sigaltstack": 132, "setitimer": 103,
    "getitimer": 102, "restart_syscall": 128,
    # threads and the end
    "clone": 220, "futex": 98, "futex_waitv": 449, "set_robust_list": 99, "rseq": 293, "exit": 93,
    "exit_group": 94, "sched_yield": 124, "sched_getaffinity": 123, "membarrier": 283,
    "getcpu": 168, "wait4": 260, "waitid": 95,
    # waiting
    "ppoll": 73, "pselect6": 72, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22,
    "eventfd2": 19, "nanosleep": 101, "clock_nanosleep": 115,
    # asking
    "clock_gettime": 113, "clock_getres": 114, "gettimeofday": 169, "times": 153,
    "getrusage": 165, "getrlimit": 163, "prlimit64": 261, "getpid": 172, "getppid": 173,
    "gettid": 178, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "getresuid": 148,
    "getresgid": 150, "getgroups": 158, "getpgid": 155, "getsid": 156, "uname": 160,
    "sysinfo": 179, "getrandom": 278,
}
# fmt: on

ARCHITECTURES = {
    "x86_64": Architecture(audit=0xC000003E, allowed=X86_64, foreign_bit=0x40000000),
    "aarch64": Architecture(audit=0xC00000B7, allowed=AARCH64),
}

# The same on both, being younger than the common table that new calls share since Linux 5.1.
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
FIRST_COMMON = 424
