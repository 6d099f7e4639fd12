"""What a message is, and what is done for it: driven by lists, no engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from score_local import prompts
from score_local.engine.protocol import Completion, Generate, Message, Reply, Scores, Usage
from score_local.engine.steps import Steps
from score_local.errors import EngineError, InputError
from score_local.loop import self_correct
from score_local.policy import Policy, Refine, Verify, Vote
from score_local.problem import Problem
from score_local.trace import Attempt, Candidate, Round, Trace
from score_local.verifiers.calibration import NOTHING_KNOWN
from tui import turns, work
from tui.commands import command_of
from tui.records import Turn

PROBLEM = Problem("p", "What is 2 + 2?")
WRONG, RIGHT = Completion("\\boxed{5}"), Completion("Critique: no.\nCorrected solution:\n\\boxed{4}")
DOUBT, TRUST = Scores((-3.0, -0.1)), Scores((-0.1, -3.0))
SELF = Policy(verify=Verify(verifiers=("self",)))


def drive(steps: Steps[Any], replies: Sequence[Reply]) -> tuple[Any, list[Any]]:
    """The result, and what was asked. Every reply must be asked for."""
    asked, left = [], list(replies)
    try:
        requests = next(steps)
        while True:
            asked += requests
            requests = steps.send((left.pop(0),))
    except StopIteration as end:
        assert not left
        return end.value, asked


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("A box holds 12 eggs.", "problem", "A box holds 12 eggs."),
        ("How many legs does a spider have?", "problem", "How many legs does a spider have?"),
        ("Which is largest?\nA. sun\nB. moon", "problem", "Which is largest?\nA. sun\nB. moon"),
        ("hello, who are you?", "chat", "hello, who are you?"),
        ("/solve tell me", "problem", "tell me"),
        ("/chat what is 2 + 2?", "chat", "what is 2 + 2?"),
        ("/chat\nHow many eggs do 7 boxes of 12 hold?", "chat", "How many eggs do 7 boxes of 12 hold?"),
        ("/solve\ttell\nme", "problem", "tell\nme"),
        ("/open my\\ file.csv", "open", "my file.csv"),
        ("/open 'my file.csv'", "open", "my file.csv"),
        ("/usr/bin is a folder", "chat", "/usr/bin is a folder"),
        ("~5 eggs a box, 7 boxes: how many?", "problem", "~5 eggs a box, 7 boxes: how many?"),
        ("/open ~nobody-here/my.csv", "open", "~nobody-here/my.csv"),
        (f"say {'x' * 300}.txt", "chat", f"say {'x' * 300}.txt"),
    ],
)
def test_what_a_message_is(text: str, kind: str, rest: str) -> None:
    assert command_of(text) == (kind, rest)


def test_a_dropped_file_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "some problems.jsonl"
    file.write_text("")
    for text in (f"'{file}'", str(file).replace(" ", "\\ "), file.as_uri()):
        assert command_of(text) == ("open", str(file))
    assert command_of(str(tmp_path / "none.jsonl")).kind != "open"


@pytest.mark.parametrize("text", ["/sing", "/solve", "/open  "])
def test_a_command_that_cannot_be_done_is_told(text: str) -> None:
    with pytest.raises(InputError):
        command_of(text)


@pytest.mark.parametrize(
    ("question", "kind", "choices"),
    [
        ("What is 2 + 2?", "number", ()),
        ("Largest?\nA. sun\nB) moon", "choice", ("sun", "moon")),
        ("Largest?\nA. sun\nC. moon", "number", ()),
        ("Simplify \\frac{2}{4}.", "expression", ()),
    ],
)
def test_how_a_problem_is_read(question: str, kind: str, choices: tuple[str, ...]) -> None:
    problem = turns.problem_of(Turn(id="t", conversation="c", question=question))
    assert (problem.kind, problem.choices) == (kind, choices)


@pytest.mark.parametrize("when", ["gated", "always", "never"])
@pytest.mark.parametrize("verdict", [DOUBT, TRUST])
def test_in_steps_it_comes_to_what_the_loop_comes_to(when: str, verdict: Scores) -> None:
    policy = msgspec.structs.replace(SELF, refine=Refine(when=when, rounds=2))  # type: ignore[arg-type]

    def script(request: object) -> Reply:
        if not isinstance(request, Generate):
            return verdict
        return RIGHT if request.phase == "refine" else WRONG

    def run(steps: Steps[Trace]) -> Trace:
        try:
            requests = next(steps)
            while True:
                requests = steps.send(tuple(script(request) for request in requests))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    told: list[Trace] = []
    trace = run(work.solving(PROBLEM, policy, NOTHING_KNOWN, (), told.append))
    assert trace == run(self_correct(PROBLEM, policy))
    assert told[0].initial and not told[0].rounds, "the solution is told before the verdict"
    assert told[1].rounds[0].refinement is None, "the verdict before the refinement"


def test_a_failed_solution_and_a_failed_refinement() -> None:
    trace, _ = drive(work.solving(PROBLEM, SELF, NOTHING_KNOWN, (), lambda _: None), [EngineError("broken")])
    assert (trace.status, trace.error) == ("failed", "broken")
    replies = [WRONG, DOUBT, EngineError("broken")]
    trace, _ = drive(work.solving(PROBLEM, SELF, NOTHING_KNOWN, (), lambda _: None), replies)
    assert (trace.answer, trace.rounds[0].error) == ("5", "broken")


def test_what_the_person_wants_refined_is_refined() -> None:
    trusted, _ = drive(work.solving(PROBLEM, SELF, NOTHING_KNOWN, (), lambda _: None), [WRONG, TRUST])
    once, asked = drive(work.refining(PROBLEM, trusted, SELF, (), hint="count"), [RIGHT])
    assert asked[0].messages[-1].content.endswith("count") and asked[0].messages[-2].content == "\\boxed{5}"
    assert (once.answer, once.refined, len(once.rounds)) == ("4", True, 1) and once.rounds[0].signals
    again, asked = drive(work.refining(PROBLEM, once, SELF, ()), [WRONG])
    assert len(again.rounds) == 2 and again.answer == "5" and asked[0].messages[-2].content == "\\boxed{4}"


VOTED = Trace(
    id="p",
    question="?",
    gold="4",
    method="majority",
    initial=Attempt("it is 5", "5", usage=Usage(generated=3)),
    candidates=(
        Candidate("initial", "5", 1.0),
        Candidate("program", "7", 1.0),
        Candidate("sample", "7", 1.0, "it is 7"),
        Candidate("program", "8", 1.0),
    ),
    answer="7",
    initial_answer="5",
    refined=True,
    status="solved",
    initial_correct=False,
    final_correct=False,
    usage=Usage(generated=9),
)


@pytest.mark.parametrize("reply", [EngineError("broken"), Completion("Critique: no.", usage=Usage(generated=2))])
def test_a_refinement_that_holds_no_answer_leaves_the_one_that_stands(reply: Reply) -> None:
    grown, _ = drive(work.refining(PROBLEM, VOTED, SELF, ()), [reply])
    assert msgspec.structs.replace(grown, rounds=(), usage=VOTED.usage) == VOTED
    assert grown.rounds[0].error == ("broken" if isinstance(reply, EngineError) else "")
    assert grown.usage.generated == (9 if isinstance(reply, EngineError) else 11), "what failed cost nothing known"


def test_a_refinement_that_holds_an_answer_stands() -> None:
    failed, _ = drive(work.refining(PROBLEM, VOTED, SELF, ()), [EngineError("broken")])
    grown, _ = drive(work.refining(PROBLEM, failed, SELF, ()), [RIGHT])
    assert (grown.answer, grown.status, grown.final_correct) == ("4", "solved", True)
    assert len(grown.rounds) == 1 and not grown.rounds[0].error, "it was made after all"


SAMPLED = tuple(candidate for candidate in VOTED.candidates if candidate.source != "program")


@pytest.mark.parametrize(
    ("trace", "hint", "told", "why"),
    [
        (VOTED, "", "A program that was written for this question computes 7.", "the programs' answer won"),
        (VOTED, "count", "count", "the person's hint is the one"),
        (msgspec.structs.replace(VOTED, answer="5"), "", None, "the first answer won"),
        (msgspec.structs.replace(VOTED, answer=None), "", None, "none won"),
        (msgspec.structs.replace(VOTED, candidates=SAMPLED), "", None, "samples won: no program computes it"),
    ],
)
def test_a_refiner_is_told_what_won_a_vote(trace: Trace, hint: str, told: str | None, why: str) -> None:
    _, asked = drive(work.refining(PROBLEM, trace, SELF, (), hint=hint), [RIGHT])
    assert asked[0].messages[-2].content == "it is 5", "the only solution there is"
    request = asked[0].messages[-1].content
    assert request.endswith(f" {told}") if told else request == prompts.text("refine"), why


def test_a_vote_and_a_seed_are_policies() -> None:
    policy = work.with_vote(Policy(vote=Vote(samples=2)), 5)
    assert (policy.method, policy.vote.samples) == ("majority", 5)
    sampled = work.with_seed(Policy(), 7)
    assert sampled.seed == 7 and sampled.solve.temperature > 0 and sampled.solve.max_tokens == Policy().solve.max_tokens


def done(question: str, *, answer: str | None = None, reply: str = "", trace: Trace | None = None) -> Turn:
    return Turn(
        id=question + reply, conversation="c", question=question, reply=reply, answer=answer, trace=trace, state="done"
    )


def test_the_context_holds_the_latest_answers_that_fit() -> None:
    rounds = (Round(0.9, (), refinement=Attempt("it is 4", "4")),)
    trace = Trace(id="t", question="?", initial=Attempt("it is 5", "5"), rounds=rounds)
    before = [
        done("long ago", reply="x" * 900),
        done("same", reply="old"),
        done("2 + 2?", answer="4", trace=trace),
        done("same", reply="new"),
        msgspec.structs.replace(done("cut off"), state="cancelled"),
    ]
    context = turns.context_of(before, room=200)
    assert [message.content for message in context] == ["2 + 2?", "it is 4", "same", "new"]
    first = msgspec.structs.replace(before[2], answer="5")
    assert turns.context_of([first], 200)[1] == Message("assistant", "it is 5"), "the person kept the first answer"


def test_after_a_vote_the_model_is_told_what_won() -> None:
    turn = done("?", answer="7", trace=VOTED)
    assert turns.said(turn) == "it is 7"
    assert turns.said(msgspec.structs.replace(turn, answer="5")) == "it is 5"
    assert turns.said(msgspec.structs.replace(turn, answer="8")) == "The answer is 8.", "programs have no solution"


def attempts(first: str | None, *refined: str | None, decided: str | None) -> Trace:
    rounds = tuple(Round(0.9, (), refinement=Attempt("again", answer)) for answer in refined)
    return Trace(id="t", question="?", initial=Attempt("first", first), rounds=rounds, answer=decided)


@pytest.mark.parametrize(
    ("trace", "stands", "others"),
    [
        (attempts("5", "4", decided="4"), "4", ["5", "4"]),
        (attempts("5", "4", decided="5"), "5", ["4", "5"]),  # the gate was shut
        (attempts("5", None, decided="5"), "5", ["5"]),
        (attempts("5", "4", None, decided="4"), "4", ["5", "4"]),
        (attempts("5", "4", "5", decided="5"), "5", ["4", "5"]),
        (attempts(None, "4", decided="4"), "4", ["4"]),
        (attempts(None, "4", decided=None), None, ["4", "4"]),
        (attempts(None, None, decided=None), None, [None]),
        (VOTED, "7", ["5", "7", "5"]),
    ],
)
def test_the_first_answer_is_kept_and_the_other_brought_back(
    trace: Trace, stands: str | None, others: list[str | None]
) -> None:
    turn = done("?", answer=stands, trace=trace)
    for other in others:
        turn = msgspec.structs.replace(turn, answer=turns.other_answer(turn))
        assert turn.answer == other


def test_what_the_person_chose_stands_until_another_answer_is_found() -> None:
    turn = done("?", answer="5", trace=VOTED)
    broken, _ = drive(work.refining(PROBLEM, VOTED, SELF, ()), [EngineError("broken")])
    again, _ = drive(work.refining(PROBLEM, VOTED, SELF, ()), [Completion("\\boxed{7}")])
    assert turns.standing_answer(turn, broken) == "5"
    assert turns.standing_answer(turn, again) == "7"
    assert turns.standing_answer(done("?", trace=attempts("5", decided="5")), VOTED) == "7", "of a vote that ended"
