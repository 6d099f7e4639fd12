"""Fits the calibrations of an evaluation, on problems that it does not report on.

A calibration is fitted from a run in which every verifier spoke and every refinement was written: policies that differ
in what they do with the verdict share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from score_local.commands.eval_work import Contender, Work
from score_local.errors import RunError
from score_local.evaluate import calibration_plots, calibration_report, calibration_tables
from score_local.evaluate.calibrate import Choices, calibrate
from score_local.evaluate.calibration_file import origin_of, write_calibration
from score_local.evaluate.calibration_rows import require_problems, to_fit_on
from score_local.evaluate.policy_sets import NamedPolicy
from score_local.evaluate.report import Fit
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.runs import write_whole
from score_local.trace import Trace
from score_local.verifiers.calibration import Calibration


class Fitted(NamedTuple):
    """Policies with their calibrations; what each calibration is worth, by its name; for each policy the traces that it
    was fitted from, with every gate open, of all problems; and why a policy could not be fitted."""

    contenders: list[Contender]
    fits: dict[str, Fit]
    opened: dict[str, list[Trace]]
    left_out: dict[str, RunError]


def fit(
    work: Work, policies: Sequence[NamedPolicy], problems: Sequence[Problem], choices: Choices, folder: Path
) -> Fitted:
    """The calibrations are also written into `folder`. Nothing is asked where the problems are too few in any case."""
    sources = {_key(one): work.contender(one.name, one.source) for one in reversed(policies)}
    if not sources:
        return Fitted([], {}, {}, {})
    try:
        require_problems(sum(to_fit_on(one.id, choices.fit_on) for one in problems), "the fitted policies")
    except RunError as error:
        return Fitted([], {}, {}, {one.name: error for one in policies})
    traces = work.run(list(sources.values()), problems)
    folder.mkdir(exist_ok=True)
    fitted, fits, left_out = {}, {}, dict[str, RunError]()
    for key, contender in sources.items():
        try:
            calibration, report = _calibrated(contender, traces[contender.name], choices)
        except RunError as error:
            left_out |= {one.name: error for one in policies if _key(one) == key}
            continue
        fitted[key] = folder / f"{contender.name}.toml", calibration
        _write(*fitted[key], report)
        fits[contender.name] = _fit(calibration, report)
    whole = [one for one in policies if one.name not in left_out]
    contenders = [work.contender(one.name, _trusting(one.policy, *fitted[_key(one)])) for one in whole]
    return Fitted(contenders, fits, {one.name: traces[sources[_key(one)].name] for one in whole}, left_out)


def _key(policy: NamedPolicy) -> bytes:
    """The same for policies whose calibrations are the same."""
    return msgspec.json.encode(policy.source)


def _calibrated(
    contender: Contender, traces: Sequence[Trace], choices: Choices
) -> tuple[Calibration, calibration_report.Report]:
    try:
        return calibrate(traces, origin_of(contender.setting.manifest), f"policy {contender.name}", choices)
    except RunError as error:
        next_ = "Evaluate more problems, or name with --policies only those that need no calibration"
        raise RunError(error.what, error.where, next_) from error


def _fit(calibration: Calibration, report: calibration_report.Report) -> Fit:
    return Fit(
        n=calibration.fitted.n,
        threshold=calibration.threshold,
        refine=calibration.refine,
        verdict=calibration.verdict,
        quality=calibration.quality,
        gate=report.gate,
    )


def _trusting(policy: Policy, path: Path, calibration: Calibration) -> Policy:
    """The policy with the calibration, asking those that had something to say."""
    verify = msgspec.structs.replace(policy.verify, calibration=str(path), verifiers=calibration.signals)
    return msgspec.structs.replace(policy, verify=verify)


def _write(path: Path, calibration: Calibration, report: calibration_report.Report) -> None:
    """The calibration, and beside it what it is worth: as text, as JSON and, with matplotlib, as pictures."""
    write_calibration(path, calibration)
    write_whole(path.with_suffix(".md"), calibration_tables.text(calibration, report).encode() + b"\n")
    write_whole(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if calibration_plots.can_plot():
        reliability = calibration_plots.reliability_diagram({"all signals": report.reliability})
        write_whole(path.with_name(f"{path.stem}-reliability.png"), reliability)
        write_whole(path.with_name(f"{path.stem}-roc.png"), calibration_plots.roc_diagram(report.roc))
