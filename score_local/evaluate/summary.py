"""What a run is worth, from its traces alone: the numbers of SCORE's evaluation (arXiv 2404.17140), each with its n.

An attempt counts as right only where its answer was read, compared with the gold answer and found the same. What is
unknown or failed stays in n as not right, and is counted beside it. Self-consistency at equal compute is another run
and is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from score_local import answers, votes
from score_local.engine.protocol import Usage
from score_local.evaluate import metrics
from score_local.evaluate.metrics import Difference, Interval
from score_local.trace import Trace


class Share(msgspec.Struct, frozen=True):
    """`count` of `n`, with Wilson's 95% interval; None where n is 0."""

    count: int
    n: int
    share: float | None
    interval: Interval | None


class Oracle(msgspec.Struct, frozen=True):
    """What a verifier that is never wrong would reach: the first attempt, a stored refinement or what the stored votes
    elect is right.

    `refinements` problems have one or the other; `missing` were not right at first and have neither, so where it is
    not 0 the ceiling is a lower bound. `recovered` is (final - initial) / (ceiling - initial): negative where the
    policy does harm, None where there is nothing to gain.
    """

    ceiling: Share
    refinements: int
    missing: int
    recovered: float | None


class Verdicts(msgspec.Struct, frozen=True):
    """How well P(incorrect) of the first attempt, where `known`, tells incorrect from correct.

    `incorrect` counts the incorrect among the known. `unknown` verdicts enter none of the measures. F1 and balanced
    accuracy are for p >= the policy's threshold.
    """

    known: int
    unknown: int
    incorrect: int
    auroc: float | None
    auroc_interval: Interval | None
    f1_incorrect: float | None
    balanced_accuracy: float | None
    calibration_error: float | None


