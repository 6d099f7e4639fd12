"""`score-local eval`: policies side by side on the same problems, and a report that a sceptic can check.

DIR/replies.jsonl     every reply of the model: what is asked once is never asked again
DIR/calibrations/     what was fitted on the problems that are not reported on
DIR/runs/NAME/        a run folder for each policy: `score-local show` reads it
DIR/report.md, .json  every number, and pictures beside them
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from score_local.commands.eval_fit import fit
from score_local.commands.eval_report import setup_of, write_report
from score_local.commands.eval_work import REPLIES, Contender, Traces, Work
from score_local.errors import InputError, PolicyError, RunError
from score_local.evaluate import compare
from score_local.evaluate.calibrate import Choices
from score_local.evaluate.calibration_rows import FitOn, question_hash, to_report_on
from score_local.evaluate.datasets import located, read_dataset
from score_local.evaluate.policy_sets import policies_of, shipped
from score_local.evaluate.report import PolicyRun, read_report, report_of, summary_of
from score_local.problem import Problem, selected
from score_local.runs import write_run
from score_local.trace import Trace

EVERY_POLICY = "*"


def run(options: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 done but attempts failed or policies were left out, 2 some lines could not be read, 130
    interrupted."""
    if options.compare:
        print(_comparison(*options.compare), end="")
        return 0
    if options.dataset is None or options.out is None:
        raise InputError("which problems, and where to?", "eval", "Name a problem file and --out DIR")
    overrides = {} if options.seed is None else {"seed": options.seed}
    policies = policies_of(_names(options.policies), overrides)
    (problems, faults), out = _problems(options), Path(options.out)
    _require_new(out, options.resume)
    to_fit = [one for one in policies if one.fitted]
    with closing(Work(options, out)) as work:
        plain = [work.contender(one.name, one.policy) for one in policies if not one.fitted]
        fresh = _fresh(problems, plain, options.fit_on if to_fit else None)
        fitted = fit(work, to_fit, problems, Choices(options.fit_on), out / "calibrations")
        contenders = [*plain, *fitted.contenders]
        _tell_left_out(fitted.left_out, contenders)
        held_out = [one for one in problems if not fitted.fits or to_report_on(one.id, options.fit_on)]
        reported = [one for one in held_out if one in fresh]
        traces = work.run(contenders, reported)
    for contender in contenders:
        _write_run(out, contender, traces[contender.name])
    apart = len(problems) - len(held_out), len(held_out) - len(reported)
    setup = setup_of(options.dataset, problems, apart, work.model, options.context)
    runs = {
        one.name: PolicyRun(one.setting.manifest, traces[one.name], fitted.opened.get(one.name, ()))
        for one in contenders
    }
    print(write_report(out, report_of(setup, fitted.fits, reported, runs)), end="")
    print(f"report: {out}", file=sys.stderr)
    return max(_failed(traces), len(fitted.left_out) > 0, 2 * (faults > 0))


def _comparison(a: str, b: str) -> str:
    return compare.text(read_report(Path(a)), read_report(Path(b)), (a, b))


def _fresh(problems: Sequence[Problem], contenders: Sequence[Contender], fit_on: FitOn | None) -> set[Problem]:
    """The problems that no calibration which a policy brings along was fitted on; how many others there are is told.
    `fit_on` is None where nothing else is fitted. Raises InputError where nothing would be left to report on."""
    used = [one.setting.trust.combined for one in contenders if one.setting.trust.combined]
    seen = {question for calibration in used for question in calibration.fitted.questions}
    fresh = {one for one in problems if question_hash(one.question) not in seen}
    if not any(fit_on is None or to_report_on(one.id, fit_on) for one in fresh):
        what = "a policy's calibration was fitted on every problem that could be reported on"
        raise InputError(what, "eval", "Give problems that it has not seen")
    if len(fresh) < len(problems):
        told = f"{len(problems) - len(fresh)} problems are left out: a policy's calibration was fitted on them"
        print(f"score-local: {told}", file=sys.stderr)
    return fresh


def _tell_left_out(left_out: Mapping[str, RunError], contenders: Sequence[Contender]) -> None:
    """Which policies could not be fitted, and why; raises the first reason where no other is left."""
    if left_out and not contenders:
        raise next(iter(left_out.values()))
    for told in dict.fromkeys(map(str, left_out.values())):
        names = ", ".join(name for name, error in left_out.items() if str(error) == told)
        print(f"score-local: {names}: left out: {told}", file=sys.stderr)


def _failed(traces: Traces) -> int:
    """The exit code: 1 where attempts failed."""
    failed = sum(trace.status == "failed" for of_policy in traces.values() for trace in of_policy)
    if failed:
        print(f"score-local: {failed} attempts failed; --resume tries them again", file=sys.stderr)
    return int(failed > 0)


def _names(flag: str | None) -> list[str]:
    names = [name.strip() for name in (EVERY_POLICY if flag is None else flag).split(",") if name.strip()]
    if not names:
        raise PolicyError("no policy is named", "--policies", f"Choose from: {', '.join(shipped())}")
    return names


def _problems(options: argparse.Namespace) -> tuple[Sequence[Problem], int]:
    """The problems that have a gold answer (of the others nothing can be said), and how many lines could not be read.
    Raises InputError."""
    file = read_dataset(located(options.dataset, pull=options.pull))
    for fault in file.faults:
        print(f"score-local: {fault}", file=sys.stderr)
    gold = [problem for problem in file.problems if problem.answer is not None]
    found = selected(gold, options.limit, options.shuffle)
    if not found:
        raise InputError(
            "no problem has a gold answer", options.dataset, 'Add one to each: {"question": ..., "answer": ...}'
        )
    if without := len(file.problems) - len(gold):
        print(f"score-local: {without} problems without a gold answer are left out", file=sys.stderr)
    return found, len(file.faults)


def _require_new(out: Path, resume: bool) -> None:
    if (out / REPLIES).exists() and not resume:
        raise RunError("holds an evaluation already", str(out), "Continue it with --resume, or choose another --out")


def _write_run(out: Path, contender: Contender, traces: Sequence[Trace]) -> None:
    manifest = contender.setting.manifest
    write_run(out / "runs" / contender.name, manifest, traces, summary_of(manifest.policy, traces))
