"""The methods beside SCORE's refinement, driven by a scripted engine through the scheduler."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing

import msgspec
import pytest

from score_local import loop, votes
from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Completion, Generate, Request, Score, Scores, Usage
from score_local.engine.scripted import ScriptedEngine
from score_local.engine.steps import Answer, Ask, Steps
from score_local.errors import EngineDied, EngineError
from score_local.evaluate.policy_sets import NamedPolicy, policies_of
from score_local.helpers import Helpers
from score_local.loop import decide
from score_local.methods import attempt
from score_local.policy import Policy, Refine, Verify, Vote
from score_local.problem import Problem
from score_local.sandbox.pool import Sandbox
from score_local.sandbox.protocol import Ran, RunProgram
from score_local.schedule import Scheduler
from score_local.trace import Method, Signal, Trace
from score_local.verifiers.case import Case

PROBLEM = Problem("p", "What is 2 + 2?", "4")
CHOICE = Problem("c", "Which is a fruit?", "B", ("a stone", "an apple"), "choice")
COST = Usage(prompt=100, reused=90, generated=10)
DOUBT, TRUST = (-3.0, -0.1), (-0.1, -3.0)


def policy(method: Method, *verifiers: str, when: str = "gated", **vote: float) -> Policy:
    verify = Verify(verifiers=verifiers or ("self",), samples=2)  # type: ignore[arg-type]
    return Policy(method=method, verify=verify, refine=Refine(when=when), vote=Vote(**vote))  # type: ignore[arg-type]


class Model:
    """Replies in the order in which things are asked: `samples` and `programs` are answers, `verdicts` go round."""

    def __init__(
        self,
        solution: str,
        samples: Sequence[str | None] = (),
        *,
        refinement: str = "4",
        verdicts: Sequence[tuple[float, float]] = (DOUBT,),
        program: str = "4",
    ) -> None:
        self.solution, self.refinement, self.program = solution, refinement, program
        self.samples, self.verdicts = iter(samples), itertools.cycle(verdicts)
        self.asked: list[Ask] = []
        self.generated = 0

    def reply(self, request: Ask) -> Answer:
        self.asked.append(request)
        if isinstance(request, RunProgram):
            return Ran("value", self.program)
        if isinstance(request, Score):
            return Scores(next(self.verdicts))
        assert isinstance(request, Generate)
        if request.phase == "sample":
            answer = next(self.samples)
            return EngineError("broken") if answer is None else self._boxed(answer)
        return self._boxed({"solve": self.solution, "refine": self.refinement}.get(request.phase, "0"))

    def _boxed(self, answer: str) -> Completion:
        self.generated += COST.generated
        return Completion(f"Step 1: think\n\\boxed{{{answer}}}", usage=COST)

    def count(self, phase: str) -> int:
        return sum(isinstance(request, (Generate, Score)) and request.phase == phase for request in self.asked)


def run(model: Model, policy_: Policy, problem: Problem = PROBLEM) -> Trace:
    steps = attempt(problem, policy_)
    try:
        asked = next(steps)
        while True:
            asked = steps.send(tuple(model.reply(request) for request in asked))
    except StopIteration as end:
        trace: Trace = end.value
        assert trace.status == "failed" or trace.usage.generated == model.generated, "every token is counted, and once"
        return trace


PHASES: list[tuple[Method, str, str, str]] = [
    ("refine", "self", "verify", "the verdict"),
    ("refine", "program", "verify", "a program for the verdict"),
    ("refine", "consistency", "sample", "a sample for the verdict"),
    ("refine", "self", "refine", "the refinement"),
    ("majority", "self", "sample", "a sample that votes"),
    ("weighted-vote", "self", "verify", "a verdict on a vote"),
    ("refine-then-vote", "self", "refine", "the refinement that votes"),
    ("budget", "self", "sample", "a sample that is drawn alone"),
]


@pytest.mark.parametrize(("method", "verifier", "phase", "what"), PHASES)
@pytest.mark.parametrize("error", [EngineDied("dead"), EngineError("broken")])
def test_a_problem_whose_engine_died_is_tried_again(
    method: Method, verifier: str, phase: str, what: str, error: EngineError
) -> None:
    """A trace that is not failed is never made again: other errors are of the request, and would only come again."""
    model = Model("5", ["4"] * 8)
    asked = model.reply
    model.reply = lambda request: error if request.phase == phase else asked(request)  # type: ignore[method-assign]
    trace = run(model, policy(method, verifier, samples=2))
    died = isinstance(error, EngineDied)
    assert (trace.status, trace.error) == (("failed", "dead") if died else ("solved", "")), what


def test_a_judge_that_died_is_an_unknown_verdict() -> None:
    model = Model("5")
    asked = model.reply
    model.reply = lambda ask: EngineDied("dead") if isinstance(ask, ToJudge) else asked(ask)  # type: ignore[method-assign]
    trace = run(model, policy("refine", "model"))
    assert trace.status == "solved" and trace.rounds[0].signals[0].reason == "the judge failed: dead"


# (solution, samples, final answer, samples drawn of 8 in waves of 4, what it shows)
MAJORITIES: list[tuple[str, list[str | None], str, int, str]] = [
    ("5", ["4"] * 8, "4", 8, "five to one, and three to come: the others can still catch up only before the last wave"),
    ("4", ["4"] * 8, "4", 4, "five to nothing, four to come: it is settled"),
    ("5", ["4", "4", "4", "4", "6", "6", "6", "6"], "4", 8, "of equals the first that spoke"),
    ("5", [None] * 8, "5", 8, "samples that fail have no vote"),
]


@pytest.mark.parametrize(("solution", "samples", "answer", "drawn", "reason"), MAJORITIES)
def test_majority(solution: str, samples: list[str | None], answer: str, drawn: int, reason: str) -> None:
    model = Model(solution, samples)
    trace = run(model, policy("majority", samples=8))
    assert (trace.answer, model.count("sample")) == (answer, drawn), reason
    assert not trace.triggered and trace.refined == (answer != solution) and model.count("verify") == 0


def test_a_weighted_vote_listens_to_the_verifiers() -> None:
    model = Model("5", ["4", "5"], verdicts=[DOUBT, TRUST, DOUBT])
    trace = run(model, policy("weighted-vote", samples=2))
    assert trace.answer == "4", "one vote that is believed outweighs two that are doubted"
    assert [round(c.weight, 2) for c in trace.candidates] == [0.05, 0.95, 0.05]


def test_best_of_n_is_the_most_believed() -> None:
    model = Model("5", ["4", "6"], verdicts=[(-0.5, -0.9), TRUST, (-0.4, -1.1)])
    assert run(model, policy("best-of-n", samples=2)).answer == "4"


# (solution, samples, weights of the solution and of each sample, who is elected, what it shows)
WITNESSES: list[tuple[str, list[str | None], list[float], str, str]] = [
    ("5", ["4", "6", "7", "8"], [0, 0, 0, 0, 0], "5", "five answers: nobody supports any, the first stands"),
    ("5", ["4", "6", "5", "8"], [0.25, 0, 0, 0.25, 0], "5", "the first attempt is a witness for a sample"),
    ("5", ["4", "4", "7", "8"], [0, 0.25, 0.25, 0, 0], "4", "another sample that says the same is one as well"),
    ("5", ["5", "4", "4", "4"], [0.25, 0.25, 0.5, 0.5, 0.5], "4", "each is judged by all of the others"),
    ("5", ["4", None, "4", None], [0, 0.5, 0.5], "4", "a sample that failed is no witness"),
]


@pytest.mark.parametrize("method", ["weighted-vote", "best-of-n"])
@pytest.mark.parametrize(("solution", "samples", "weights", "elected", "reason"), WITNESSES)
def test_no_attempt_is_a_witness_for_itself(
    *, solution: str, samples: list[str | None], weights: list[float], elected: str, reason: str, method: Method
) -> None:
    asked = msgspec.structs.replace(policy(method, samples=4), verify=Verify(verifiers=("consistency",), samples=4))
    trace = run(Model(solution, samples), asked)
    assert trace.answer == elected, reason
    assert [candidate.weight for candidate in trace.candidates] == pytest.approx(weights), reason


def test_behind_a_shut_gate_nothing_is_drawn() -> None:
    for method in ("refine-then-vote", "budget"):
        model = Model("5", [], verdicts=[TRUST])
        trace = run(model, policy(method))  # type: ignore[arg-type]
        assert (trace.answer, trace.triggered, model.count("refine"), model.count("sample")) == ("5", False, 0, 0)


def test_behind_an_open_gate_the_refinement_and_samples_vote() -> None:
    model = Model("5", ["6", "4"] * 4, refinement="4")
    trace = run(model, policy("refine-then-vote"))
    assert (trace.answer, trace.triggered, trace.refined, trace.final_correct) == ("4", True, True, True)
    assert [c.source for c in trace.candidates[:3]] == ["initial", "refinement", "sample"]


def test_what_was_drawn_for_the_verdict_votes_and_is_not_drawn_again() -> None:
    model = Model("5", ["4", "4"], refinement="6", program="4")
    trace = run(model, policy("refine-then-vote", "consistency", "program", when="never", samples=2))
    assert trace.answer == "4" and trace.triggered
    assert [c.source for c in trace.candidates] == ["initial", "program", "sample", "sample"]
    assert model.count("sample") == 2 and model.count("refine") == 0


@pytest.mark.parametrize("method", ["refine-then-vote", "budget"])
def test_a_refinement_without_a_vote_is_not_written(method: Method) -> None:
    """It would speak before programs and samples, and so win among equals; and a budget would pay for it."""
    model = Model("5", ["7", "8", "9", "10"], refinement="5", program="7")
    trace = run(model, policy(method, "program", when="always", samples=4, refinement=0.0))
    assert (trace.answer, model.count("refine")) == ("7", 0)
    assert [c.source for c in trace.candidates][:3] == ["initial", "program", "sample"]


def test_a_calibration_is_fitted_on_the_vote_that_is_held_at_run_time() -> None:
    (shipped,) = policies_of(["calibrated-vote"])
    uncalibrated = msgspec.structs.replace(shipped.policy.verify, calibration=None, samples=4, programs=0)
    held = shipped._replace(policy=msgspec.structs.replace(shipped.policy, verify=uncalibrated))

    def elected(asked: Policy) -> tuple[str | None, int]:
        model = Model("5", ["7", "8", "9", "10"], refinement="5", program="7")
        return votes.chosen(run(model, asked)), model.count("refine")

    assert elected(held.policy) == elected(held.source) == ("7", 0)


def test_what_is_elected_is_known_even_of_a_verdict_that_is_not() -> None:
    never = msgspec.structs.replace(policy("refine-then-vote", "program", when="never"), vote=Vote(samples=2))
    trace = run(Model("A", ["B", "B"]), NamedPolicy("mine", never).source, CHOICE)
    assert trace.p_incorrect is None and not trace.triggered and votes.chosen(trace) == "B"


def test_a_program_without_a_vote_is_no_candidate() -> None:
    model = Model("5", ["6", "4", "6", "4"], refinement="5", program="4")
    weights = {"initial": 0.0, "refinement": 0.0, "program": 0.0}
    trace = run(model, policy("refine-then-vote", "program", samples=4, **weights))
    assert trace.answer == "6", "of equals the first sample that spoke, not the program's answer"


def test_programs_may_vote_without_samples() -> None:
    model = Model("5", program="4")
    trace = run(model, policy("refine-then-vote", "program", when="never", samples=0, program=2))
    assert (trace.answer, model.count("sample"), trace.usage.generated) == ("4", 0, 20)


@pytest.mark.parametrize("method", ["refine-then-vote", "budget"])
@pytest.mark.parametrize(("program", "answer"), [("4", "4"), ("[]", None)])
def test_programs_vote_in_place_of_a_solution_without_an_answer(
    program: str, answer: str | None, method: Method
) -> None:
    """The verifier compares with an answer, and has none written: they are written for the vote, and counted once."""
    model = Model("", program=program)
    trace = run(model, policy(method, "program", when="never", samples=0))
    assert (trace.initial_answer, trace.answer, model.count("verify")) == (None, answer, 1)
    assert [c.source for c in trace.candidates] == ["initial", "program"] and trace.p_incorrect is None


@pytest.mark.parametrize(("p_incorrect", "answer", "written"), [(0.99, "4", 1), (0.01, "5", 0)])
def test_programs_that_a_certain_verdict_did_without_vote_behind_its_open_gate(
    p_incorrect: float, answer: str, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def certain(case: Case) -> Steps[tuple[float | None, tuple[Signal, ...]]]:
        yield from ()
        return p_incorrect, ()

    monkeypatch.setattr(loop, "doubt", certain)
    model = Model("5", program="4")
    trace = run(model, policy("refine-then-vote", "program", when="never", samples=0, program=2))
    assert (trace.answer, model.count("verify")) == (answer, written)


def test_no_program_is_written_that_nothing_asks_for_or_that_cannot_compute() -> None:
    for asked, problem in (("self", PROBLEM), ("program", CHOICE)):
        model = Model("")
        run(model, policy("refine-then-vote", asked, when="never", samples=0), problem)
        assert not [one for one in model.asked if isinstance(one, RunProgram)]


def test_a_vote_can_be_decided_again_with_another_threshold() -> None:
    trace = run(Model("5", ["4"] * 8, verdicts=[TRUST]), policy("refine-then-vote", when="always"))
    assert (trace.answer, trace.triggered) == ("5", False)
    assert decide(trace, 0.01).answer == "4" and decide(decide(trace, 0.01), 0.5) == trace
    assert msgspec.json.decode(msgspec.json.encode(trace), type=Trace) == trace


def test_a_budget_is_kept_and_spent_only_on_doubt() -> None:
    torn = Model("5", ["4", "6", "7", "8"] * 2, refinement="9")
    trace = run(torn, policy("budget", tokens=70))
    assert trace.usage.generated <= 70 and torn.count("sample") < 8
    limits = [r.sampling.max_tokens for r in torn.asked if isinstance(r, Generate) and r.phase == "sample"]
    assert limits == sorted(limits, reverse=True) and limits[0] <= 70 - 20, "no sample may spend more than is left"
    sure = Model("5", ["4"] * 8, refinement="4")
    run(sure, policy("budget", tokens=5000, samples=8))
    assert sure.count("sample") == 5, "five to one is certain enough: 96% by the Beta prior"


def test_a_refiner_may_be_told_what_programs_compute() -> None:
    def hint_of(program: str, hint: str = "program") -> str:
        told = msgspec.structs.replace(policy("refine", "program"), refine=Refine(when="always", hint=hint))  # type: ignore[arg-type]
        model = Model("5", program=program)
        run(model, told)
        (asked,) = [r for r in model.asked if isinstance(r, Generate) and r.phase == "refine"]
        return asked.messages[-1].content

    assert hint_of("4.0").endswith("A hint: A program that was written for this question computes 4.")
    assert "hint" not in hint_of("5").lower(), "it computes what the solution says"
    assert "hint" not in hint_of("4", "none").lower()


def test_a_failed_solution_is_a_failed_problem_in_every_method() -> None:
    class Broken(Model):
        def reply(self, request: Ask) -> Answer:
            return EngineError("out of memory")

    for method in ("majority", "weighted-vote", "best-of-n", "refine-then-vote", "budget"):
        trace = next(iter(_ended(attempt(PROBLEM, policy(method)), Broken("5"))))  # type: ignore[arg-type]
        assert (trace.status, trace.answer) == ("failed", None) and "out of memory" in trace.error


@pytest.mark.parametrize("method", ["majority", "weighted-vote", "best-of-n", "refine-then-vote", "budget"])
def test_choices_work_in_every_method(method: Method) -> None:
    trace = run(Model("A", ["B"] * 8, refinement="B", verdicts=[DOUBT, TRUST]), policy(method), CHOICE)
    assert (trace.initial_answer, trace.answer, trace.final_correct) == ("A", "B", True)


def test_programs_and_a_judge_are_asked_beside_the_engine() -> None:
    def judge(request: Request) -> tuple[float, ...]:
        return DOUBT

    def script(request: Request) -> str:
        return (
            "```python\ndef solution():\n    return 2 + 2\n" if request.phase == "verify" else "Step 1: no\n\\boxed{5}"
        )

    both = policy("refine", "program", "model", when="never")
    with closing(ScriptedEngine(script)) as engine, closing(Helpers(ScriptedEngine(judge), Sandbox(1))) as helpers:
        ((_, trace),) = Scheduler[Trace](engine, helpers=helpers).run([("p", attempt(PROBLEM, both))])
    program, model = trace.rounds[0].signals
    assert program.details["favourite"] == "4" and model.p_incorrect == pytest.approx(0.948, abs=1e-3)


def test_without_helpers_what_they_would_say_is_unknown() -> None:
    with closing(ScriptedEngine(lambda request: "\\boxed{5}")) as engine:
        both = policy("refine", "program", "model", when="never")
        ((_, trace),) = Scheduler[Trace](engine).run([("p", attempt(PROBLEM, both))])
    reasons = [signal.reason for signal in trace.rounds[0].signals]
    assert trace.p_incorrect is None and "no sandbox" in reasons[0] and "no judge is configured" in reasons[1]


def _ended(loop: object, model: Model) -> list[Trace]:
    try:
        asked = next(loop)  # type: ignore[call-overload]
        while True:
            asked = loop.send(tuple(model.reply(request) for request in asked))  # type: ignore[attr-defined]
    except StopIteration as end:
        return [end.value]
