"""A judge that is down, slow or silent holds up nobody."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from score_local.engine.judge import GuardedEngine, ToJudge
from score_local.engine.protocol import Completion, Generate, Listener, Message, Reply, Request, Score, Scores
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import Cancelled, EngineError, TooLong

QUESTION = Score((Message("user", "Is it right?"),), ("Yes", "No"))


class Ear:
    def __init__(self) -> None:
        self.replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def token(self, text: str) -> None: ...

    def done(self, reply: Reply) -> None:
        self.replies.put(reply)


class SilentEngine:
    """Takes requests and says nothing until it is cancelled, or told to."""

    capacity = 3

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.cancelled = threading.Event()

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return self.cancelled.set

    def close(self) -> None: ...


def ask(engine: GuardedEngine, request: Request = QUESTION) -> Reply:
    ear = Ear()
    engine.submit(request, ear)
    return ear.replies.get(timeout=10)


def test_an_answer_passes_through() -> None:
    engine = GuardedEngine(ScriptedEngine(lambda request: (-0.1, -3.0), capacity=2))
    reply = ask(engine)
    assert isinstance(reply, Scores) and reply.logprobs == (-0.1, -3.0) and engine.capacity == 2
    engine.close()


def test_text_passes_through() -> None:
    engine = GuardedEngine(ScriptedEngine(lambda request: "one two"))
    reply = ask(engine, Generate((Message("user", "Count."),)))
    assert isinstance(reply, Completion) and reply.text == "one two"
    engine.close()


def test_a_slow_engine_is_cancelled_and_its_late_answer_dropped() -> None:
    silent, ear = SilentEngine(), Ear()
    engine = GuardedEngine(silent, limit=0.05)
    engine.submit(QUESTION, ear)
    reply = ear.replies.get(timeout=10)
    assert isinstance(reply, EngineError) and "0.05 seconds" in str(reply)
    assert silent.cancelled.wait(10)
    silent.listeners[0].done(Scores((-0.1, -3.0)))
    assert ear.replies.empty()


def test_an_engine_that_is_down_is_left_alone_for_a_while_and_then_tried_again() -> None:
    down = [True]
    scripted = ScriptedEngine(lambda request: EngineError("refused") if down[0] else (-0.1, -3.0))
    engine = GuardedEngine(scripted, failures=2, rest=0.3)
    assert [str(ask(engine)) for _ in range(2)] == ["refused", "refused"]
    resting = ask(engine)
    assert isinstance(resting, EngineError) and "2 times in a row: refused" in str(resting)
    assert len(scripted.requests) == 2, "it was not asked"
    down[0] = False
    time.sleep(0.35)
    assert isinstance(ask(engine), Scores)
    down[0] = True
    assert str(ask(engine)) == "refused", "one failure after a success is one"
    assert str(ask(engine)) == "refused"
    engine.close()


def test_an_engine_still_down_after_its_rest_rests_again_at_once() -> None:
    scripted = ScriptedEngine(lambda request: EngineError("refused"))
    engine = GuardedEngine(scripted, failures=2, rest=0.1)
    for _ in range(2):
        ask(engine)
    time.sleep(0.15)
    ask(engine)
    assert "in a row" in str(ask(engine)) and len(scripted.requests) == 3
    engine.close()


def test_what_was_cancelled_is_no_failure() -> None:
    silent = SilentEngine()
    engine = GuardedEngine(silent, failures=1)
    ear = Ear()
    cancel = engine.submit(QUESTION, ear)
    cancel()
    assert silent.cancelled.is_set()
    silent.listeners[0].done(Cancelled("cancelled"))
    assert isinstance(ear.replies.get(timeout=1), Cancelled)
    engine.submit(QUESTION, ear)
    assert len(silent.listeners) == 2


def test_questions_that_are_too_long_are_no_failures_of_the_judge() -> None:
    replies = iter([EngineError("refused"), TooLong("too long"), TooLong("too long"), (-0.1, -3.0)])
    engine = GuardedEngine(ScriptedEngine(lambda request: next(replies)), failures=2)
    assert [str(ask(engine)) for _ in range(3)] == ["refused", "too long", "too long"]
    assert isinstance(ask(engine), Scores), "it is asked as before"
    engine.close()


def test_a_question_for_the_judge_keeps_its_phase() -> None:
    assert ToJudge(QUESTION).phase == "verify"
