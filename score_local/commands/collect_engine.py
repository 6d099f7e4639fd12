"""Which engine and which model collect: from the flags of `score-local collect`. Engines are imported when opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from score_local import catalog
from score_local.adapter_files import check_role
from score_local.collect.collection import Source
from score_local.commands import setup
from score_local.engine.protocol import Engine
from score_local.errors import ModelError, PolicyError
from score_local.gguf_check import file_sha256, weights_sha256

Open = Callable[[], Engine]
SOLVER = "solver"  # the engine's name of the adapter that solves
PACKAGES = ("torch", "transformers", "peft", "accelerate")


def source_of(options: argparse.Namespace) -> tuple[Source, Open]:
    """Who is to speak, and how to open it. Raises ModelError or PolicyError; loads nothing."""
    if options.solver and options.engine != "llama":
        raise PolicyError("only --engine llama solves with an adapter", "--solver", "Leave one of the two out")
    return {"llama": _llama, "transformers": _transformers, "openai": _openai}[options.engine](options)


def _llama(options: argparse.Namespace) -> tuple[Source, Open]:
    model = setup.model_of(options)
    adapters = _solver_of(options.solver, model)
    solver = file_sha256(adapters[SOLVER]) if adapters else None
    source = Source("llama", model.name, file_sha256(model), solver)
    return source, lambda: setup.open_model(options, model, adapters, options.parallel)


def _solver_of(path: str | None, model: Path) -> dict[str, Path]:
    if path is None:
        return {}
    adapter = catalog.read_adapter(Path(path))
    check_role(adapter, SOLVER)
    catalog.check_adapter_fits(adapter, catalog.read_header(model), accept_other_base=False)
    return {SOLVER: adapter.file}


def _transformers(options: argparse.Namespace) -> tuple[Source, Open]:
    if not options.model:
        raise PolicyError("which model?", "--engine transformers", "Add --model with a folder, a GGUF or a hub id")
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        what = f"{', '.join(absent)} not installed"
        raise ModelError(what, "--engine transformers", "Install them: pip install 'score-local[train]'")
    base = catalog.resolve_base(options.model, fetch=options.fetch)

    def open_() -> Engine:
        from score_local.engine.transformers import open_engine
        from score_local.train.base import open_base

        folder = open_base(str(base)).folder  # a GGUF is dequantised into one
        return open_engine(folder, capacity=options.parallel, context=options.context, precision=options.precision)

    return Source("transformers", base.name, weights_sha256(base)), open_


def _openai(options: argparse.Namespace) -> tuple[Source, Open]:
    if not options.url or not options.model:
        next_ = "Add --url http://127.0.0.1:8080/v1 and --model with the name it is served by"
        raise PolicyError("which server, and which of its models?", "--engine openai", next_)

    def open_() -> Engine:
        from score_local.engine.openai import open_engine

        return open_engine(options.url, options.model, capacity=options.parallel, key_variable=options.key_variable)

    return Source("openai", options.model), open_
