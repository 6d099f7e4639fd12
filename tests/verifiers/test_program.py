"""The program verifier: driven by a list, and once through a real sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from score_local.engine.protocol import Completion, Generate, Usage
from score_local.errors import EngineError
from score_local.policy import Policy, Verify
from score_local.problem import Problem
from score_local.prompts import solve_messages
from score_local.roles import Role
from score_local.sandbox.pool import Sandbox
from score_local.sandbox.protocol import Ran, RunProgram
from score_local.trace import Attempt, Signal
from score_local.verifiers.case import Case
from score_local.verifiers.program import PREFIX, program_messages, program_verifier, source_of

NUMBER = Problem("p", "A box holds 12 eggs. How many eggs do 7 boxes hold?")
EXPRESSION = Problem("p", "Add one to x.", kind="expression")
NUMBERS = Problem("p", "What is 3 times 7?", choices=("12", "21", "2,100"), kind="choice")
WORDS = Problem("p", "Which is a fruit?", choices=("a stone", "an apple"), kind="choice")
REPLY = Completion(PREFIX + "    return 12 * 7\n", usage=Usage(prompt=100, generated=9))


def case(answer: str | None, problem: Problem = NUMBER, programs: int = 0) -> Case:
    asked = solve_messages(problem)
    policy = Policy(verify=Verify(programs=programs))
    return Case(problem, Attempt("Step 1: ...", answer), asked, asked, policy)


def drive(judged: Case, *ran: Ran, replies: Sequence[object] | None = None) -> tuple[Signal, list[object]]:
    """The signal where the programs end as `ran` says; and what was asked for."""
    verifier, asked = program_verifier(judged), list[object]()
    answers = [tuple(replies or [REPLY] * (judged.policy.verify.programs + 1)), ran]
    try:
        requests: tuple[object, ...] = next(verifier)
        while True:
            asked += requests
            requests = verifier.send(answers.pop(0))  # type: ignore[arg-type]
    except StopIteration as end:
        signal = end.value
        assert isinstance(signal, Signal)
        return signal, asked


def value(text: str) -> Ran:
    return Ran("value", text)


# (answer of the solution, values of the programs, how many agree, what it shows)
AGREEMENTS = [
    ("84", ["84"], 1, "the same"),
    ("84", ["84.0"], 1, "a float"),
    ("84", ["-84"], 0, "the sign counts"),
    ("84", ["85"], 0, "another"),
    ("0.3", ["0.30000000000000004"], 1, "a float's noise"),
    ("100", ["99.99999999999994"], 1, "the noise of several operations"),
    ("0.00003", ["3.0000000000000004e-05"], 1, "the noise of a small float"),
    ("1234567890123", ["1234567890123.0"], 1, "a large float that is whole"),
    ("1234567890123", ["1234567890120.0"], 0, "is not rounded"),
    ("1234567890123", ["1234567890122.9998"], 1, "its noise is"),
    ("1234567890123.45", ["1234567890123.45"], 1, "nor are the cents of a large sum"),
    ("12345678901.234", ["12345678901.234"], 1, "nor is what has fewer digits than a float's noise"),
    ("0.1234567890123456789", ["0.1234567890123456789"], 1, "nor is a Decimal"),
    ("100000000000000000000", ["1e+20"], 1, "an exponent"),
    ("1/3", ["0.3333333333333333"], 1, "no float is a third"),
    ("1/3", ["0.33333"], 0, "but it comes nearer than that"),
    ("33.33", ["33.333333333333336"], 1, "the solution rounds"),
    ("33.33", ["33.3"], 0, "the program does not"),
    ("33", ["33.333333333333336"], 0, "a whole number of things is not rounded from a fraction"),
    ("1/3", ["1/3"], 1, "fractions"),
    ("1200", ["1,200 dollars"], 1, "a text that states a number"),
    ("84", ["84", "85", "84"], 2, "two of three"),
]

# (problem, answer, value of the program, P(incorrect) is: high, low or unknown; what it shows)
KINDS = [
    (EXPRESSION, "x + 1", "1 + x", "low", "expressions are compared as such"),
    (EXPRESSION, "x + 1", "x + 2", "high", "expressions that differ"),
    (EXPRESSION, r"\frac{\sqrt{2}}{2}", "sqrt(2)/2", "low", "SymPy's syntax"),
    (EXPRESSION, "(x+1)^2", "x**2 + 2*x + 1", "low", "SymPy's syntax"),
    (EXPRESSION, r"\frac{\pi}{4}", "pi/4", "low", "SymPy's syntax"),
    (EXPRESSION, r"\sqrt{2}", "1.4142135623730951", "low", "a root as a float"),
    (EXPRESSION, "1/3", "0.3333333333333333", "low", "a fraction as a float"),
    (EXPRESSION, "0.3", "0.30000000000000004", "low", "a float's noise"),
    (EXPRESSION, "33.33", "33.333333333333336", "high", "an expression is not rounded"),
    (EXPRESSION, r"\frac{x}{3}", "0.333333333333333*x", "unknown", "a rounded coefficient"),
    (EXPRESSION, r"\frac{x}{2}", "0.5*x", "low", "an exact one"),
    (EXPRESSION, r"\text{yes}", "True", "unknown", "a truth value is no expression"),
    (NUMBERS, "B", "21", "low", "the program's number is that choice"),
    (NUMBERS, "C", "21", "high", "the program's number is another choice"),
    (NUMBERS, "B", "22", "unknown", "the program's number is none of the choices"),
    (NUMBER, "84", "True", "unknown", "a truth value is no number"),
    (NUMBER, "84", "nan", "unknown", "nor is nan"),
]


@pytest.mark.parametrize(("answer", "values", "agree", "reason"), AGREEMENTS)
def test_agreement(answer: str, values: list[str], agree: int, reason: str) -> None:
    signal, _ = drive(case(answer, programs=len(values) - 1), *(value(text) for text in values))
    assert signal.details["agree"] == agree, reason
    assert signal.p_incorrect is not None
    assert (signal.p_incorrect < 0.5) is (agree * 2 > len(values)), reason


@pytest.mark.parametrize(("problem", "answer", "text", "verdict", "reason"), KINDS)
def test_kinds(problem: Problem, answer: str, text: str, verdict: str, reason: str) -> None:
    signal, _ = drive(case(answer, problem), value(text))
    p = signal.p_incorrect
    assert ("unknown" if p is None else "high" if p > 0.5 else "low") == verdict, reason


def test_the_reason_names_what_the_program_says_and_the_cost_is_told() -> None:
    signal, _ = drive(case("96"), value("84.0"))
    assert signal.verifier == "program" and signal.reason == "program says 84"
    assert signal.usage == Usage(prompt=100, generated=9)
    signal, _ = drive(case("96", programs=2), value("84"), value("96"), value("84"))
    assert signal.reason == "1 of 3 programs agree, 2 say 84"
    assert signal.details == {"programs": 3, "ran": 3, "agree": 1, "favourite": "84", "votes": 2}


def test_more_programs_that_disagree_say_more() -> None:
    doubts = [drive(case("1", programs=n - 1), *[value("2")] * n)[0].p_incorrect or 0 for n in (1, 3, 5)]
    assert doubts == sorted(set(doubts)) and doubts[-1] < 1


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        ((Ran("timeout", "the program ran for more than 2 s"),), "timeout: the program ran"),
        ((Ran("forbidden", "importing os (line 1)"),), "forbidden: importing os"),
        ((value("several"),), "its value is no answer: several"),
    ],
)
def test_programs_that_do_not_run_are_unknown(ran: tuple[Ran, ...], told: str) -> None:
    signal, _ = drive(case("84"), *ran)
    assert signal.p_incorrect is None and told in signal.reason
    assert signal.usage.generated == 9, "they cost all the same"


def test_those_that_run_speak_for_those_that_do_not() -> None:
    signal, _ = drive(case("84", programs=2), Ran("error", "ZeroDivisionError"), value("84"), Ran("memory", ""))
    assert signal.details["ran"] == 1 and signal.p_incorrect is not None and signal.p_incorrect < 0.5


def test_a_model_that_fails_is_unknown() -> None:
    signal, asked = drive(case("84"), replies=[EngineError("out of memory")])
    assert signal.p_incorrect is None and "out of memory" in signal.reason
    assert not any(isinstance(request, RunProgram) for request in asked)


@pytest.mark.parametrize(("problem", "answer"), [(WORDS, "B"), (NUMBER, None)])
def test_what_cannot_be_checked_costs_nothing(problem: Problem, answer: str | None) -> None:
    signal, asked = drive(case(answer, problem))
    assert signal.p_incorrect is None and signal.reason and not asked


def test_one_program_is_greedy_and_the_others_are_drawn() -> None:
    _, asked = drive(case("84", programs=3), *[value("84")] * 4)
    drawn = [request for request in asked if isinstance(request, Generate)]
    assert [request.sampling.temperature for request in drawn] == [0.0, 0.5, 0.5, 0.5]
    assert len({request.sampling.seed for request in drawn}) == 4
    assert [request.source for request in asked if isinstance(request, RunProgram)] == [
        "def solution():\n    return 12 * 7\n"
    ] * 4


@pytest.mark.parametrize("adapters", [{}, {"programmer": "p.gguf"}, {"verifier": "v.gguf"}])
def test_a_programmer_writes_them_where_there_is_one(adapters: dict[Role, str]) -> None:
    judged = case("84", programs=1)
    policy = msgspec.structs.replace(judged.policy, adapters=adapters)
    _, asked = drive(replace(judged, policy=policy), value("84"), value("84"))
    found = {request.adapter for request in asked if isinstance(request, Generate)}
    assert found == {"programmer" if "programmer" in adapters else None}


def test_all_problems_share_the_beginning_of_the_conversation() -> None:
    one, other = program_messages(NUMBER), program_messages(EXPRESSION)
    assert one[:-1] == other[:-1] and one[-1].content == NUMBER.question
    assert [turn.role for turn in one[:3]] == ["system", "user", "assistant"]


def test_the_worked_examples_run() -> None:
    sandbox = Sandbox(workers=1)
    programs = [source_of(turn.content) for turn in program_messages(NUMBER) if turn.role == "assistant"]
    values = [float(sandbox.run(program).text) for program in programs]
    sandbox.close()
    assert values == [pytest.approx(expected) for expected in EXAMPLE_VALUES]


EXAMPLE_VALUES = [10, 1320, 14, 171]


@pytest.mark.parametrize(
    ("reply", "source"),
    [
        (PREFIX + "    return 1\n```\nIt returns 1.", "def solution():\n    return 1\n"),
        (PREFIX + "    return 1", "def solution():\n    return 1"),
        ("Here:\n```\ndef solution(): return 1\n```", "def solution(): return 1\n"),
        ("def solution(): return 1", "def solution(): return 1"),
    ],
)
def test_the_program_of_a_reply(reply: str, source: str) -> None:
    assert source_of(reply) == source
