"""`score-local models`: list, pull, find and check models. The CLI calls `run_*`; the rest takes plain arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from score_local import catalog
from score_local.errors import ModelError
from score_local.gguf_check import Progress


def run_list(options: argparse.Namespace) -> int:
    return list_models()


def run_pull(options: argparse.Namespace) -> int:
    return pull_model(options.model)


def run_path(options: argparse.Namespace) -> int:
    return path_model(options.model)


def run_check(options: argparse.Namespace) -> int:
    return check_model(options.model)


def list_models() -> int:
    """A table on a terminal; elsewhere rows of name, bytes, memory, licence, path and title, split by tabs."""
    rows = catalog.known_models()
    if sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            print(row.name, row.bytes or "", row.memory or "", row.licence, row.where, row.title, sep="\t")
    return 0


def pull_model(name: str) -> int:
    """Fetches a model and prints where it is. Raises ModelError."""
    entry = catalog.find_entry(name)
    with _progress_of(entry) as progress:
        path = catalog.pull(entry, progress)
    print(path)
    return 0


def path_model(name: str) -> int:
    """Prints the path of a model that is on this machine. Raises ModelError."""
    print(catalog.resolve(name))
    return 0


def check_model(name: str) -> int:
    """Reads the whole file, prints what it holds and OK. Raises ModelError naming what is wrong with it."""
    path = catalog.resolve(name)
    report = catalog.check_file(path, _entry_of(name), full=True)
    for key, value in _facts(report):
        print(f"{key:15} {value}")
    if report.kind == "model" and not report.chat_template:
        raise ModelError(
            "it has no chat template", str(path), "Choose an instruction-tuned GGUF: score-local models list"
        )
    print("OK")
    return 0


def _entry_of(name: str) -> catalog.Entry | None:
    return None if os.path.isfile(os.path.expanduser(name)) else catalog.find_entry(name)


def _facts(report: catalog.Report) -> Iterator[tuple[str, object]]:
    yield "file", report.path
    yield "bytes", f"{report.bytes:,}"
    yield "format", f"GGUF {report.version}"
    yield "kind", report.kind
    yield "architecture", report.architecture
    yield "quantisation", report.quantisation
    yield "parameters", f"{report.parameters:,} in {report.tensors} tensors"
    if report.context_length:
        yield "context length", f"{report.context_length:,} tokens"
    if report.kind == "model":
        yield "chat template", "yes" if report.chat_template else "MISSING"
    yield "SHA-256", report.sha256


def _print_table(rows: list[catalog.Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("where", overflow="fold")
    for row in rows:
        table.add_row(row.name, _mib(row.bytes), _mib(row.memory), row.licence, row.where or "not here")
    Console().print(table)


def _mib(count: int | None) -> str:
    return f"{count / 2**20:,.0f} MiB" if count else "?"


@contextmanager
def _progress_of(entry: catalog.Entry) -> Iterator[Progress | None]:
    """A bar where stderr is a terminal, one line elsewhere."""
    if not sys.stderr.isatty():
        print(f"pulling {entry.title} from {entry.repo} ({_mib(entry.bytes)})", file=sys.stderr, flush=True)
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(entry.name, total=entry.bytes)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
