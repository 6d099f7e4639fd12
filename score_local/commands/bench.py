"""`score-local bench`: prints tables, and writes every figure where asked."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from score_local import bench
from score_local.answer_files import check_place
from score_local.commands import setup
from score_local.engine.llama import physical_cores
from score_local.problem import Problem
from score_local.problem_files import ProblemFile, read_problems
from score_local.runs import write_whole

SEQUENCES = (1, 4, 8, 16, 32)


def run(options: argparse.Namespace) -> int:
    """Everything that can be refused is refused before minutes of measuring. Exit codes: 0 done, 1 above the memory
    that is allowed, 2 some lines of the problem file could not be read."""
    if options.json:
        kept = {Path(options.problems): "the problem file"} if options.problems else {}
        check_place(options.json, kept, "--json")
    file = ProblemFile(()) if options.skip_loop else _read(options.problems)
    model = setup.model_of(options)
    figures: dict[str, Any] = {"model": model.name, "machine": _machine(options.threads)}
    print(f"{model.name} on {figures['machine']}")
    if not options.skip_sweep:
        figures["rates"] = _sweep(model, options.threads)
    if options.neighbour:
        figures["neighbour"] = _neighbour(model, options)
    figures["memory"] = memory = _memory(model, options)
    if not options.skip_loop:
        figures["problems"] = _loop(model, options, file.problems[: options.limit])
    if options.json:
        write_whole(Path(options.json), msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return 2 if file.faults else int(memory.peak > memory.allowed)


def _read(path: str | None) -> ProblemFile:
    """The problems (None: those that ship), its faulty lines told. Raises InputError."""
    sample = resources.files("score_local.samples") / "problems.jsonl"
    file = read_problems(path or str(sample))
    for fault in file.faults:
        print(f"score-local: {fault}", file=sys.stderr)
    return file


def _machine(threads: int | None) -> str:
    return f"{platform.machine()}, {threads or physical_cores()} threads, {platform.system()}"


def _shape(options: argparse.Namespace) -> bench.Shape:
    return bench.Shape(options.parallel, options.context, options.threads)


def _sweep(model: Path, threads: int | None) -> list[bench.Rates]:
    print(f"\ntokens/s at a depth of {bench.DEPTH}, median of {bench.REPEATS}")
    print(f"{'sequences':>9} {'prefill':>9} {'bare decode':>12} {'engine':>9} {'engine/bare':>12}")
    rows = []
    for sequences in SEQUENCES:
        row = bench.rates(model, sequences, threads)
        rows.append(row)
        share = row.engine / row.bare
        print(f"{sequences:9} {row.prefill:9.1f} {row.bare:12.1f} {row.engine:9.1f} {share:12.2f}", flush=True)
    return rows


def _neighbour(model: Path, options: argparse.Namespace) -> dict[str, float]:
    alone, beside = [], []
    for _ in range(bench.REPEATS):
        alone.append(bench.apart(bench.engine_rate, model, options.parallel, options.threads))
        with bench.busy_neighbour():
            beside.append(bench.apart(bench.engine_rate, model, options.parallel, options.threads))
    before, after = median(alone), median(beside)
    print(f"\ndecode at {options.parallel} sequences: {before:.1f} tokens/s alone, {after:.1f} beside a busy core")
    print(f"share kept: {after / before:.0%}")
    return {"alone": before, "beside": after}


def _memory(model: Path, options: argparse.Namespace) -> bench.Memory:
    found = bench.apart(bench.memory, model, _shape(options))
    mib = 2**20
    verdict = "within" if found.peak <= found.allowed else "ABOVE"
    print(
        f"\npeak memory at {options.parallel} x {options.context} tokens: {found.peak / mib:,.0f} MiB,"
        f" {verdict} model file + KV cache + 300 MiB = {found.allowed / mib:,.0f} MiB",
        flush=True,
    )
    return found


def _loop(model: Path, options: argparse.Namespace, problems: Sequence[Problem]) -> dict[str, bench.Solved]:
    print(f"\n{len(problems)} problems, greedy: {options.parallel} sequences, and llama_cpp.Llama one by one")
    if len(problems) < options.parallel:
        print(f"note: fewer problems than sequences ({options.parallel})", file=sys.stderr)
    ways = bench.compare(model, problems, _shape(options))
    single = ways[bench.ONE_BY_ONE]
    titles = f"{'per hour':>9} {'ratio':>6} {'tokens/s':>9} {'tokens':>7} {'correct':>8} {'seconds':>8} {'peak MiB':>9}"
    print(f"{'':10} {titles}")
    for name, way in ways.items():
        speed = f"{way.per_hour:9.0f} {way.per_hour / single.per_hour:6.2f} {way.generated / way.seconds:9.1f}"
        print(f"{name:10} {speed} {way.generated:7} {way.correct:8} {way.seconds:8.0f} {way.peak_memory / 2**20:9,.0f}")
    print("to the end: replies that run in a loop, too, as the single-sequence loop writes them; the engine ends them")
    return ways
