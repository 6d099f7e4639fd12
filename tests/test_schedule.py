"""Many loops over one engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from score_local.engine.protocol import Completion, Generate, Message, Request
from score_local.engine.scripted import ScriptedEngine
from score_local.engine.steps import Steps, ask_all, generate, immediately
from score_local.errors import Cancelled, EngineError
from score_local.schedule import Event, PhaseBegan, PhaseEnded, Scheduler, Token


def say(text: str) -> Generate:
    return Generate((Message("user", text),))


def echo(request: Request) -> str:
    return f"you said {request.messages[-1].content}"


def talk(name: str, turns: int) -> Steps[list[str]]:
    heard = []
    for turn in range(turns):
        heard.append((yield from generate(say(f"{name}{turn}"))).text)
    return heard


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    scripted = ScriptedEngine(echo, capacity=3)
    yield scripted
    scripted.close()


def test_every_loop_gets_its_own_replies(engine: ScriptedEngine) -> None:
    names = [f"loop{i}-" for i in range(20)]
    results = dict(Scheduler[list[str]](engine).run((name, talk(name, 3)) for name in names))
    assert results == {name: [f"you said {name}{turn}" for turn in range(3)] for name in names}


def test_loops_are_started_only_when_there_is_room(engine: ScriptedEngine) -> None:
    started = []

    def loops() -> Iterator[tuple[str, Steps[list[str]]]]:
        for i in range(10):
            started.append(i)
            yield str(i), talk(str(i), 1)

    running = Scheduler[list[str]](engine).run(loops())
    next(running)
    assert len(started) <= 3 + 3, "not all at once"
    running.close()


def test_lists_run_side_by_side_and_keep_their_order(engine: ScriptedEngine) -> None:
    def many() -> Steps[list[str]]:
        replies = yield from ask_all([say(str(i)) for i in range(7)])
        return [reply.text for reply in replies if isinstance(reply, Completion)]

    assert dict(Scheduler[list[str]](engine).run([("x", many())])) == {"x": [f"you said {i}" for i in range(7)]}


def test_a_loop_that_asks_nothing_ends_at_once(engine: ScriptedEngine) -> None:
    assert list(Scheduler[int](engine).run([("a", immediately(1)), ("b", immediately(2))])) == [("a", 1), ("b", 2)]


def test_an_error_reaches_the_loop_that_asked() -> None:
    engine = ScriptedEngine(lambda request: EngineError("broken"))

    def careful() -> Steps[str]:
        try:
            yield from generate(say("x"))
        except EngineError as error:
            return f"caught {error}"
        return "no error"

    assert list(Scheduler[str](engine).run([("x", careful())])) == [("x", "caught broken")]
    engine.close()


def test_events_come_in_order_on_the_callers_thread(engine: ScriptedEngine) -> None:
    events: list[tuple[Event, threading.Thread]] = []
    scheduler = Scheduler[list[str]](engine, observer=lambda e: events.append((e, threading.current_thread())))
    list(scheduler.run([("x", talk("a", 1))]))
    assert {thread for _, thread in events} == {threading.current_thread()}
    kinds = [type(event) for event, _ in events]
    assert kinds[0] is PhaseBegan and kinds[-1] is PhaseEnded and set(kinds[1:-1]) == {Token}
    assert "".join(e.text for e, _ in events if isinstance(e, Token)) == "you said a0"


def test_stop_finishes_what_runs_and_starts_no_more(engine: ScriptedEngine) -> None:
    scheduler = Scheduler[list[str]](engine)
    ended = []
    for key, _ in scheduler.run((str(i), talk(str(i), 2)) for i in range(50)):
        ended.append(key)
        scheduler.stop()
    assert 1 <= len(ended) <= 6


def test_abort_cancels_what_runs() -> None:
    engine = ScriptedEngine(lambda request: "word " * 1000, rate=100)
    heard: list[Event] = []
    scheduler = Scheduler[str](engine, observer=heard.append)
    threading.Timer(0.2, scheduler.abort).start()

    def long() -> Steps[str]:
        return (yield from generate(say("x"))).text

    assert list(scheduler.run([("x", long())])) == []
    engine.close()  # would wait ten seconds had the request not been cancelled


def test_a_cancelled_request_says_so() -> None:
    engine = ScriptedEngine(lambda request: "word " * 1000, rate=100, capacity=1)
    replies: list[object] = []

    class Ear:
        def token(self, text: str) -> None: ...
        def done(self, reply: object) -> None:
            replies.append(reply)

    engine.submit(say("x"), Ear())()
    engine.close()
    assert isinstance(replies[0], Cancelled)


def test_a_bug_in_a_loop_is_not_swallowed(engine: ScriptedEngine) -> None:
    def buggy() -> Steps[str]:
        yield from generate(say("x"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(Scheduler[str](engine).run([("x", buggy())]))
