"""`score-local doctor`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import time
from contextlib import closing
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psutil

from score_local import __version__, catalog, openmp
from score_local.errors import EngineError, UserError

TIMED_TOKENS = 32
TRAINING = ("torch", "transformers", "peft", "bitsandbytes")  # the last is for NF4 alone


def run(options: argparse.Namespace) -> int:
    """Prints findings as it goes; exit code 1 where something needs mending."""
    troubles = [*_machine(), *_sandbox(), *_training(), *_models(), *_llama(options.model)]
    for what, remedy in troubles:
        print(f"TROUBLE       {what}\n              -> {remedy}")
    print("all well" if not troubles else f"{len(troubles)} to mend")
    return 1 if troubles else 0


Trouble = tuple[str, str]


def _say(name: str, value: object) -> None:
    print(f"{name:13} {value}", flush=True)


def _machine() -> list[Trouble]:
    memory = psutil.virtual_memory()
    _say("score-local", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    _say("cores", f"{psutil.cpu_count(logical=False)} physical, {psutil.cpu_count()} logical")
    _say("memory", f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}")
    if memory.available < 2**30:
        return [("less than 1 GiB of memory is free", "close other programs, or use a small model with --parallel 4")]
    return []


def _sandbox() -> list[Trouble]:
    """What programs of the program verifier are kept from, tried out."""
    from score_local.sandbox.pool import Sandbox

    with closing(Sandbox(1)) as sandbox:
        walls = sandbox.walls()
    if not walls:
        _say("sandbox", "none on this system: the program verifier finds everything unknown")
    standing, fallen = ([name for name, stands in walls.items() if stands is wanted] for wanted in (True, False))
    if standing:
        _say("sandbox", f"keeps programs from {', '.join(standing)}")
    if fallen:
        what = f"the sandbox does not keep programs from {', '.join(fallen)}"
        return [(what, "leave out the program verifier, or use a Linux kernel with seccomp")]
    return []


def _training() -> list[Trouble]:
    """What `train` and `--engine transformers` find here. Without PyTorch nothing of it is imported."""
    absent = [name for name in TRAINING if find_spec(name) is None]
    here = [f"{name} {metadata.version(name)}" for name in TRAINING if name not in absent]
    _say("training", ", ".join([*here, *(f"no {name}" for name in absent)]))
    if set(absent) <= {"bitsandbytes"}:
        from score_local.engine.transformers_load import device_in_words

        _say("device", device_in_words())
    return []


def _models() -> list[Trouble]:
    rows = catalog.known_models()
    here = [row for row in rows if row.where]
    for row in here:
        _say("model", f"{row.name}: {row.where}")
    if not here:
        return [("no model is on this machine", "score-local models pull smollm2-135m, or `make run`")]
    return []


def _llama(model: str | None) -> list[Trouble]:
    try:
        path = catalog.resolve(model or _first_here())
        from score_local.engine import llama
    except UserError as error:
        return [(str(error), "score-local models list")]
    except (ImportError, OSError, RuntimeError) as error:
        return [(f"llama.cpp does not load: {error}", "reinstall llama-cpp-python; it needs a C and C++ compiler")]
    _say("llama.cpp", llama.system_info())
    waiting = (f"{name}={os.environ[name]}" for name in openmp.VARIABLES if name in os.environ)
    _say("threads", ", ".join([str(llama.physical_cores()), *waiting]))
    return _timed_decode(path)


def _first_here() -> str:
    """The first model that is on this machine; the default one, which is then told to be absent, where none is."""
    return next((row.name for row in catalog.known_models() if row.where), catalog.DEFAULT_MODEL)


def _timed_decode(path: Path) -> list[Trouble]:
    from score_local.bench import decode_rate
    from score_local.engine.llama import LlamaBackend

    began = time.perf_counter()
    try:
        backend = LlamaBackend(path, streams=1, context=256)
    except UserError as error:
        return [(str(error), f"score-local models check {shlex.quote(str(path))}")]
    try:
        _say("load", f"{path.name} in {time.perf_counter() - began:.1f} s")
        rate = decode_rate(backend, 1, TIMED_TOKENS)
        _say("decode", f"{rate:.0f} tokens/s (one sequence, {TIMED_TOKENS} tokens)")
    except EngineError as error:
        return [(str(error), "try another model, or reinstall llama-cpp-python")]
    finally:
        backend.close()
    return [("decoding is very slow", "is another program using all cores?")] if rate < 2 else []
