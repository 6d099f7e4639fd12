"""The second wall: what a process may do, whatever code it runs. For POSIX systems; some walls only stand on Linux."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from score_local.sandbox import seccomp

SECONDS = 2.0  # wall time of a program
CPU_SECONDS = 1
MEMORY = 256 * 2**20  # bytes, above what Python itself takes
NOBODY = 65534
_STATM = Path("/proc/self/statm")


def confine(report: int) -> None:
    """Takes from this process whatever a computing program does not need, for good.

    Open is only `report`, a pipe; it becomes descriptor 1. Not being allowed another descriptor, the process can open
    no file and no socket, even where there is no system-call filter.
    """
    os.dup2(report, 1)
    os.close(0)
    os.closerange(2, _highest_descriptor())
    _limit(resource.RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS + 1)
    _limit(resource.RLIMIT_AS, _memory_in_use() + MEMORY)
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        _limit(what, 0)
    if os.geteuid() == 0:  # root is above several of the limits
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    seccomp.die_with_parent(signal.SIGKILL)
    seccomp.install()


def walls() -> Iterator[tuple[str, bool]]:
    """Tries what must not work, in a confined process: (what is kept out, whether it was)."""
    libc = ctypes.CDLL(None)
    yield "reading files", _refused(lambda: os.open(__file__, os.O_RDONLY))
    yield "writing files", _refused(lambda: os.open("x", os.O_WRONLY | os.O_CREAT))
    yield "network", libc.socket(2, 1, 0) < 0
    yield "processes", _refused(_fork)
    yield "signals", _refused(lambda: os.kill(os.getppid(), 0))
    yield "memory", _refused(lambda: bytearray(2 * MEMORY))
    # Last: a call that anybody may make, unless a filter is there.
    yield "system calls", _refused(lambda: os.getsid(0))


def _refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except (OSError, MemoryError):
        return True
    return False


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(what)
    hard = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses some; `walls` tells what stands
        resource.setrlimit(what, (soft, hard))


def _memory_in_use() -> int:
    """Address space of this process in bytes; elsewhere than on Linux, a guess that leaves Python room."""
    if sys.platform != "linux":
        return 2**30
    return int(_STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _highest_descriptor() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if soft == resource.RLIM_INFINITY else min(soft, 2**16)
