"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from score_local.evaluate.equal_tokens import EqualTokens
from score_local.evaluate.metrics import Difference
from score_local.evaluate.report import Fit, Report, Result
from score_local.evaluate.summary import Share, Verdicts
from score_local.evaluate.words import NONE, interval, markdown_table, number, p_value, percent
from score_local.verifiers.calibration import Estimate

Rows = Iterator[Sequence[str]]
GATED = ("refine", "refine-then-vote", "budget")

NOTES = """\
- Every policy was run on the same problems, and they share what they asked: greedy solution, samples, programs.
- A problem counts as right only where its answer was read and equals the gold answer; unknown and failed are not right.
- Intervals are 95%: Wilson for shares, Newcombe for paired differences, bootstrap over problems where tokens are
  compared. p is McNemar's, exact and two-sided. The difference is that of the final to the first, greedy answer.
- *Ceiling*: the first solution, or what stands behind its gate, is right: what a perfect verifier would reach. Behind
  the gate stands the refinement, whichever policy had it written; with refine-then-vote and budget it is what is
  elected when every gate is open. *Recovered*: the share of the gain up to there; other votes are not bound by it.
- The verifier's measures are of P(incorrect) on first solutions; positive is *incorrect*. F1 and balanced accuracy are
  at the policy's threshold.
- *Self-consistency at the same tokens*: interpolated between two numbers of samples whose generated tokens enclose the
  policy's, those two that give the most. Below the first and above the best it is compared with that one, marked *; the
  interval holds the tokens' uncertainty too.
- Tokens a problem are what the policy would have cost alone. Sequence seconds are those that its requests spent in a
  sequence while others ran beside them: divided by the number of sequences, they are its share of the run's time.
"""


