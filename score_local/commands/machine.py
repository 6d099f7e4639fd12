"""The machine that something was measured on, in a line."""

from __future__ import annotations

import platform
from pathlib import Path


def machine() -> str:
    """For example `AMD EPYC 7B13, 2 physical cores, 8 GB, Linux x86_64`."""
    import psutil

    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {cores} physical cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"


def _processor() -> str:
    """Linux tells its name in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
