"""What solve and batch share: from flags to a policy, a model, adapters and an engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from score_local import catalog
from score_local.errors import PolicyError
from score_local.policy import Policy, load_policy

if TYPE_CHECKING:
    from score_local.engine.batched import BatchedEngine

FLAGS = {
    "threshold": "verify.threshold",
    "refine": "refine.when",
    "rounds": "refine.rounds",
    "samples": "verify.samples",
    "max_tokens": "solve.max_tokens",
    "seed": "seed",
}


def policy_of(options: argparse.Namespace) -> Policy:
    """The policy file with the flags laid over it. Raises PolicyError."""
    overrides: dict[str, Any] = {
        key: getattr(options, flag) for flag, key in FLAGS.items() if getattr(options, flag) is not None
    }
    if options.verifiers is not None:
        overrides["verify.verifiers"] = [name.strip() for name in options.verifiers.split(",") if name.strip()]
    for spec in options.adapter:
        role, equals, path = spec.partition("=")
        if not equals or not path:
            raise PolicyError(f"{spec!r} is not ROLE=PATH", "--adapter", "For example: --adapter refiner=refiner.gguf")
        overrides[f"adapters.{role}"] = path
    return load_policy(Path(options.policy) if options.policy else None, overrides)


def model_of(options: argparse.Namespace) -> Path:
    """The model file. On a terminal, offers to pull what is not here; otherwise never touches the network."""
    asking = sys.stdin.isatty() and sys.stderr.isatty()
    name = options.model or catalog.DEFAULT_MODEL
    return catalog.resolve(name, confirm_pull=_confirm if asking else None, progress=_tell_progress)


def adapters_of(policy: Policy, model: Path) -> dict[str, Path]:
    """The adapters' GGUF files by role, each checked against the model. Raises ModelError."""
    if not policy.adapters:
        return {}
    header = catalog.read_header(model)
    found = {}
    for role, path in policy.adapters.items():
        adapter = catalog.read_adapter(Path(path))
        catalog.check_adapter_fits(adapter, header)
        found[str(role)] = adapter.file
    return found


def engine_of(options: argparse.Namespace, model: Path, adapters: dict[str, Path], parallel: int) -> BatchedEngine:
    """Loads the model; `parallel` sequences at most. Raises ModelError or MemoryLimit."""
    from score_local.engine.llama import open_engine

    return open_engine(model, streams=parallel, context=options.context, threads=options.threads, adapters=adapters)


def _tell_progress(done: int, total: int) -> None:
    share = f" of {total / 2**20:,.0f}" if total else ""
    print(f"\r{done / 2**20:,.0f}{share} MB", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _confirm(entry: catalog.Entry) -> bool:
    size = f" ({entry.bytes / 2**20:,.0f} MB)" if entry.bytes else ""
    print(
        f"{entry.title} is not on this machine. Pull it from {entry.repo}{size}? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")
