"""A summary counts every way in which a problem can end, and nothing that is unknown or failed as right."""

from __future__ import annotations

import msgspec
import pytest

from score_local.evaluate.summary import Summary, summarize
from score_local.trace import Candidate, Round, Trace
from tests.evaluate.runs import every_case, failed, trace


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarize(every_case(), threshold=0.5, wall_seconds=18.0)


def test_every_problem_is_counted_once(summary: Summary) -> None:
    assert (summary.problems, summary.with_gold, summary.failed_with_gold) == (9, 7, 1)
    assert (summary.solved, summary.unknown, summary.failed) == (6, 1, 2)


def test_failed_and_unknown_stay_in_n_as_not_right(summary: Summary) -> None:
    assert (summary.initial.count, summary.initial.n) == (2, 7)  # kept, broken
    assert (summary.final.count, summary.final.n) == (2, 7)  # kept, fixed
    assert (summary.initial_unknown, summary.final_unknown) == (1, 1)
    assert summary.final.share == pytest.approx(2 / 7)
    assert summary.final.interval is not None and summary.final.interval.low < 2 / 7 < summary.final.interval.high


def test_the_difference_is_of_pairs(summary: Summary) -> None:
    assert summary.difference is not None
    assert summary.difference.points == 0
    assert summary.difference.p == 1
    assert summary.difference.low < 0 < summary.difference.high


def test_fixed_and_broken_are_shares_of_what_could_change(summary: Summary) -> None:
    assert (summary.fixed.count, summary.fixed.n) == (1, 5)  # fixed, missed, no verdict, unknown, failed
    assert (summary.broken.count, summary.broken.n) == (1, 2)


def test_the_oracle_takes_every_stored_refinement(summary: Summary) -> None:
    assert (summary.oracle.ceiling.count, summary.oracle.ceiling.n) == (4, 7)  # kept, fixed, broken, missed
    assert summary.oracle.refinements == 5
    assert summary.oracle.missing == 2  # no verdict, failed
    assert summary.oracle.recovered == 0.0


def test_the_gate_is_counted_over_all_problems(summary: Summary) -> None:
    assert (summary.triggered.count, summary.triggered.n) == (4, 9)  # fixed, broken, unknown, no gold


def test_verdicts_are_judged_where_known_and_counted_where_not(summary: Summary) -> None:
    verdict = summary.verdict
    assert (verdict.known, verdict.unknown, verdict.incorrect) == (5, 1, 3)
    assert verdict.auroc == pytest.approx(5 / 6)  # incorrect: 0.9, 0.2, 0.8; correct: 0.1, 0.6
    assert verdict.f1_incorrect == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert verdict.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert verdict.calibration_error == pytest.approx((0.1 + 0.1 + 0.8 + 0.6 + 0.2) / 5)
    assert verdict.auroc_interval is not None


def test_each_verifier_is_judged_by_name(summary: Summary) -> None:
    assert list(summary.signals) == ["self", "arithmetic"]
    self_, arithmetic = summary.signals["self"], summary.signals["arithmetic"]
    assert (self_.known, self_.unknown) == (5, 1)
    assert self_.auroc == pytest.approx(5 / 6)  # incorrect: 0.9, 0.2, 0.8; correct: 0.2, 0.2
    assert (arithmetic.known, arithmetic.unknown, arithmetic.incorrect) == (2, 4, 0)
    assert arithmetic.auroc is None


def test_cost_is_per_problem_with_the_failed_ones(summary: Summary) -> None:
    cost = summary.cost
    assert cost.evaluated_per_problem == pytest.approx(7 * 40 / 9)
    assert cost.reused_per_problem == pytest.approx(7 * 60 / 9)
    assert cost.generated_per_problem == pytest.approx(7 * 20 / 9)
    assert (cost.wall_seconds, cost.seconds_per_problem, cost.problems_per_hour) == (18.0, 2.0, 1800.0)


def test_a_summary_survives_json(summary: Summary) -> None:
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_nothing_is_none_never_zero() -> None:
    summary = summarize([], threshold=0.5, wall_seconds=0.0)
    assert summary.problems == 0
    for share in (summary.initial, summary.final, summary.fixed, summary.broken, summary.triggered):
        assert (share.n, share.share, share.interval) == (0, None, None)
    assert summary.difference is None and summary.oracle.recovered is None
    assert summary.verdict.auroc is None and summary.signals == {}
    assert summary.cost.seconds_per_problem is None and summary.cost.problems_per_hour is None


