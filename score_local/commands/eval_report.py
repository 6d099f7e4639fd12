"""Writes the report of an evaluation: for people, for programs, and as pictures."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

import score_local
from score_local.commands.machine import machine
from score_local.evaluate import calibration_plots, report_plots, report_text
from score_local.evaluate.report import REPORT, Fit, Report, Setup
from score_local.problem import Problem
from score_local.runs import FileHash, writable, write_whole
from score_local.verifiers import prompts_fingerprint

MARKDOWN = "report.md"


def setup_of(name: str, problems: Sequence[Problem], apart: tuple[int, int], model: FileHash, context: int) -> Setup:
    """What is run, on this machine, now, by this command. `apart`: how many of the `problems` are fitted on, and how
    many were before; neither are reported on."""
    fitted, seen = apart
    return Setup(
        dataset=FileHash(writable(Path(name).name), hashlib.sha256(msgspec.json.encode(problems)).hexdigest()),
        problems=len(problems),
        fitted=fitted,
        seen=seen,
        model=model,
        context=context,
        prompts=prompts_fingerprint(),
        command=writable(shlex.join(["score-local", *sys.argv[1:]])),
        machine=machine(),
        software={"score-local": score_local.__version__, "python": platform.python_version(), **_llama()},
        date=datetime.now(timezone.utc).date().isoformat(),
    )


def write_report(folder: Path, report: Report) -> str:
    """Writes everything; the Markdown. Pictures only where matplotlib is installed."""
    plots = _plots(report)
    for name, content in plots.items():
        write_whole(folder / name, content)
    shown = [*plots, *_of_calibrations(folder, report.fits)]
    markdown = report_text.text(report, shown)
    write_whole(folder / REPORT, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    write_whole(folder / MARKDOWN, markdown.encode())
    return markdown


def _plots(report: Report) -> dict[str, bytes]:
    if not calibration_plots.can_plot():
        print(
            "score-local: no plots, as matplotlib is not installed: pip install 'score-local[plots]'", file=sys.stderr
        )
        return {}
    return report_plots.plots(report)


def _of_calibrations(folder: Path, fits: Mapping[str, Fit]) -> Sequence[str]:
    names = (f"calibrations/{name}-{what}.png" for name in fits for what in ("reliability", "roc"))
    return [name for name in names if (folder / name).exists()]


def _llama() -> dict[str, str]:
    try:
        return {"llama-cpp-python": importlib.metadata.version("llama-cpp-python")}
    except importlib.metadata.PackageNotFoundError:
        return {}
