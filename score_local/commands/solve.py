"""`score-local solve`: one problem, streaming. The reasoning goes to stderr, the answer to stdout."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

import msgspec

from score_local.commands import setup
from score_local.commands.interrupts import interrupts
from score_local.commands.visible import visible
from score_local.errors import InputError
from score_local.methods import attempt
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem
from score_local.schedule import Event, PhaseBegan, Scheduler, Token
from score_local.trace import Round, Trace

TITLES = {"solve": "Solution", "refine": "Refinement"}


def run(options: argparse.Namespace) -> int:
    problem, setting = _problem(options), setup.setting_of(options)
    parallel = min(int(options.parallel), max(2, setup.width_of(setting.policy)))
    with (
        closing(setup.helpers_of(setting.policy)) as helpers,
        closing(setup.engine_of(options, setting, parallel)) as engine,
    ):
        scheduler: Scheduler[Trace] = Scheduler(engine, _show, helpers)
        with interrupts(scheduler.abort, scheduler.abort, "cancelled"):
            ended = list(scheduler.run([(problem.id, attempt(problem, setting.policy, setting.trust))]))
    if not ended:
        return 130
    return _tell(ended[0][1], bool(options.json))


def _problem(options: argparse.Namespace) -> Problem:
    question = _question(options.question).strip()
    if not question:
        raise InputError("the question is empty", "QUESTION", 'For example: score-local solve "What is 12 x 7?"')
    choices = tuple(_argument(choice, "--choice") for choice in options.choice)
    if len(choices) == 1 or len(choices) > len(CHOICE_LETTERS):
        raise InputError(f"{len(choices)} choices", "--choice", f"Give from 2 to {len(CHOICE_LETTERS)}")
    kind: AnswerKind = options.kind or ("choice" if choices else "number")
    if (kind == "choice") != bool(choices):
        raise InputError("a choice question needs --choice, and no other takes it", "--kind", "Give both or neither")
    gold = options.answer and _argument(options.answer, "--answer")
    return Problem("question", question, gold, choices, kind)


def _question(text: str) -> str:
    return _text(sys.stdin.buffer.read(), "stdin") if text == "-" else _argument(text, "QUESTION")


def _argument(text: str, where: str) -> str:
    return _text(text.encode("utf-8", "surrogateescape"), where)  # as Python spells bytes that it could not read


def _text(raw: bytes, where: str) -> str:
    """Without a byte-order mark. Raises InputError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        raise InputError(what, where, "Give it as UTF-8 text") from error


def _show(event: Event) -> None:
    """Streams solution and refinement; samples are worked on side by side and only counted."""
    if isinstance(event, PhaseBegan) and event.phase in TITLES:
        print(f"-- {TITLES[event.phase]} --", file=sys.stderr)
    elif isinstance(event, Token) and event.phase in TITLES:
        print(visible(event.text), end="", file=sys.stderr, flush=True)
    elif not isinstance(event, (PhaseBegan, Token)) and event.phase in TITLES:
        print(file=sys.stderr)


def _tell(trace: Trace, as_json: bool) -> int:
    for round_ in trace.rounds:
        _tell_verdict(round_)
    if trace.error:
        print(f"score-local: failed: {trace.error}", file=sys.stderr)
    print(_origin(trace), file=sys.stderr)
    print(msgspec.json.encode(trace).decode() if as_json else trace.answer or "unknown")
    return 0 if trace.status == "solved" else 1


def _tell_verdict(round_: Round) -> None:
    verdict = "unknown" if round_.p_incorrect is None else f"P(incorrect) = {round_.p_incorrect:.2f}"
    print(f"-- Verdict: {verdict} --", file=sys.stderr)
    for signal in round_.signals:
        belief = "   ?" if signal.p_incorrect is None else f"{signal.p_incorrect:.2f}"
        print(f"  {signal.verifier:12} {belief}  {visible(signal.reason)}".rstrip(), file=sys.stderr)


def _origin(trace: Trace) -> str:
    usage = trace.usage
    source = "the first solution" if not trace.refined else "the refinement" if trace.method == "refine" else "the vote"
    cost = f"{usage.generated} tokens generated, {usage.reused} of {usage.prompt} prompt tokens reused"
    return f"-- Answer, from {source}; {cost} --"
