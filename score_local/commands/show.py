"""`score-local show`: a run as a table, or one problem as it went."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

from score_local.commands.visible import printable
from score_local.errors import RunError
from score_local.evaluate import tables
from score_local.evaluate.summary import summarize
from score_local.runs import read_manifest, read_traces
from score_local.trace import Attempt, Round, Trace


def run(options: argparse.Namespace) -> int:
    folder = Path(options.run)
    threshold = read_manifest(folder).policy.verify.gate
    traces = read_traces(folder)
    if options.id is not None:
        traces = [_find(traces, options.id, folder)]
    if options.json:
        for trace in traces:
            print(_json(trace))
    elif options.id is not None:
        text = "\n".join([f"# {traces[0].id}", "", traces[0].question, "", *story(traces[0])])
        print(printable(text, sys.stdout))
    else:
        plain = not sys.stdout.isatty()
        tables.traces_table(traces, sys.stdout, plain=plain)
        wall = sum(trace.wall for trace in traces)
        tables.render(summarize(traces, threshold=threshold, wall_seconds=wall), sys.stdout, plain=plain)
    return 0


def _find(traces: list[Trace], key: str, folder: Path) -> Trace:
    for trace in traces:
        if trace.id == key:
            return trace
    raise RunError(f"no problem {key!r} in this run", str(folder), f"See the ids: score-local show {folder}")


def _json(trace: Trace) -> str:
    """One line: the same data, with all but ASCII escaped where a terminal would obey it or the encoding has it not."""
    line = msgspec.json.encode(trace).decode()
    return line if printable(line, sys.stdout) == line else json.dumps(json.loads(line))


def story(trace: Trace) -> list[str]:
    """What became of a problem, a section a phase, as lines of Markdown."""
    lines = _attempt("Solution", trace.initial) if trace.initial else []
    for round_ in trace.rounds:
        lines += _round(round_)
    lines += [f"## Answer: {trace.answer or 'unknown'}" + (" (refined)" if trace.refined else "")]
    if trace.gold is not None:
        lines += [f"gold: {trace.gold}, {'right' if trace.final_correct else 'not right'}"]
    return lines + ([f"failed: {trace.error}"] if trace.error else [])


def _attempt(title: str, attempt: Attempt) -> list[str]:
    cut = {"length": ", cut off", "loop": ", ended in a loop"}.get(attempt.finish, "")
    thought = ["<think>", attempt.thought.strip(), "</think>"] if attempt.thought else []
    return [
        f"## {title} ({attempt.usage.generated} tokens{cut}), answer {attempt.answer or 'unknown'}",
        "",
        *thought,
        attempt.text,
        "",
    ]


def _round(round_: Round) -> list[str]:
    belief = "unknown" if round_.p_incorrect is None else f"P(incorrect) = {round_.p_incorrect:.3f}"
    lines = [f"## Verdict: {belief}", ""]
    for signal in round_.signals:
        value = "?" if signal.p_incorrect is None else f"{signal.p_incorrect:.3f}"
        lines.append(f"- {signal.verifier}: {value}" + (f" ({signal.reason})" if signal.reason else ""))
    lines.append("")
    if round_.critique:
        lines += ["## Critique", "", round_.critique, ""]
    if round_.error:
        lines += [f"refinement failed: {round_.error}", ""]
    return lines + (_attempt("Refinement", round_.refinement) if round_.refinement else [])
