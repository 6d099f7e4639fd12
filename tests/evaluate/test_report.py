"""Reports: what is in them, how they are shown, and two of them side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from score_local.engine.protocol import Usage
from score_local.errors import RunError
from score_local.evaluate import compare, report_plots, report_text
from score_local.evaluate.gate import GatePoint
from score_local.evaluate.report import REPORT, Fit, PolicyRun, Report, Setup, read_report, report_of
from score_local.policy import Drawn, Policy, Refine, Verify
from score_local.problem import Problem
from score_local.runs import FileHash, Manifest
from score_local.trace import Candidate, Trace
from score_local.verifiers.calibration import Quality
from tests.evaluate.runs import GOLD, failed, trace

MODEL = FileHash("m.gguf", "ab" * 32)
SETUP = Setup(
    dataset=FileHash("dev.jsonl", "cd" * 32),
    problems=12,
    fitted=6,
    model=MODEL,
    context=2048,
    prompts="ef" * 32,
    command="score-local eval dev.jsonl --out out",
    machine="two cores",
    software={"score-local": "1"},
    date="2026-01-01",
)
SOLVE = Policy(verify=Verify(verifiers=()), refine=Refine(when="never"))
GATED = Policy(verify=Verify(verifiers=("self",)))
ALWAYS = Policy(verify=Verify(verifiers=("self",), threshold=0.0), refine=Refine(when="always"))
FIT = Fit(
    n=6,
    threshold=0.6,
    refine=True,
    verdict="refinement is on",
    quality=Quality(n=6, incorrect=3),
    gate=(GatePoint(threshold=0.5, n=6, opened=3, opened_on_answers=3, fixed=2, broken=1, right=4),),
)


def problems(count: int, start: int = 0) -> list[Problem]:
    return [Problem(str(i), f"What is {i}?", GOLD) for i in range(start, start + count)]


def spent(tokens: int, found: Sequence[Trace]) -> list[Trace]:
    return [msgspec.structs.replace(one, usage=Usage(generated=tokens, seconds=1.0)) for one in found]


def solved(marks: str, start: int = 0) -> list[Trace]:
    return [trace(str(i), "7" if mark == "+" else "6") for i, mark in enumerate(marks, start)]


def report(setup: Setup = SETUP) -> Report:
    """Of six problems: one solution each, a gate that opens twice, and all refinements."""
    first, second = "776666", "778767"
    gated = [
        trace(str(i), a, 0.9 if i in (2, 4) else 0.1, b if i in (2, 4) else "none written")
        for i, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    always = [trace(str(i), a, 0.9, b) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    runs = {"solve": spent(100, solved("++----")), "gated": spent(140, gated), "always": spent(200, always)}
    policies = {"solve": SOLVE, "gated": GATED, "always": ALWAYS}
    return report_of(
        setup, {"gated": FIT}, problems(6), {name: PolicyRun(made(policies[name]), runs[name]) for name in runs}
    )


def made(policy: Policy, **adapters: FileHash) -> Manifest:
    return Manifest(model=MODEL, adapters=adapters, prompts="", policy=policy, context=2048)


def test_policies_come_by_their_tokens_with_their_marks() -> None:
    found = {result.name: result for result in report().results}
    assert list(found) == ["solve", "gated", "always"]
    assert found["solve"].marks == "++----" and found["always"].marks == "++-+-+"
    assert found["solve"].same_tokens is None and found["gated"].same_tokens is not None


def test_the_ceiling_is_the_same_for_all() -> None:
    """The gated policy has two refinements of its own, the solver none: the others were written for `always`."""
    for result in report().results:
        oracle = result.summary.oracle
        assert (oracle.ceiling.count, oracle.missing) == (4, 0), result.name
    recovered = {result.name: result.summary.oracle.recovered for result in report().results}
    assert recovered == {"solve": 0.0, "gated": 0.0, "always": 1.0}


def test_a_refinement_by_another_refiner_is_not_lent() -> None:
    refined = [trace("0", "7", 0.9, "7"), trace("1", "6", 0.9, "7")]
    runs = {
        "solve": PolicyRun(made(SOLVE), solved("+-")),
        "always": PolicyRun(made(ALWAYS, refiner=FileHash("r", "01")), refined),
    }
    found = report_of(SETUP, {}, problems(2), runs)
    ceilings = {result.name: result.summary.oracle.ceiling.count for result in found.results}
    assert ceilings == {"solve": 1, "always": 2}


def hinted(programs: int = 0, temperature: float = 0.5, verifiers: Sequence[str] = ("program",)) -> Policy:
    verify = Verify(verifiers=tuple(verifiers), programs=programs, sampling=Drawn(temperature=temperature))  # type: ignore[arg-type]
    return Policy(verify=verify, refine=Refine(hint="program"))


# (the policy whose refinement is written, the verifiers that it asked, whose gate is shut, whether it is lent)
LENT = [
    (hinted(), ["program"], GATED, False),
    (GATED, ["self"], hinted(), False),
    (hinted(4), ["program"], hinted(), False),
    (hinted(temperature=1.0), ["program"], hinted(), False),
    (hinted(verifiers=("self",)), ["self"], GATED, True),
    (hinted(), ["arithmetic"], GATED, True),
    (hinted(), ["arithmetic"], hinted(), False),
    (hinted(verifiers=("self", "program")), ["self", "program"], hinted(), True),
]


@pytest.mark.parametrize(("writer", "asked", "shut", "lent"), LENT)
def test_a_refinement_is_lent_only_where_the_refiner_was_told_the_same(
    *, writer: Policy, asked: list[str], shut: Policy, lent: bool
) -> None:
    written = trace("0", "6", 0.9, "7", spoke=dict.fromkeys(asked, 0.9))
    kept = trace("0", "6", 0.1, spoke=dict.fromkeys(shut.verify.verifiers, 0.1))
    runs = {"writer": PolicyRun(made(writer), [written]), "shut": PolicyRun(made(shut), [kept])}
    found = {result.name: result.summary.oracle for result in report_of(SETUP, {}, problems(1), runs).results}
    assert (found["writer"].ceiling.count, found["shut"].ceiling.count) == (1, int(lent))


def test_what_stood_behind_a_policys_own_gate_is_its_ceiling() -> None:
    """Its asking ended early: without programs, another refinement is written and another answer elected."""
    early = trace("0", "6", 0.9, "7", spoke={"arithmetic": 0.9})
    whole = trace("0", "6", 0.9, "8", spoke={"arithmetic": 0.9, "program": 0.9})
    vote = Policy(method="refine-then-vote", verify=Verify(verifiers=("program",)), refine=Refine(when="never"))
    runs = {
        "refined": PolicyRun(made(hinted(verifiers=("arithmetic", "program"))), [early], [whole]),
        "voted": PolicyRun(made(vote), [voted("0", "6", "7", "7", p=0.9)], [voted("0", "6", "8", "8", p=0.9)]),
    }
    found = report_of(SETUP, {}, problems(1), runs).results
    assert [result.summary.oracle.ceiling.count for result in found] == [1, 1]


def voted(name: str, initial: str, *others: str, p: float | None = None) -> Trace:
    """A gate behind which answers vote; not opened where there are none."""
    gated = trace(name, initial, p)
    candidates = tuple(Candidate("sample", answer, 1.0) for answer in others)
    return msgspec.structs.replace(gated, method="refine-then-vote", candidates=candidates)


def test_the_ceiling_of_a_vote_is_what_is_elected_behind_every_gate() -> None:
    manifest = made(Policy(method="refine-then-vote", verify=Verify(verifiers=("self",))))
    gated = [voted("0", "7", p=0.1), voted("1", "6", p=0.1), voted("2", "6", "7", "7", "6", p=0.9)]
    opened = [voted("0", "7", "6"), voted("1", "6", "7"), voted("2", "6", "7", "7", "6"), voted("apart", "7")]
    (shut,) = report_of(SETUP, {}, problems(3), {"vote": PolicyRun(manifest, gated)}).results
    assert (shut.summary.oracle.ceiling.count, shut.summary.oracle.missing) == (2, 1)
    (known,) = report_of(SETUP, {}, problems(3), {"vote": PolicyRun(manifest, gated, opened)}).results
    assert (known.summary.oracle.ceiling.count, known.summary.oracle.missing) == (3, 0)


def test_the_ceiling_of_a_vote_that_the_safety_rule_shut_is_still_its_own() -> None:
    """Its traces are of the method refine, and a refinement that another policy had written is none of its vote."""
    shut = Policy(verify=Verify(verifiers=("self",), threshold=0.99), refine=Refine(when="never"))
    runs = {
        "vote": PolicyRun(made(shut), [trace("0", "6", 0.9)], [voted("0", "6", "7", "7", p=0.9)]),
        "always": PolicyRun(made(ALWAYS), [trace("0", "6", 0.9, "8")]),
    }
    found = {one.name: one.summary.oracle.ceiling.count for one in report_of(SETUP, {}, problems(1), runs).results}
    assert found == {"vote": 1, "always": 0}


def test_what_is_unknown_or_failed_has_its_own_mark() -> None:
    traces = [trace("0", "7"), trace("1", "6"), trace("2", None, refinement=None), failed("3")]
    (result,) = report_of(SETUP, {}, problems(4), {"solve": PolicyRun(made(SOLVE), traces)}).results
    assert result.marks == "+-?!" and result.summary.final.n == 4


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_bytes(msgspec.json.encode(report()))
    assert read_report(tmp_path) == report()


@pytest.mark.parametrize(("content", "told"), [(None, "there is no report here"), (b"{}", "cannot be read")])
def test_a_report_that_cannot_be_read_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / REPORT).write_bytes(content)
    with pytest.raises(RunError, match=told):
        read_report(tmp_path)


LISTED = [
    "initial", "final", "difference", "95%", "p", "ceiling", "recovered", "fixed", "broken", "opened", "AUROC",
    "F1 for incorrect", "balanced accuracy", "calibration error", "evaluated", "generated", "sequence seconds",
    "self-consistency",
]  # fmt: skip


def test_every_number_of_the_method_has_its_column() -> None:
    shown = report_text.text(report(), ["accuracy.png"])
    heads = {cell.strip() for line in shown.splitlines() if line.startswith("| policy") for cell in line.split("|")}
    assert set(LISTED) <= heads
    for what in ("n = 6", "SHA-256 " + "ab" * 32, "seed: 0", "two cores", SETUP.command, "![accuracy](accuracy.png)"):
        assert what in shown
    assert re.search(r"\| always +\| 33.3% +\| 66.7% \(4\)", shown)
    assert "[gated](calibrations/gated.md): refinement is on" in shown


def test_what_every_threshold_would_do_is_known_from_all_refinements() -> None:
    doubts = {result.name: result.doubt for result in report().results}
    assert doubts["solve"] is None
    gated = doubts["gated"]
    assert gated is not None
    # p is 0.9 for two wrong ones, of which one is repaired into another wrong answer and one stays as it was
    opened = {point.threshold: (point.opened, point.fixed, point.broken) for point in gated.gate}
    assert opened[0.0] == (6, 2, 0) and opened[0.5] == opened[0.9] == (2, 0, 0) and opened[0.91] == (0, 0, 0)
    assert gated.roc == ((0.0, 0.0), (0.0, 0.5), (1.0, 1.0))
    assert [(round(b.believed, 6), b.incorrect.count, b.incorrect.n) for b in gated.reliability] == [
        (0.1, 2, 4), (0.9, 2, 2)
    ]  # fmt: skip


def test_pictures_are_png() -> None:
    pytest.importorskip("matplotlib")
    found = report_plots.plots(report())
    assert set(found) == {"accuracy.png", "gate.png", "reliability.png", "roc.png"}
    assert set(report_plots.plots(small("++-"))) == {"accuracy.png"}
    for content in found.values():
        assert content.startswith(b"\x89PNG") and len(content) > 5000


def small(marks: str, start: int = 0) -> Report:
    run = PolicyRun(made(SOLVE), solved(marks, start))
    return report_of(SETUP, {}, problems(len(marks), start), {"solve": run})


def test_two_reports_are_paired_where_the_problems_are_the_same() -> None:
    (change,) = compare.compare(small("++---+++"), small("++++--", start=1))
    assert change.n == 6 and change.paired is not None and change.unpaired is None
    # problems 1 to 6: A is + - - - + +, B is + + + + - -
    assert change.paired.points == pytest.approx(100 / 6)
    assert change.paired.p == pytest.approx(1.0)
    assert change.accuracy == (5 / 8, 4 / 6)


def test_other_problems_are_compared_as_independent_ones() -> None:
    """56 of 70 against 48 of 80: Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, case a, method 10."""
    (change,) = compare.compare(small("+" * 48 + "-" * 32), small("+" * 56 + "-" * 14, start=100))
    assert change.n == 0 and change.paired is None and change.unpaired is not None
    assert (change.unpaired.low, change.unpaired.high) == pytest.approx((5.24, 33.39), abs=0.005)


def test_a_question_that_has_changed_is_another_problem() -> None:
    a, b = small("++"), small("++")
    b = msgspec.structs.replace(b, problems={"0": "another question", "1": b.problems["1"]})
    assert compare.compare(a, b)[0].n == 1


def test_what_else_is_different_is_said() -> None:
    other = msgspec.structs.replace(SETUP, model=FileHash("n.gguf", "00" * 32), context=1024, prompts="")
    a, b = report(), report(other)
    shown = compare.text(a, b, ("first", "second"))
    for what in ("model: m.gguf, n.gguf", "context: 2048, 1024", "set of prompts", "6 in A, 6 in B, 6 in both"):
        assert what in shown
    assert "another" not in compare.text(a, a, ("first", "second"))
    assert "policy under" not in shown


@pytest.mark.parametrize(("change", "told"), [({"calibration": "b/gated.toml"}, False), ({"threshold": 0.9}, True)])
def test_where_a_calibration_lies_makes_no_other_policy(change: dict[str, object], told: bool) -> None:
    a = small("++")
    (result,) = a.results
    policy = result.policy
    other = msgspec.structs.replace(policy, verify=msgspec.structs.replace(policy.verify, **change))
    b = msgspec.structs.replace(a, results=(msgspec.structs.replace(result, policy=other),))
    assert ("policy under the name" in compare.text(a, b, ("first", "second"))) is told


def test_a_policy_of_one_report_only_is_shown() -> None:
    both = compare.compare(small("++"), report())
    assert [(change.name, change.accuracy[0] is None) for change in both] == [
        ("solve", False), ("gated", True), ("always", True)
    ]  # fmt: skip
