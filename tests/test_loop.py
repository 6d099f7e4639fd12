"""The algorithm, driven by a list: no engine, no threads."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from score_local import prompts
from score_local.engine.protocol import Completion, Finish, Generate, Reply, Request, Score, Scores
from score_local.errors import EngineError
from score_local.loop import decide, opened, opens, self_correct
from score_local.policy import Policy, Refine, Verify
from score_local.problem import Problem
from score_local.trace import Attempt, Round, Signal, Trace

PROBLEM = Problem("p1", "What is 2 + 2?", "4")
WRONG = Completion("Step 1: 2 + 2 = 4\n\\boxed{5}", (1, 2, 3), (-0.1, -0.2, -0.3))
RIGHT = Completion("Critique: step 1\nCorrected solution:\nStep 1: 2 + 2 = 4\n\\boxed{4}", (4, 5))
NO_ANSWER = Completion("I do not know.")
DOUBT, TRUST = Scores((-3.0, -0.1)), Scores((-0.1, -3.0))


def policy(*verifiers: str, **refine: object) -> Policy:
    return Policy(verify=Verify(verifiers=verifiers or ("self",), samples=2), refine=Refine(**refine))  # type: ignore[arg-type]


def drive(problem: Problem, policy_: Policy, *answers: Sequence[Reply] | Reply) -> tuple[Trace, list[Request]]:
    """Runs the loop against prepared replies; the trace and all requests. Every reply must be asked for."""
    loop, asked, left = self_correct(problem, policy_), list[Request](), list(answers)
    try:
        requests = next(loop)
        while True:
            asked += requests
            reply = left.pop(0)
            requests = loop.send(tuple(reply) if isinstance(reply, Sequence) else (reply,))
    except StopIteration as end:
        assert not left, "replies that nobody asked for"
        return end.value, asked


def test_a_doubted_solution_is_refined() -> None:
    trace, asked = drive(PROBLEM, policy(), WRONG, DOUBT, RIGHT)
    assert (trace.initial_answer, trace.answer, trace.refined, trace.triggered) == ("5", "4", True, True)
    assert (trace.initial_correct, trace.final_correct, trace.status) == (False, True, "solved")
    assert trace.p_incorrect == pytest.approx(0.948, abs=1e-3)
    assert trace.rounds[0].critique == "step 1"
    assert [request.phase for request in asked] == ["solve", "verify", "refine"]


def test_a_trusted_solution_stands() -> None:
    trace, asked = drive(PROBLEM, policy(), WRONG, TRUST)
    assert (trace.answer, trace.refined, trace.triggered) == ("5", False, False)
    assert len(asked) == 2


def test_every_turn_continues_the_solve_conversation() -> None:
    _, (solve, verify, refine) = drive(PROBLEM, policy(), WRONG, DOUBT, RIGHT)
    assert verify.messages[: len(solve.messages)] == solve.messages == refine.messages[: len(solve.messages)]
    for turn in (verify, refine):
        assert turn.messages[len(solve.messages)].tokens == WRONG.tokens, "the very tokens that are in the cache"
        assert len(turn.messages) == len(solve.messages) + 2
    assert isinstance(verify, Score) and verify.choices == prompts.VERDICTS


def test_the_refinement_may_be_asked_for_always_and_decided_later() -> None:
    trace, _ = drive(PROBLEM, policy(when="always"), WRONG, TRUST, RIGHT)
    assert (trace.answer, trace.refined) == ("5", False)
    assert decide(trace, 0.01).answer == "4"
    assert decide(decide(trace, 0.01), 0.5) == trace, "deciding is repeatable"


def test_never_refines_but_still_doubts() -> None:
    trace, asked = drive(PROBLEM, policy(when="never"), WRONG, DOUBT)
    assert (trace.triggered, trace.refined, trace.answer) == (True, False, "5")
    assert not any(request.phase == "refine" for request in asked)


def test_two_rounds_go_on_from_the_refinement() -> None:
    again = Completion("Corrected solution:\n\\boxed{7}", (9,))
    trace, asked = drive(PROBLEM, policy(rounds=2), WRONG, DOUBT, again, DOUBT, RIGHT)
    assert trace.answer == "4" and len(trace.rounds) == 2
    assert asked[-1].messages[: len(asked[2].messages)] == asked[2].messages


SEVEN = Completion("Corrected solution:\n\\boxed{7}", (9,))
# (what is said after the first solution, the final answer, how many rounds the gate lets through, what it shows)
SECOND_ROUNDS: list[tuple[tuple[Reply, ...], str | None, int, str]] = [
    ((DOUBT, NO_ANSWER, TRUST, RIGHT), "4", 2, "without an answer it is refined again, whatever the verdict"),
    ((DOUBT, NO_ANSWER, EngineError("broken"), RIGHT), "4", 2, "or without one"),
    ((DOUBT, NO_ANSWER, DOUBT, NO_ANSWER), "5", 2, "where no refinement holds an answer, the first stands"),
    ((DOUBT, SEVEN, DOUBT, NO_ANSWER), "7", 2, "or the last that holds one"),
    ((DOUBT, SEVEN, TRUST), "7", 1, "a trusted refinement is not refined"),
    ((DOUBT, EngineError("broken")), "5", 1, "one that failed ends it"),
    ((TRUST,), "5", 0, "a shut gate"),
]


@pytest.mark.parametrize(("replies", "answer", "rounds", "what"), SECOND_ROUNDS)
def test_what_is_asked_is_what_is_decided(
    replies: tuple[Reply, ...], answer: str | None, rounds: int, what: str
) -> None:
    trace, _ = drive(PROBLEM, policy(rounds=2), WRONG, *replies)
    assert (trace.answer, trace.refined) == (answer, answer != "5"), what
    asked = [round_ for round_ in trace.rounds if round_.refinement or round_.error]
    assert list(opened(trace, 0.5)) == asked and len(asked) == rounds, what


def test_a_solution_without_answer_is_refined_whatever_the_verdict() -> None:
    trace, _ = drive(PROBLEM, policy(), NO_ANSWER, TRUST, RIGHT)
    assert trace.initial_answer is None and trace.answer == "4" and trace.initial_correct is False


def test_a_refinement_without_answer_replaces_nothing() -> None:
    trace, _ = drive(PROBLEM, policy(), WRONG, DOUBT, NO_ANSWER)
    assert (trace.answer, trace.refined, trace.triggered) == ("5", False, True)


# (the refiner's reply, how it ended, the refinement's answer, why)
REFINEMENTS: list[tuple[str, Finish, str | None, str]] = [
    ("Critique: \\boxed{18} is wrong.\nCorrected solution: The answer is 24.", "stop", "24", "18 is what is rejected"),
    ("Critique: \\boxed{18} is wrong.\nCorrected solution: 4 x 6", "length", None, "cut off before its answer"),
    ("Critique: \\boxed{18} is wrong.\n**Corrected Solution**: 4 x 6", "length", None, "in bold and capitals, too"),
    (
        "Critique: \\boxed{18} is wrong.\n\nCORRECTED SOLUTION : The answer is 24.",
        "stop",
        "24",
        "however it is written",
    ),
    ("Critique: \\boxed{18} is wrong, for step 1", "length", None, "cut off in the critique"),
    ("**Critique:** the answer is 18, which", "loop", None, "or stopped in it"),
    ("Step 1: 4 x 6 = 24\n\\boxed{24}", "stop", "24", "without the marker all of it is the solution"),
    ("Step 1: 4 x 6 = 24\n\\boxed{24}\nStep", "length", "24", "also where it goes on for too long"),
    ("Critique: 18 is wrong.\nStep 1: 4 x 6\n\\boxed{24}", "stop", "24", "the marker was forgotten, its end was not"),
    ("<think>\\boxed{9}</think>Corrected solution:\n\\boxed{24}", "stop", "24", "thoughts are apart here too"),
]


@pytest.mark.parametrize(("reply", "finish", "answer", "why"), REFINEMENTS)
def test_a_refinement_is_read_behind_its_critique(reply: str, finish: Finish, answer: str | None, why: str) -> None:
    trace, _ = drive(PROBLEM, policy(), WRONG, DOUBT, Completion(reply, finish=finish))
    refinement = trace.rounds[0].refinement
    assert refinement and refinement.answer == answer, why
    assert trace.answer == (answer or "5"), why


@pytest.mark.parametrize(
    ("replies", "status", "answer", "why"),
    [
        ((EngineError("too long"),), "failed", None, "no solution"),
        ((WRONG, EngineError("broken")), "solved", "5", "an unknown verdict opens no gate"),
        ((WRONG, DOUBT, EngineError("broken")), "solved", "5", "a failed refinement replaces nothing"),
        ((NO_ANSWER, TRUST, EngineError("broken")), "unknown", None, "no answer is unknown, not wrong and not right"),
    ],
)
def test_failures_are_told_and_never_count_as_right(
    replies: tuple[Reply, ...], status: str, answer: str | None, why: str
) -> None:
    trace, _ = drive(PROBLEM, policy(), *replies)
    assert (trace.status, trace.answer) == (status, answer), why
    assert trace.final_correct is not True


def test_a_failed_verifier_is_unknown_and_the_others_speak() -> None:
    trace, _ = drive(PROBLEM, policy("self", "oracle"), WRONG, EngineError("broken"), RIGHT)
    self_, oracle = trace.rounds[0].signals
    assert self_.p_incorrect is None and "broken" in self_.reason
    assert oracle.p_incorrect == 1.0 and trace.answer == "4"


def test_consistency_is_the_share_that_agrees() -> None:
    five, other = Completion("\\boxed{5}"), Completion("\\boxed{6}")
    for samples, expected in [
        ((five, five), 0.0),
        ((five, other), 0.5),
        ((other, NO_ANSWER), 1.0),
        ((five, EngineError("broken")), 0.0),
        ((NO_ANSWER, NO_ANSWER), None),
    ]:
        trace, asked = drive(PROBLEM, policy("consistency", when="never"), WRONG, samples)
        assert trace.p_incorrect == expected
        seeds = [r.sampling.seed for r in asked if isinstance(r, Generate) and r.phase == "sample"]
        assert len(set(seeds)) == 2, "each sample has its own seed"


def test_arithmetic_names_the_wrong_step() -> None:
    slip = Completion("Step 1: 2 + 2 = 4\nStep 2: 4 x 3 = 13\n\\boxed{13}")
    trace, _ = drive(PROBLEM, policy("arithmetic", when="never"), slip)
    assert trace.rounds[0].signals[0].wrong_step == 2 and trace.p_incorrect == 0.95
    trace, _ = drive(PROBLEM, policy("arithmetic", when="never"), WRONG)
    assert trace.p_incorrect is None, "right arithmetic says nothing about right reasoning"


def test_roles_use_their_adapters() -> None:
    adapters = {"verifier": "v.gguf", "refiner": "r.gguf"}
    _, asked = drive(PROBLEM, msgspec.structs.replace(policy(), adapters=adapters), WRONG, DOUBT, RIGHT)
    assert [request.adapter for request in asked] == [None, "verifier", "refiner"]


def test_thoughts_are_kept_apart() -> None:
    thoughtful = Completion("<think>is it \\boxed{9}?</think>Step 1: 2 + 2 = 4\n\\boxed{4}")
    trace, _ = drive(PROBLEM, policy(), thoughtful, TRUST)
    assert trace.answer == "4" and trace.initial and "9" in trace.initial.thought and "9" not in trace.initial.text


@pytest.mark.parametrize(
    ("p", "threshold", "answer", "opened"),
    [(0.7, 0.7, "1", True), (0.69, 0.7, "1", False), (None, 0.0, "1", False), (None, 1.0, None, True)],
)
def test_one_rule(p: float | None, threshold: float, answer: str | None, opened: bool) -> None:
    assert opens(threshold, p, answer) is opened


def test_a_trace_survives_json() -> None:
    trace, _ = drive(PROBLEM, policy("self", "arithmetic", "consistency"), WRONG, DOUBT, (WRONG, RIGHT), RIGHT)
    assert msgspec.json.decode(msgspec.json.encode(trace), type=Trace) == trace


def test_a_later_round_counts_only_after_an_accepted_one() -> None:
    refined = Attempt("", "4")
    rounds = (Round(0.2, (Signal("self", 0.2),), refinement=refined), Round(0.9, (), refinement=Attempt("", "8")))
    trace = Trace(id="x", question="?", initial=Attempt("", "5"), rounds=rounds)
    assert [decide(trace, t).answer for t in (0.1, 0.5, 0.95)] == ["8", "5", "5"]