class Cost(msgspec.Struct, frozen=True):
    """Means over all problems, failed ones included. Prompt tokens are either evaluated or reused from the KV cache.

    `wall_seconds` is the whole run's; a problem's share of it is not how long it took beside others.
    """

    wall_seconds: float
    seconds_per_problem: float | None
    problems_per_hour: float | None
    evaluated_per_problem: float | None
    reused_per_problem: float | None
    generated_per_problem: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a run.

    `solved`, `unknown` and `failed` add up to `problems`. All that speaks of right and wrong is over the `with_gold`
    problems: of their attempts `initial_unknown` and `final_unknown` have no answer that could be compared (they count
    as not right), and `failed_with_gold` failed before that. `fixed` is wrong -> right among the initially wrong,
    `broken` right -> wrong among the initially right, `triggered` how often the gate opened, over all problems.
    """

    problems: int
    solved: int
    unknown: int
    failed: int
    with_gold: int
    failed_with_gold: int
    refinements_failed: int
    threshold: float
    initial: Share
    initial_unknown: int
    final: Share
    final_unknown: int
    difference: Difference | None
    oracle: Oracle
    fixed: Share
    broken: Share
    triggered: Share
    verdict: Verdicts
    signals: dict[str, Verdicts]
    cost: Cost


class _Judged(NamedTuple):
    """What is known about one problem that has a gold answer. `best`: the first attempt is right, or what a gate might
    put in its place; `behind`: there is such a thing."""

    initial: bool
    initial_unknown: bool
    final: bool
    final_unknown: bool
    best: bool
    behind: bool


def summarize(traces: Sequence[Trace], *, threshold: float, wall_seconds: float) -> Summary:
    """The numbers of a run that took `wall_seconds` and whose gate opened at p >= `threshold`."""
    gold = [trace for trace in traces if trace.gold is not None]
    judged = [_judge(trace) for trace in gold]
    initially = [problem.initial for problem in judged]
    finally_ = [problem.final for problem in judged]
    statuses = [trace.status for trace in traces]
    return Summary(
        problems=len(traces),
        solved=statuses.count("solved"),
        unknown=statuses.count("unknown"),
        failed=statuses.count("failed"),
        with_gold=len(gold),
        failed_with_gold=sum(trace.status == "failed" for trace in gold),
        refinements_failed=sum(any(round_.error for round_ in trace.rounds) for trace in traces),
        threshold=threshold,
        initial=_share(initially),
        initial_unknown=sum(problem.initial_unknown for problem in judged),
        final=_share(finally_),
        final_unknown=sum(problem.final_unknown for problem in judged),
        difference=metrics.paired_difference(initially, finally_),
        oracle=_oracle(judged),
        fixed=_share(problem.final for problem in judged if not problem.initial),
        broken=_share(not problem.final for problem in judged if problem.initial),
        triggered=_share(trace.triggered for trace in traces),
        verdict=_verdict(traces, threshold),
        signals={name: _verdict(traces, threshold, name) for name in _verifiers(traces)},
        cost=_cost(traces, wall_seconds),
    )


def _judge(trace: Trace) -> _Judged:
    verdicts, attempted = _compared(trace), trace.status != "failed"
    return _Judged(
        initial=trace.initial_correct is True,
        initial_unknown=attempted and verdicts[trace.initial_answer] is None,
        final=trace.final_correct is True,
        final_unknown=attempted and verdicts[trace.answer] is None,
        best=True in verdicts.values(),
        behind=bool(trace.candidates) or any(round_.refinement for round_ in trace.rounds),
    )


def _compared(trace: Trace) -> dict[str | None, bool | None]:
    """Every answer that was given, and whether it is right. Each once: an expression may take seconds to compare."""
    stored = {trace.initial_answer: trace.initial_correct, trace.answer: trace.final_correct}
    given = [*stored, *(round_.refinement.answer for round_ in trace.rounds if round_.refinement)]
    given += [votes.chosen(trace)] if trace.candidates else []
    return {a: stored.get(a) or answers.is_right(a, trace.gold, trace.kind) for a in dict.fromkeys(given)}


def _share(hits: Iterable[bool]) -> Share:
    hits = list(hits)
    count, n = sum(hits), len(hits)
    return Share(count, n, metrics.ratio(count, n), metrics.wilson(count, n))


def _oracle(judged: Sequence[_Judged]) -> Oracle:
    initial = sum(problem.initial for problem in judged)
    final = sum(problem.final for problem in judged)
    ceiling = _share(problem.best for problem in judged)
    return Oracle(
        ceiling=ceiling,
        refinements=sum(problem.behind for problem in judged),
        missing=sum(not problem.initial and not problem.behind for problem in judged),
        recovered=metrics.ratio(final - initial, ceiling.count - initial),
    )


def _verdict(traces: Sequence[Trace], threshold: float, verifier: str | None = None) -> Verdicts:
    """The measures of the combined verdict on first attempts, or of one verifier's signal."""
    labelled = [(not t.initial_correct, _belief(t, verifier)) for t in traces if t.initial_correct is not None]
    known = [(label, p) for label, p in labelled if p is not None]
    labels, ps = [label for label, _ in known], [p for _, p in known]
    return Verdicts(
        known=len(known),
        unknown=len(labelled) - len(known),
        incorrect=sum(labels),
        auroc=metrics.auroc(labels, ps),
        auroc_interval=metrics.auroc_interval(labels, ps),
        f1_incorrect=metrics.f1_incorrect(labels, ps, threshold),
        balanced_accuracy=metrics.balanced_accuracy(labels, ps, threshold),
        calibration_error=metrics.expected_calibration_error(labels, ps),
    )


def _belief(trace: Trace, verifier: str | None) -> float | None:
    """P(incorrect) of the first attempt; None also where the verifier, or any, was never heard."""
    if not trace.rounds:
        return None
    first = trace.rounds[0]
    if verifier is None:
        return first.p_incorrect
    return next((signal.p_incorrect for signal in first.signals if signal.verifier == verifier), None)


def _verifiers(traces: Sequence[Trace]) -> list[str]:
    """Who spoke of a first attempt, in the order of their first appearance."""
    return list(dict.fromkeys(s.verifier for trace in traces for round_ in trace.rounds[:1] for s in round_.signals))


def _cost(traces: Sequence[Trace], wall_seconds: float) -> Cost:
    n = len(traces)
    usage = sum((trace.usage for trace in traces), Usage())
    return Cost(
        wall_seconds=wall_seconds,
        seconds_per_problem=metrics.ratio(wall_seconds, n) or None,  # nobody measured a run that took no time
        problems_per_hour=metrics.ratio(3600 * n, wall_seconds),
        evaluated_per_problem=metrics.ratio(usage.prompt - usage.reused, n),
        reused_per_problem=metrics.ratio(usage.reused, n),
        generated_per_problem=metrics.ratio(usage.generated, n),
    )
