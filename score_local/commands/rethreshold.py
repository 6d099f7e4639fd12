"""`score-local rethreshold`: decides a run again with another threshold, from what is stored; no model call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from score_local import answer_files
from score_local.commands.setup import GATED
from score_local.errors import PolicyError, RunError
from score_local.evaluate import tables
from score_local.evaluate.summary import summarize
from score_local.loop import decide, opened
from score_local.runs import read_manifest, read_traces, write_whole
from score_local.trace import Attempt, Round, Trace
from score_local.verifiers.combine import combined


def run(options: argparse.Namespace) -> int:
    folder = Path(options.run)
    if options.output:
        answer_files.check_writable(options.output, folder)
    policy = read_manifest(folder).policy
    if policy.method not in GATED:
        what = f"the method {policy.method} has no gate, so another threshold or other verifiers decide nothing"
        raise RunError(what, str(folder), "Make a run with --method refine --refine always")
    chosen = _chosen(options.verifiers, policy.verify.verifiers)
    stored = read_traces(folder)
    _require_signals(stored, chosen, folder)
    believed = (_believing(trace, chosen) if chosen else trace for trace in stored)
    traces = [decide(trace, options.threshold) for trace in believed]
    _require_refinements(traces, options.threshold, folder)
    if chosen and policy.verify.calibration:
        print("score-local: --verifiers takes their mean; the run's calibration is for all of them", file=sys.stderr)
    summary = summarize(traces, threshold=options.threshold, wall_seconds=sum(trace.wall for trace in traces))
    report = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    write_whole(folder / _summary_name(options.threshold, chosen), report)
    if options.output:
        rows = answer_files.answer_rows([trace.id for trace in traces], traces)
        answer_files.write_answers(options.output, rows)
    talk = sys.stderr if options.output == "-" else sys.stdout
    if options.markdown:
        print(tables.markdown(summary), file=talk)
    else:
        tables.render(summary, talk, plain=not talk.isatty())
    return 0


def _summary_name(threshold: float, verifiers: Sequence[str]) -> str:
    """A file for each threshold and choice of verifiers: two decimals, and more where they are needed."""
    rounded = f"{threshold:.2f}"
    digits = rounded if float(rounded) == threshold else repr(threshold)
    return f"summary-{'-'.join([digits, *verifiers])}.json"


def _chosen(flag: str | None, spoke: Sequence[str]) -> tuple[str, ...]:
    """The verifiers that the flag names; () without one. Raises PolicyError."""
    names = tuple(name.strip() for name in (flag or "").split(",") if name.strip())
    strangers = [name for name in names if name not in spoke]
    if strangers:
        raise PolicyError(
            f"{strangers[0]!r} did not speak in this run", "--verifiers", f"Choose from: {', '.join(spoke)}"
        )
    return names


def _believing(trace: Trace, verifiers: Sequence[str]) -> Trace:
    """The trace, as if only these verifiers had been asked, and nothing was calibrated."""
    rounds = tuple(
        msgspec.structs.replace(round_, p_incorrect=combined(round_.signals, verifiers)) for round_ in trace.rounds
    )
    return msgspec.structs.replace(trace, rounds=rounds)


def _require_signals(traces: Sequence[Trace], verifiers: Sequence[str], folder: Path) -> None:
    """Raises RunError where a chosen verifier was not asked, as a calibrated run does once it is decided: its verdict
    cannot be known. Nobody needs to be asked of an attempt without an answer, behind which the gate is open."""
    missing = [trace for trace in traces if any(_unasked(*judged, verifiers) for judged in _judged(trace))]
    if missing:
        raise RunError(
            f"{len(missing)} problems were decided before all of {', '.join(verifiers)} were asked,"
            f" the first is {missing[0].id!r}",
            str(folder),
            "Leave --verifiers out, or make a run without a calibration",
        )


def _judged(trace: Trace) -> Iterator[tuple[Attempt, Round]]:
    """Each attempt that was judged, and its round."""
    attempts = (trace.initial, *(round_.refinement for round_ in trace.rounds))
    return ((attempt, round_) for attempt, round_ in zip(attempts, trace.rounds, strict=False) if attempt)


def _unasked(attempt: Attempt, round_: Round, verifiers: Sequence[str]) -> bool:
    return attempt.answer is not None and not {*verifiers} <= {signal.verifier for signal in round_.signals}


def _require_refinements(traces: Sequence[Trace], threshold: float, folder: Path) -> None:
    """Raises RunError where the gate opens on what was never asked for: its answer cannot be known."""
    missing = [trace for trace in traces if not _is_known(trace, threshold)]
    if missing:
        raise RunError(
            f"{len(missing)} problems need a refinement or a vote that this run did not ask for,"
            f" the first is {missing[0].id!r}",
            str(folder),
            "Make a run with --refine always, then any threshold can be chosen",
        )


def _is_known(trace: Trace, threshold: float) -> bool:
    """Whether the run asked for all that stands behind the gate: votes that were counted, or in each round a
    refinement, which may have failed."""
    return bool(trace.candidates) or all(round_.refinement or round_.error for round_ in opened(trace, threshold))
