"""A turn on its way, with a scripted engine: what is told, in which order, and what is kept."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import pytest

from score_local.engine.protocol import Request, Score
from score_local.engine.scripted import Script, ScriptedEngine
from score_local.engine.steps import Steps
from score_local.errors import EngineDied, EngineError, HistoryError
from score_local.helpers import NO_HELPERS
from score_local.policy import Policy, Verify
from score_local.trace import Trace
from score_local.verifiers.calibration import NOTHING_KNOWN
from tui import session, turns, work
from tui.records import Turn
from tui.session import Began, Ended, Grew, News, Session, Told

TURN = Turn(id="t", conversation="c", question="What is 2 + 2?")
POLICY = Policy(verify=Verify(verifiers=("self",)))


class Run:
    """A session, what it posted, and what it saved."""

    def __init__(self, script: Script, rate: float = 0.0, save: Callable[[Turn], None] | None = None) -> None:
        self.engine = ScriptedEngine(script, rate=rate)
        self.inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.saved: list[Turn] = []
        self.session = Session(
            TURN, self._work, self.engine, NO_HELPERS, save=save or self.saved.append, post=self.inbox.put
        )

    def _work(self, tell: Callable[[Trace], None]) -> Steps[Trace]:
        return work.solving(turns.problem_of(TURN), POLICY, NOTHING_KNOWN, (), tell)

    def until(self, kind: type[News]) -> list[News]:
        heard = [self.inbox.get(timeout=20)]
        while not isinstance(heard[-1], kind):
            heard.append(self.inbox.get(timeout=20))
        return heard


def right(request: Request) -> str | tuple[float, ...]:
    return (-0.1, -3.0) if isinstance(request, Score) else "Step 1: 2 + 2 = 4\n\\boxed{4}"


def test_phases_are_told_and_kept_in_order() -> None:
    run = Run(right)
    news = run.until(Ended)
    assert [n.phase for n in news if isinstance(n, Began)] == ["solve", "verify"]
    assert "".join(n.text for n in news if isinstance(n, Grew)) == "Step 1: 2 + 2 = 4\n\\boxed{4}"
    last = news[-1]
    assert isinstance(last, Ended) and (last.turn.state, last.turn.answer, last.died) == ("done", "4", False)
    assert [phase.name for phase in last.turn.phases] == ["solve", "verify"] and run.saved[-1] == last.turn
    assert [len(turn.phases) for turn in run.saved] == sorted(len(turn.phases) for turn in run.saved)
    run.engine.close()


def test_pieces_are_gathered_until_the_last_is_shown() -> None:
    run = Run(lambda r: "word " * 400 + "\\boxed{4}" if not isinstance(r, Score) else (-0.1, -3.0), rate=400)
    first = run.until(Grew)[-1]
    time.sleep(0.2)
    assert run.inbox.empty(), "nobody has shown the first"
    run.session.shown()
    second = run.until(Grew)[-1]
    assert isinstance(first, Grew) and isinstance(second, Grew) and second.tokens > 10 > first.tokens
    rest = [n for n in run.until(Ended) if isinstance(n, Grew)]
    assert first.tokens + second.tokens + sum(n.tokens for n in rest) == 401
    run.engine.close()


def test_cancelled_within_a_micro_batch_and_what_was_written_is_kept() -> None:
    run = Run(lambda request: "word " * 1000, rate=100)
    run.until(Grew)
    began = time.monotonic()
    run.session.cancel()
    last = run.until(Ended)[-1]
    assert time.monotonic() - began < 2, "the whole reply takes 10 s; seconds are measured by speed.py"
    assert isinstance(last, Ended) and last.turn.state == "cancelled" and last.turn.phases[0].text.startswith("word")
    assert last.turn.phases[0].cut_off and run.saved[-1] == last.turn
    run.engine.close()


def test_what_a_phase_writes_is_kept_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "KEEP", 0.05)
    run = Run(right, rate=40)
    last = run.until(Ended)[-1]
    kept = [phase for turn in run.saved for phase in turn.phases if phase.cut_off]
    assert kept and all("Step 1: 2 + 2 = 4\n\\boxed{4}".startswith(phase.text) for phase in kept)
    assert isinstance(last, Ended) and not any(phase.cut_off for phase in last.turn.phases)
    run.engine.close()


@pytest.mark.parametrize(
    ("error", "died"), [(EngineDied("model.gguf: the engine died: boom"), True), (EngineError("too long"), False)]
)
def test_an_engine_that_fails_is_told(error: EngineError, died: bool) -> None:
    run = Run(lambda request: error)
    last = run.until(Ended)[-1]
    assert isinstance(last, Ended) and (last.turn.state, last.died) == ("failed", died)
    assert last.turn.error == str(error)
    run.engine.close()


def test_a_history_that_cannot_be_written_stops_nothing() -> None:
    def full(turn: Turn) -> None:
        raise HistoryError("the disk is full", "history.db")

    run = Run(right, save=full)
    news = run.until(Ended)
    last = news[-1]
    assert isinstance(last, Ended) and last.turn.answer == "4"
    assert any(isinstance(n, Told) and "disk is full" in n.text for n in news)
    run.engine.close()


def test_a_bug_ends_the_turn_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> str:
        return (
            "\\boxed{4}" if not isinstance(request, Score) else "no scores"
        )  # Scores without choices: unpacking fails

    run = Run(broken)
    last = run.until(Ended)[-1]
    assert isinstance(last, Ended) and last.turn.state == "failed" and "ValueError" in last.turn.error
    assert "Traceback" in caplog.text, "the traceback is in the log"
    run.engine.close()