def test_without_a_stopwatch_there_is_no_speed() -> None:
    cost = summarize([trace("a", "7")], threshold=0.5, wall_seconds=0.0).cost
    assert cost.seconds_per_problem is None and cost.problems_per_hour is None
    assert cost.generated_per_problem == 20


def test_without_gold_nothing_is_right_or_wrong() -> None:
    summary = summarize([trace("a", "7", 0.9, "8", gold=None)], threshold=0.5, wall_seconds=1.0)
    assert (summary.solved, summary.with_gold, summary.initial.n) == (1, 0, 0)
    assert summary.difference is None
    assert (summary.verdict.known, summary.verdict.unknown) == (0, 0)
    assert summary.triggered.count == 1


def test_failures_alone_are_not_right_and_not_verified() -> None:
    summary = summarize([failed("a"), failed("b")], threshold=0.5, wall_seconds=1.0)
    assert (summary.initial.share, summary.final.share) == (0.0, 0.0)
    assert (summary.initial_unknown, summary.final_unknown) == (0, 0)
    assert summary.verdict.unknown == 0


def test_what_cannot_be_compared_is_unknown_and_not_right() -> None:
    summary = summarize([trace("a", "about a dozen", 0.1)], threshold=0.5, wall_seconds=1.0)
    assert (summary.initial.count, summary.initial_unknown, summary.final_unknown) == (0, 1, 1)


def test_an_equal_refinement_counts_however_it_is_written() -> None:
    summary = summarize([trace("a", "6", 0.1, "7.0")], threshold=0.5, wall_seconds=1.0)
    assert summary.oracle.ceiling.count == 1


def test_what_votes_elect_is_behind_a_gate_that_stayed_shut() -> None:
    votes = (Candidate("initial", "6", 1.0), Candidate("program", "7", 1.0), Candidate("program", "7", 1.0))
    shut = msgspec.structs.replace(trace("a", "6", 0.1), method="refine-then-vote", candidates=votes)
    oracle = summarize([shut, trace("b", "7", 0.1)], threshold=0.5, wall_seconds=1.0).oracle
    assert (oracle.ceiling.count, oracle.refinements, oracle.missing, oracle.recovered) == (2, 1, 0, 0.0)


def test_harm_is_a_negative_recovery() -> None:
    traces = [trace("broken", "7", 0.9, "8"), trace("missed", "6", 0.1, "7")]
    assert summarize(traces, threshold=0.5, wall_seconds=1.0).oracle.recovered == -1.0


def test_all_of_the_gain_recovered() -> None:
    traces = [trace("kept", "7", 0.1, "8"), trace("fixed", "6", 0.9, "7")]
    oracle = summarize(traces, threshold=0.5, wall_seconds=1.0).oracle
    assert (oracle.recovered, oracle.missing) == (1.0, 0)


def test_only_the_first_round_speaks_of_the_first_attempt() -> None:
    twice = trace("a", "6", 0.9, "7", spoke={"self": 0.9})
    twice = msgspec.structs.replace(twice, rounds=(*twice.rounds, Round(0.1, ())))
    summary = summarize([twice, trace("b", "7", 0.2)], threshold=0.5, wall_seconds=1.0)
    assert summary.verdict.auroc == 1.0


def test_a_trace_without_a_round_is_an_unknown_verdict() -> None:
    bare = msgspec.structs.replace(trace("a", "7", 0.2), rounds=())
    assert summarize([bare], threshold=0.5, wall_seconds=1.0).verdict.unknown == 1


def test_failed_refinements_are_counted() -> None:
    tried = msgspec.structs.replace(trace("a", "6", 0.9), rounds=(Round(0.9, (), error="too long"),))
    assert summarize([tried, trace("b", "7")], threshold=0.5, wall_seconds=1.0).refinements_failed == 1


def test_the_order_of_traces_does_not_matter() -> None:
    traces: list[Trace] = every_case()
    forwards = summarize(traces, threshold=0.5, wall_seconds=18.0)
    assert summarize(traces[::-1], threshold=0.5, wall_seconds=18.0).verdict == forwards.verdict