def text(report: Report, plots: Sequence[str] = ()) -> str:
    """The whole report; `plots` are file names beside it."""
    sections = [
        ["# " + _title(report), "", *_setup(report)],
        _section("Accuracy", _accuracy(report.results)),
        _section("Against self-consistency at the same generated tokens", _same_tokens(report.results)),
        _section("The gate", _gate(report.results)),
        _section("The verifier", _verifiers(report.results)),
        _section("Cost a problem", _costs(report.results)),
        ["## Calibrations", "", *_fits(report.fits)] if report.fits else [],
        ["## Plots", "", *(f"![{name.removesuffix('.png')}]({name})" for name in plots)] if plots else [],
        ["## How to read this", "", NOTES.rstrip("\n")],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _section(title: str, rows: Rows) -> list[str]:
    """Nothing, where there is no row beside the head."""
    found = list(rows)
    return [f"## {title}", "", *markdown_table(found)] if len(found) > 1 else []


def _title(report: Report) -> str:
    return f"{report.setup.model.name} on {report.setup.dataset.name}, n = {len(report.problems)}"


def _setup(report: Report) -> Iterator[str]:
    setup = report.setup
    apart = f"; calibrations were fitted on {setup.fitted} others" if setup.fitted else ""
    apart += f"; {setup.seen} are left out, as a policy's own calibration was fitted on them" if setup.seen else ""
    seeds = sorted({result.policy.seed for result in report.results})
    yield f"- problems: {len(report.problems)} of {setup.problems} are reported on{apart}"
    yield f"- data: {setup.dataset.name}, SHA-256 of its problems {setup.dataset.sha256}"
    yield f"- model: {setup.model.name}, SHA-256 {setup.model.sha256}, {setup.context} tokens a sequence"
    for name, sha256 in sorted({(f.name, f.sha256) for result in report.results for f in result.adapters.values()}):
        yield f"- adapter: {name}, SHA-256 {sha256}"
    yield f"- prompts: {setup.prompts}"
    yield f"- seed: {', '.join(map(str, seeds))}"
    yield f"- machine: {setup.machine}"
    yield f"- software: {', '.join(f'{name} {version}' for name, version in setup.software.items())}"
    yield f"- date: {setup.date}"
    yield f"- command: `{setup.command}`"


def _accuracy(results: Sequence[Result]) -> Rows:
    yield "policy", "initial", "final", "95%", "difference", "95%", "p", "ceiling", "recovered", "unknown", "failed"
    for result in results:
        summary, oracle = result.summary, result.summary.oracle
        ceiling = ("at least " if oracle.missing else "") + percent(oracle.ceiling.share)
        shares = (percent(summary.initial.share), *_share(summary.final))
        not_right = (str(summary.final_unknown), str(summary.failed_with_gold))
        yield result.name, *shares, *_difference(summary.difference), ceiling, percent(oracle.recovered), *not_right


def _same_tokens(results: Sequence[Result]) -> Rows:
    yield "policy", "generated", "final", "self-consistency", "between", "difference", "95%"
    for result in results:
        if result.same_tokens:
            generated = number(result.summary.cost.generated_per_problem, 1)
            yield result.name, generated, percent(result.summary.final.share), *_equal(result.same_tokens)


def _equal(equal: EqualTokens) -> tuple[str, str, str, str]:
    off = equal.lower == equal.upper
    between = f"{equal.lower}, {equal.generated:.1f} tokens *" if off else f"{equal.lower}, {equal.upper}"
    limits = f"{equal.interval.low:+.1f} to {equal.interval.high:+.1f}"
    return percent(equal.accuracy), between, f"{equal.points:+.1f}", limits


def _gate(results: Sequence[Result]) -> Rows:
    yield "policy", "threshold", "opened", "fixed", "broken"
    for result in results:
        summary = result.summary
        if result.policy.verify.verifiers and result.policy.method in GATED:
            opened, *counts = (_count(share) for share in (summary.triggered, summary.fixed, summary.broken))
            never = result.policy.method == "refine" and result.policy.refine.when == "never"
            yield result.name, f"{summary.threshold:.2f}", f"shut; doubted: {opened}" if never else opened, *counts


def _verifiers(results: Sequence[Result]) -> Rows:
    yield "policy", "who", "AUROC", "95%", "known", "F1 for incorrect", "balanced accuracy", "calibration error"
    for result in results:
        if result.summary.verdict.known:
            yield result.name, "together", *_verdict(result.summary.verdict)
        for name, verdict in result.summary.signals.items():
            yield result.name, name, *_verdict(verdict)


def _verdict(verdict: Verdicts) -> tuple[str, ...]:
    limits = interval(verdict.auroc_interval, 1, 3).removeprefix("95% ") if verdict.auroc_interval else NONE
    measures = (number(verdict.f1_incorrect), percent(verdict.balanced_accuracy), number(verdict.calibration_error))
    return number(verdict.auroc), limits, f"{verdict.known} of {verdict.known + verdict.unknown}", *measures


def _costs(results: Sequence[Result]) -> Rows:
    yield "policy", "generated", "evaluated", "reused", "sequence seconds"
    for result in results:
        cost = result.summary.cost
        tokens = (cost.generated_per_problem, cost.evaluated_per_problem, cost.reused_per_problem)
        yield result.name, *(number(value, 1) for value in tokens), number(cost.seconds_per_problem, 2)


def _fits(fits: dict[str, Fit]) -> Iterator[str]:
    yield from markdown_table(_fitted(fits))
    yield ""
    for name, fit in fits.items():
        yield f"- [{name}](calibrations/{name}.md): {fit.verdict}"


def _fitted(fits: dict[str, Fit]) -> Rows:
    yield "calibration", "fitted on", "threshold", "AUROC", "Brier", "log loss", "calibration error", "of"
    for name, fit in fits.items():
        quality = fit.quality
        measures = (quality.auroc, quality.brier, quality.log_loss, quality.calibration_error)
        yield name, str(fit.n), f"{fit.threshold:.2f}", *map(_estimate, measures), str(quality.n)


def _share(share: Share) -> tuple[str, str]:
    limits = interval(share.interval, 100, 1).removeprefix("95% ") if share.interval else NONE
    return f"{percent(share.share)} ({share.count})", limits


def _count(share: Share) -> str:
    return f"{percent(share.share)} ({share.count} of {share.n})"


def _difference(difference: Difference | None) -> tuple[str, str, str]:
    if difference is None:
        return NONE, NONE, NONE
    return f"{difference.points:+.1f}", f"{difference.low:+.1f} to {difference.high:+.1f}", p_value(difference.p)


def _estimate(estimate: Estimate | None) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})" if estimate else NONE
