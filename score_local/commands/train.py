"""`score-local train`: collected examples in, an adapter folder out. Resumable after `kill -9`."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from score_local import openmp
from score_local.commands.interrupts import interrupts
from score_local.errors import ModelError
from score_local.train.recipe import Recipe, load_recipe, parse_override

PACKAGES = ("torch", "transformers", "peft")
PLOTS = "matplotlib"
FLAGS = {"kind": "adapter.kind", "epochs": "optimiser.epochs", "limit": "limit", "seed": "seed"}


def run(options: argparse.Namespace) -> int:
    """Everything that can be refused is refused before weights are loaded. Exit codes: 0 done, 130 interrupted."""
    recipe, out = _recipe_of(options), Path(options.out or f"adapters/{options.role}")
    _require_packages()
    openmp.spin_briefly()  # before torch is imported
    from score_local.train.checkpoint import open_folder

    with open_folder(out, resume=options.resume) as folder:
        finished = folder.finished
        if not _train(options, recipe, folder):
            print("score-local: interrupted; go on with the same command and --resume", file=sys.stderr)
            return 130
        if finished:
            print(f"{out}: was trained already", file=sys.stderr)
    print(out)
    return 0


def _train(options: argparse.Namespace, recipe: Recipe, folder: Any) -> bool:
    from score_local.train import base, data, memory, session
    from score_local.train.view import view_of

    memory.require_optimiser()
    memory.use_threads(options.threads)
    trained_before = folder.finished
    examples = data.read_data(list(map(Path, options.data)), options.role, recipe.limit, recipe.calculations)
    found = base.open_base(options.base, fetch=options.fetch, say=_say)
    job = session.prepare(options.role, examples, found, recipe)
    with interrupts(lambda: None, _give_up) as seen, view_of(job.task.name) as view:
        finished = session.train(job, folder, view.tell, lambda: seen.count > 0)
    if not trained_before and find_spec(PLOTS):
        _draw(folder, job.task.name)
    return finished


def _draw(folder: Any, metric: str) -> None:
    from score_local.train.curves import write_curves

    try:
        write_curves(folder.path, folder.events(), metric)
    except Exception as error:  # the adapter is there: no picture is worth a failed training
        _say(f"score-local: no curves: {error}")


def _recipe_of(options: argparse.Namespace) -> Recipe:
    overrides: dict[str, Any] = dict(parse_override(text) for text in options.set)
    overrides |= {key: getattr(options, flag) for flag, key in FLAGS.items() if getattr(options, flag) is not None}
    return load_recipe(options.role, Path(options.recipe) if options.recipe else None, overrides)


def _require_packages() -> None:
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise ModelError(
            f"{', '.join(absent)} not installed", "train", "Install them: pip install 'score-local[train]'"
        )
    if find_spec(PLOTS) is None:
        _say(f"score-local: there will be no curves, as {PLOTS} is not installed: pip install 'score-local[train]'")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _give_up() -> None:
    raise KeyboardInterrupt
