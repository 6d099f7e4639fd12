"""What depends on the machine: its memory, and the optimiser that fits it."""

from __future__ import annotations

import sys

import psutil
import torch

from score_local.train.network import Network
from score_local.train.recipe import Optimiser


def optimiser_of(network: Network, settings: Optimiser) -> torch.optim.Optimizer:
    """AdamW; on a GPU with 8-bit moments that are paged out where memory is short."""
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if network.device.type == "cuda":
        from bitsandbytes.optim import PagedAdamW8bit

        paged: torch.optim.Optimizer = PagedAdamW8bit(network.parameters, **options)
        return paged
    return torch.optim.AdamW(network.parameters, foreach=False, **options)


def use_threads(count: int | None) -> None:
    """How many threads of the CPU compute; None: as many as torch takes, one for each physical core."""
    if count:
        torch.set_num_threads(count)


def peak(device: torch.device) -> int:
    """The most memory that was in use so far, in bytes: the GPU's, or this process's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows keeps a peak of its own
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
