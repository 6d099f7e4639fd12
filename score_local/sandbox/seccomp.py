"""A system-call filter for Linux on x86-64 and aarch64, installed through ctypes.

The filter (classic BPF, seccomp(2)) allows what a computing Python needs (memory, the clock, writing to what is open,
its own end) and answers EPERM to everything else: open, socket, connect, execve, fork, clone, kill, ptrace, ...
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# read write close lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn mremap madvise
# sched_yield getpid gettid exit exit_group futex sigaltstack restart_syscall clock_gettime clock_getres gettimeofday
# getrandom, and on x86-64 time; the numbers are those of the kernel's unistd.h.
_ALLOWED = {
    "x86_64": (0, 1, 3, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 28, 39, 60, 96, 131, 186, 201, 202, 219, 228, 229, 231,
               318),
    "aarch64": (57, 62, 63, 64, 93, 94, 98, 113, 114, 124, 128, 132, 134, 135, 139, 169, 172, 178, 214, 215, 216, 222,
                226, 233, 278),
}  # fmt: skip
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_OFFSET_OF_NUMBER, _OFFSET_OF_ARCH = 0, 4  # in struct seccomp_data
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER_MODE = 1, 22, 38, 2


def die_with_parent(signal: int) -> None:
    """Has the kernel send `signal` to this process when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal)


def install() -> bool:
    """Filters this process's system calls from now on, for good. False: this system has no such filter."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _ALLOWED:
        return False
    code = _code(machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1) and _prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.c_char_p(program))


def _code(machine: str) -> bytes:
    """The filter: another architecture's call kills, a listed number is allowed, anything else is refused."""
    rows = [
        (_LOAD, 0, 0, _OFFSET_OF_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _OFFSET_OF_NUMBER),
    ]
    for number in _ALLOWED[machine]:
        rows += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    rows.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("@HBBI", *row) for row in rows)


def _prctl(option: int, argument: int | ctypes.c_char_p, more: ctypes.c_char_p | None = None) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    second = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    return bool(libc.prctl(option, second, more or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0)
