"""What depends on the machine's memory: the optimiser, how many samples are computed at once, and the peak so far.

The preflight runs the worst case before anything is trained: the longest sample, forward and backward. On a GPU a whole
micro-batch is tried, and halved until it fits. On a CPU running out would kill the process instead of raising an error,
so one sample is run and what autograd keeps of it is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import psutil
import torch
from torch import Tensor

from score_local.errors import MemoryLimit, ModelError
from score_local.train.batches import batch_of, wanted_states
from score_local.train.network import PIECE, Network
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import Optimiser
from score_local.train.samples import Sample

MOST_TOKENS = 1024  # of a micro-batch on a CPU: more of them take memory and gain no speed
OVERHEAD = 1.5  # what is in use while gradients are computed, for each byte that autograd keeps
SHARE = 0.8  # of the memory that is free
REMEDY = "Close other programs, lower adapter.rank or context, or leave the longest examples out"


def micro_batch_of(network: Network, prefixes: Prefixes, samples: Sequence[Sample], batch: int) -> int:
    """How many samples fit at once, at most `batch`. Raises MemoryLimit where not even the longest does, alone."""
    longest = sorted(samples, key=lambda sample: len(sample.tokens) - sample.begin, reverse=True)[:batch]
    size = _tried(network, prefixes, longest) if network.device.type == "cuda" else _counted(network, prefixes, longest)
    for parameter in network.parameters:
        parameter.grad = None
    return size


def optimiser_of(network: Network, settings: Optimiser) -> torch.optim.Optimizer:
    """AdamW; on a GPU with 8-bit moments that are paged out where memory is short."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if network.device.type == "cuda":
        from bitsandbytes import optim

        paged: torch.optim.Optimizer = optim.PagedAdamW8bit(network.parameters, lr=rate, weight_decay=decay)  # type: ignore
        return paged
    return torch.optim.AdamW(network.parameters, lr=rate, weight_decay=decay, foreach=False)


def require_optimiser() -> None:
    """Raises ModelError where a GPU is here, and what its optimiser comes from is not."""
    if torch.cuda.is_available() and find_spec("bitsandbytes") is None:
        what = "bitsandbytes not installed: on a GPU the optimiser comes from it"
        raise ModelError(what, "train", "Install it: pip install 'score-local[train]'")


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
        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _tried(network: Network, prefixes: Prefixes, longest: Sequence[Sample]) -> int:
    size = len(longest)
    while size:
        try:
            _run(network, prefixes, longest[:size])
            return size
        except torch.OutOfMemoryError:
            size //= 2
        torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(network.device)
    what = f"one sample of {_length(longest[0])} tokens does not fit: {free >> 20:,} of {total >> 20:,} MB are free"
    raise MemoryLimit(what, torch.cuda.get_device_name(network.device), REMEDY)


def _counted(network: Network, prefixes: Prefixes, longest: Sequence[Sample]) -> int:
    one, fixed = _bytes_kept(network, prefixes, longest[0]), _fixed(network) + prefixes.still_to_keep
    free = int(SHARE * psutil.virtual_memory().available)
    if fixed + one > free:
        need = f"{(fixed + one) / SHARE / 2**20:,.0f} MB are needed, {free / SHARE / 2**20:,.0f} MB are free"
        what = f"a step with the longest sample, {_length(longest[0])} tokens, does not fit: {need}"
        raise MemoryLimit(what, f"example {longest[0].example.id}", f"{REMEDY}; lower memory.prefix_cache_mb")
    useful = max(1, MOST_TOKENS // _length(longest[0]))
    return min(len(longest), useful, (free - fixed) // one)


def _fixed(network: Network) -> int:
    """Bytes that do not grow with a micro-batch: a piece of logits, its softmax and gradient; the factors' gradients
    and moments."""
    return 3 * 4 * PIECE * network.vocabulary + 3 * 4 * sum(parameter.numel() for parameter in network.parameters)


def _bytes_kept(network: Network, prefixes: Prefixes, sample: Sample) -> int:
    """Bytes that a step takes for a sample: what autograd keeps, each storage once, and some more."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, _same):
        _run(network, prefixes, [sample])
    for weight in network.weights():
        storages.pop(weight.untyped_storage().data_ptr(), None)
    return int(OVERHEAD * sum(storages.values()))


def _same(kept: Any) -> Any:
    return kept


def _run(network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> None:
    batch = batch_of(samples, prefixes, network.device)
    network.backward(wanted_states(network, batch), batch.labels, 1.0)


def _length(sample: Sample) -> int:
    return len(sample.tokens) - sample.begin
