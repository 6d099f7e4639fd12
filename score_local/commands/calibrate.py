"""`score-local calibrate`: from a run in which every verifier spoke, how far each can be trusted; no model call.

Nothing heavy is imported for `add_arguments`: `--help` is instant.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from score_local.errors import PolicyError
from score_local.flags import probability

if TYPE_CHECKING:
    from score_local.evaluate.calibrate import Choices
    from score_local.evaluate.calibration_report import Report

EPILOG = """Make the run with every verifier and every refinement, then calibrate and use it:
  score-local batch dev.jsonl --run runs/dev --verifiers arithmetic,self,program,consistency --refine always
  score-local calibrate runs/dev --out calibration.toml
and in a policy file:
  [verify]
  calibration = "calibration.toml"
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is not given is None: `evaluate.calibrate.Choices` holds the defaults."""
    command.description = "Fits one probability from all verifiers, a threshold and a cascade on half of a run."
    command.epilog, command.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    command.add_argument("run", metavar="RUN", help="a run made with --refine always, of problems with gold answers")
    command.add_argument(
        "--fit-on",
        choices=["half", "other-half", "all"],
        help="which problems to fit on; the others are reported on (half; all: out-of-fold probabilities are reported)",
    )
    command.add_argument("--out", default="calibration.toml", metavar="FILE", help="calibration.toml; report beside it")
    command.add_argument("--signals", metavar="A,B", help="these verifiers, in this order (all that spoke, by cost)")
    command.add_argument(
        "--tolerance", type=probability, metavar="P", help="share of decisions that ending early may change (0.05)"
    )
    command.add_argument(
        "--lowest-threshold", type=probability, metavar="P", help="lowest threshold to try (0.5, as in SCORE)"
    )


def run(options: argparse.Namespace) -> int:
    """Writes the calibration, and beside it the report as JSON and, with matplotlib, as PNG; prints it as tables."""
    import msgspec

    from score_local.evaluate import calibrate, calibration_tables
    from score_local.evaluate.calibration_file import origin_of, write_calibration
    from score_local.runs import read_manifest, read_traces, write_whole

    folder, out = Path(options.run), Path(options.out)
    _check_writable(out)
    origin = origin_of(read_manifest(folder))
    calibration, report = calibrate.calibrate(read_traces(folder), origin, str(folder), _choices(options))
    write_whole(_report(out), msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    plots = _write_plots(out, report)
    write_calibration(out, calibration)
    print(calibration_tables.text(calibration, report))
    if not plots:
        print(
            "score-local: no plots, as matplotlib is not installed: pip install 'score-local[plots]'", file=sys.stderr
        )
    if not calibration.refine:
        print(f"score-local: {calibration.verdict}", file=sys.stderr)
    print(f"calibration: {out}", file=sys.stderr)
    return 0


def _choices(options: argparse.Namespace) -> Choices:
    from score_local.evaluate.calibrate import Choices

    given = {
        "fit_on": options.fit_on,
        "signals": _names(options.signals),
        "tolerance": options.tolerance,
        "lowest": options.lowest_threshold,
    }
    return Choices(**{key: value for key, value in given.items() if value is not None})


def _names(flag: str | None) -> tuple[str, ...] | None:
    return None if flag is None else tuple(name.strip() for name in flag.split(",") if name.strip())


def _write_plots(out: Path, report: Report) -> bool:
    from score_local.evaluate import calibration_plots
    from score_local.runs import write_whole

    if not calibration_plots.can_plot():
        return False
    reliability = calibration_plots.reliability_diagram({"all signals": report.reliability})
    write_whole(out.with_name(f"{out.stem}-reliability.png"), reliability)
    write_whole(out.with_name(f"{out.stem}-roc.png"), calibration_plots.roc_diagram(report.roc))
    return True


def _report(out: Path) -> Path:
    """Where the report lies, beside the calibration: a user may have a file of its name in JSON."""
    return out.with_name(f"{out.stem}-report.json")


def _check_writable(out: Path) -> None:
    """Raises PolicyError or RunError before anything is computed."""
    from score_local.answer_files import check_place

    if out.suffix != ".toml":
        raise PolicyError(f"{out.name!r} does not end in .toml", "--out", "For example: --out calibration.toml")
    for file in (out, _report(out)):
        check_place(str(file), {}, "--out")
