"""A calibration and its report as text: Markdown tables, aligned so that a terminal shows them as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from score_local.evaluate.calibration_report import OUT_OF_FOLD, Report, Spent
from score_local.evaluate.tables import summary_rows
from score_local.evaluate.words import NONE, markdown_table
from score_local.verifiers.calibration import Calibration, Estimate, Quality

GATE = (
    "initial accuracy",
    "final accuracy",
    "difference",
    "oracle ceiling",
    "oracle gain recovered",
    "fixed, wrong to right",
    "broken, right to wrong",
    "gate opened",
    "F1 for incorrect",
    "balanced accuracy",
)
"""The rows of a summary that hang on the gate."""


def text(calibration: Calibration, report: Report) -> str:
    """Everything, as Markdown."""
    sections = [
        [*_head(calibration, report)],
        ["## Verifiers", "", *markdown_table(_verifiers(report))],
        ["## Stages, cheap ones first", "", *markdown_table(_stages(report))],
        [f"## The gate at p >= {calibration.threshold:.2f}", "", *markdown_table(_gate(report))],
        ["## Cost a problem", "", *markdown_table(_costs(report))],
        ["## Reliability, all signals", "", *markdown_table(_reliability(report))],
        [
            f"## Fixed and broken by threshold, all signals{_chosen_here(report)}",
            "",
            *markdown_table(_thresholds(calibration, report)),
        ],
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def _head(calibration: Calibration, report: Report) -> Iterator[str]:
    fitted, held_out = calibration.fitted, report.everyone
    yield f"# Calibration of {calibration.origin.model}"
    yield ""
    yield f"- fitted on {fitted.on}: {fitted.n} first solutions, {fitted.incorrect} of them incorrect"
    yield f"- reported on {report.reported_on}: {held_out.n} first solutions, {held_out.incorrect} of them incorrect"
    yield f"- {calibration.verdict}"
    yield "- intervals are 95%; positive is *incorrect*"


def _verifiers(report: Report) -> Iterator[Sequence[str]]:
    yield "who", "AUROC where it spoke", "spoke", "AUROC over all, calibrated", "generated", "evaluated", "seconds"
    for signal in report.signals:
        spoke, alone = signal.spoke, signal.alone
        yield signal.verifier, _estimate(spoke.auroc), _of(spoke, alone), _estimate(alone.auroc), *_spent(signal.cost)
    nothing, everyone = Spent(0.0, 0.0, 0.0), report.everyone
    free, costs = report.stages[0].quality, report.costs
    yield "the attempt itself", NONE, _of(free, free), _estimate(free.auroc), *_spent(nothing)
    yield (
        "mean, uncalibrated",
        _estimate(report.mean.auroc),
        _of(report.mean, everyone),
        NONE,
        *_spent(costs.asking_all),
    )
    yield "all", NONE, _of(everyone, everyone), _estimate(everyone.auroc), *_spent(costs.asking_all)
    yield "all, answered ones", NONE, _of(report.answered, everyone), _estimate(report.answered.auroc), "", "", ""
    yield "cascade", NONE, _of(everyone, everyone), _estimate(report.cascade.auroc), *_spent(costs.asking_cascade)


def _stages(report: Report) -> Iterator[Sequence[str]]:
    yield "asked so far", "AUROC", "Brier", "log loss", "calibration error", "goes on between", "ends here"
    for stage in report.stages:
        quality = stage.quality
        measures = (quality.auroc, quality.brier, quality.log_loss, quality.calibration_error)
        band = f"{stage.low:.2f} and {stage.high:.2f}" if stage.low < stage.high else "-"
        yield stage.signals[-1] if stage.signals else "nobody", *map(_estimate, measures), band, str(stage.ended)


def _gate(report: Report) -> Iterator[Sequence[str]]:
    everyone, cascade = dict(summary_rows(report.decided)), dict(summary_rows(report.decided_by_cascade))
    yield "", "all signals", "cascade"
    for name in GATE:
        yield name, everyone[name], cascade[name]


def _costs(report: Report) -> Iterator[Sequence[str]]:
    costs = report.costs
    yield "", "generated", "evaluated", "seconds"
    yield "solving", *_spent(costs.solving)
    yield "asking everybody", *_spent(costs.asking_all)
    yield "asking while undecided", *_spent(costs.asking_cascade)
    yield "refining, behind the gate", *_spent(costs.refining)


def _reliability(report: Report) -> Iterator[Sequence[str]]:
    yield "P(incorrect)", "n", "believed", "incorrect", "95%"
    for bin_ in report.reliability:
        share, limits = bin_.incorrect, bin_.incorrect.interval
        interval = f"{limits.low:.2f} to {limits.high:.2f}" if limits else NONE
        observed = NONE if share.share is None else f"{share.share:.3f}"
        yield f"{bin_.low:.1f} to {bin_.high:.1f}", str(share.n), f"{bin_.believed:.3f}", observed, interval


def _chosen_here(report: Report) -> str:
    return ": the problems that the threshold was chosen on" if report.reported_on == OUT_OF_FOLD else ""


def _thresholds(calibration: Calibration, report: Report) -> Iterator[Sequence[str]]:
    """Every fifth, and the chosen one."""
    yield "p >=", "opened", "fixed", "broken", "right"
    for point in report.gate:
        chosen = point.threshold == calibration.threshold
        if chosen or round(100 * point.threshold) % 5 == 0:
            mark = f"{point.threshold:.2f}" + (" (chosen)" if chosen else "")
            yield mark, str(point.opened), str(point.fixed), str(point.broken), f"{point.right} of {point.n}"


def _estimate(estimate: Estimate | None) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})" if estimate else NONE


def _of(part: Quality, whole: Quality) -> str:
    return f"{part.n} of {whole.n}"


def _spent(spent: Spent) -> tuple[str, str, str]:
    return f"{spent.generated:.1f}", f"{spent.evaluated:.1f}", f"{spent.seconds:.2f}"
