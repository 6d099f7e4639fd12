"""An engine with a memory: what was asked is not asked again, and what is on record survives a kill."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from score_local.append_only import AppendOnly
from score_local.engine.protocol import (
    Completion,
    Engine,
    Finish,
    Generate,
    Listener,
    Message,
    Reply,
    Request,
    Sampling,
    Score,
    Usage,
)
from score_local.engine.recorded import RecordedEngine
from score_local.engine.reply_record import Identity, ReplyRecord
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import Cancelled, EngineError, ModelError, RunError

WHO = Identity(model="m.gguf", sha256="ab" * 32, context=2048)


class Manual:
    """An engine that replies when it is told to."""

    capacity = 4

    def __init__(self) -> None:
        self.asked: list[tuple[Request, Listener]] = []
        self.cancelled = 0
        self.closed = False

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        self.asked.append((request, listener))

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    def close(self) -> None:
        self.closed = True


class Ear:
    """Hears of one request."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def token(self, text: str) -> None:
        self.pieces.append(text)

    def done(self, reply: Reply) -> None:
        self.replies.put(reply)

    def hear(self) -> Reply:
        return self.replies.get(timeout=10)


def recorded(path: Path, engine: Engine, identity: Identity = WHO) -> RecordedEngine:
    return RecordedEngine(lambda: engine, ReplyRecord(path / "replies.jsonl", identity), capacity=8)


def ask(engine: Engine, request: Request) -> Reply:
    ear = Ear()
    engine.submit(request, ear)
    return ear.hear()


def question(text: str = "?", **others: object) -> Generate:
    return replace(Generate((Message("user", text),)), **others)  # type: ignore[arg-type]


def script(request: Request) -> str | tuple[float, ...] | EngineError:
    if isinstance(request, Score):
        return tuple(-float(len(choice)) for choice in request.choices)
    text = request.messages[-1].content
    return EngineError("no room") if text == "fail" else f"answer to {text} by {request.adapter}"


def test_what_was_asked_is_answered_from_the_record(tmp_path: Path) -> None:
    requests = [question("a"), question("b"), Score((Message("user", "a"),), ("Yes", "No"))]
    with_model = recorded(tmp_path, ScriptedEngine(script))
    first = [ask(with_model, request) for request in requests]
    again = [ask(with_model, request) for request in requests]
    with_model.close()

    def none() -> Engine:
        raise AssertionError("the engine is not opened where everything is on record")

    without = RecordedEngine(none, ReplyRecord(tmp_path / "replies.jsonl", WHO), capacity=1)
    assert [ask(without, request) for request in requests] == first == again
    assert (with_model.asked, without.asked) == (3, 0)
    without.close()


def test_a_reply_is_kept_to_the_last_digit(tmp_path: Path) -> None:
    reply = Completion("½ é\u2028", (1, 2), (-0.1 / 3, float("-1e-300")), "loop", Usage(10, 3, 2, 0.123456789012345678))
    for _ in range(2):
        manual = Manual()
        engine, ear = recorded(tmp_path, manual), Ear()
        engine.submit(question(), ear)
        for _, listener in manual.asked:
            listener.done(reply)
        assert ear.hear() == reply
        engine.close()


ANOTHER = [
    question("other"),
    replace(question(), messages=(Message("system", "?"),)),
    replace(question(), messages=(Message("user", "?"), Message("user", "?"))),
    question(adapter="cd" * 32),
    question(prefix="def "),
    question(thinking=True),
    question(sampling=Sampling(stop=("x",))),
    question(sampling=Sampling(loop_window=0)),
    question(sampling=Sampling(temperature=0.7)),
    question(sampling=Sampling(temperature=0.7, seed=1)),
    question(sampling=Sampling(temperature=0.7, top_k=3)),
    question(sampling=Sampling(temperature=0.7, top_p=0.5)),
    question(sampling=Sampling(temperature=0.7, min_p=0.5)),
    Score((Message("user", "?"),), ("Yes", "No")),
    Score((Message("user", "?"),), ("No", "Yes")),
    Score((Message("user", "?"),), ("Yes", "No"), adapter="cd" * 32),
]
SAME = [
    question(phase="sample"),
    question(sampling=Sampling(seed=5, top_k=1, top_p=0.1, min_p=0.3)),  # greedy: neither seed nor cuts matter
    replace(question(), messages=(Message("user", "?", tokens=(1, 2, 3)),)),
]


def test_whatever_changes_a_reply_is_another_question(tmp_path: Path) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script))
    for count, request in enumerate([question(), *ANOTHER], 1):
        ask(engine, request)
        assert engine.asked == count, request
    for request in SAME:
        ask(engine, request)
    assert engine.asked == 1 + len(ANOTHER)
    engine.close()


@pytest.mark.parametrize(
    ("finish", "generated", "limit", "served"),
    [
        ("stop", 20, 100, True),  # it ended before
        ("stop", 20, 21, True),
        ("stop", 20, 20, False),  # with this limit it would have ended for want of room
        ("stop", 20, 5, False),
        ("loop", 20, 30, True),
        ("length", 50, 50, True),
        ("length", 50, 51, False),
        ("length", 20, 50, True),  # the context was full: the very request that was asked
        ("length", 20, 30, False),
    ],
)
def test_a_reply_that_ended_of_itself_serves_other_limits(
    tmp_path: Path, finish: Finish, generated: int, limit: int, served: bool
) -> None:
    for _ in range(2):  # as it was heard, and as it was read again
        manual, ear = Manual(), Ear()
        engine = recorded(tmp_path, manual)
        engine.submit(question(sampling=Sampling(max_tokens=50)), ear)
        for _, listener in manual.asked:
            listener.done(Completion("a", finish=finish, usage=Usage(generated=generated)))
        before = engine.asked
        engine.submit(question(sampling=Sampling(max_tokens=limit)), ear)
        assert (engine.asked == before) == served
        engine.close()


def test_failures_are_not_recorded(tmp_path: Path) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script))
    for _ in range(2):
        assert isinstance(ask(engine, question("fail")), EngineError)
    assert engine.asked == 2 and (tmp_path / "replies.jsonl").read_bytes().count(b"\n") == 1
    engine.close()


def test_the_same_question_in_flight_is_asked_once(tmp_path: Path) -> None:
    manual, ears = Manual(), [Ear(), Ear(), Ear()]
    engine = recorded(tmp_path, manual)
    for ear in ears:
        engine.submit(question(), ear)
    ((_, listener),) = manual.asked
    listener.token("a")
    listener.done(Completion("a"))
    assert [ear.hear() for ear in ears] == [Completion("a")] * 3
    assert [ear.pieces for ear in ears] == [["a"]] * 3
    engine.close()
    assert manual.closed


def test_one_who_leaves_leaves_the_others_alone(tmp_path: Path) -> None:
    manual, first, second = Manual(), Ear(), Ear()
    engine = recorded(tmp_path, manual)
    cancels = [engine.submit(question(), ear) for ear in (first, second)]
    cancels[0]()
    assert isinstance(first.hear(), Cancelled) and manual.cancelled == 0
    cancels[0]()
    cancels[1]()
    assert isinstance(second.hear(), Cancelled) and manual.cancelled == 1
    third = Ear()
    engine.submit(question(), third)  # asked anew: the first asking was cancelled
    (_, old), (_, new) = manual.asked
    old.done(Cancelled("cancelled"))
    new.done(Completion("a"))
    assert third.hear() == Completion("a") and first.replies.empty() and second.replies.empty()
    engine.close()


def test_a_reply_that_comes_in_spite_of_cancelling_is_kept(tmp_path: Path) -> None:
    manual, ear = Manual(), Ear()
    engine = recorded(tmp_path, manual)
    engine.submit(question(), ear)()
    manual.asked[0][1].done(Completion("a"))
    assert ask(engine, question()) == Completion("a") and engine.asked == 1
    engine.close()


def test_many_threads_ask_each_question_once(tmp_path: Path) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script, capacity=4))
    ears = [Ear() for _ in range(400)]
    work = [(question(str(i % 20)), ear) for i, ear in enumerate(ears)]
    threads = [
        threading.Thread(target=lambda part: [engine.submit(*w) for w in part], args=(work[k::8],)) for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.text for ear in ears if isinstance(reply := ear.hear(), Completion)} == {
        f"answer to {i} by None" for i in range(20)
    }
    assert engine.asked == 20
    engine.close()


def test_an_engine_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    def broken() -> Engine:
        raise ModelError("no such model file", "m.gguf")

    engine = RecordedEngine(broken, ReplyRecord(tmp_path / "replies.jsonl", WHO), capacity=1)
    with pytest.raises(ModelError, match="no such model"):
        engine.submit(question(), Ear())
    engine.close()


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        (Identity("m.gguf", "cd" * 32, 2048), "another model: m.gguf, 2048 tokens"),
        (Identity("m.gguf", "ab" * 32, 1024), "another context"),
        (Identity("m.gguf", "cd" * 32, 1024), "another model and context"),
    ],
)
def test_the_record_of_another_model_is_refused(tmp_path: Path, identity: Identity, named: str) -> None:
    recorded(tmp_path, Manual()).close()
    with pytest.raises(RunError, match=named):
        recorded(tmp_path, Manual(), identity)
    recorded(tmp_path, Manual(), Identity("renamed.gguf", "ab" * 32, 2048)).close()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"garbage",
        b"\xff",
        b'{"type":"completion","key":"\xff","limit":1,"reply":{"text":""}}',
        b"{}",
        b'{"type":"completion","key":"x","limit":1,"reply":{}}',
        b'{"type":"x","key":"x"}',
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script))
    ask(engine, question())
    engine.close()
    with (tmp_path / "replies.jsonl").open("ab") as file:
        file.write(damage + b"\n")
    with pytest.raises(RunError, match=r"replies\.jsonl:3: damaged line.*Delete that line"):
        recorded(tmp_path, Manual())


@pytest.mark.parametrize("line", [b'{"id":"1","question":"?"}\n', b'{"model":"\xff","sha256":"","context":1}\n'])
def test_a_file_that_is_no_record_is_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_bytes(line)
    with pytest.raises(RunError, match="does not say whose replies"):
        recorded(tmp_path, Manual())


def test_half_a_line_is_asked_again(tmp_path: Path) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script))
    for text in "ab":
        ask(engine, question(text))
    engine.close()
    path = tmp_path / "replies.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    engine = recorded(tmp_path, ScriptedEngine(script))
    for text in "ab":
        ask(engine, question(text))
    assert engine.asked == 1 and path.read_bytes().count(b"\n") == 3
    engine.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    engine = recorded(tmp_path, Manual())
    with pytest.raises(RunError, match="another process is writing it"):
        recorded(tmp_path, Manual())
    engine.close()
    recorded(tmp_path, Manual()).close()


def test_a_full_disk_ends_the_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = recorded(tmp_path, ScriptedEngine(script))
    assert ask(engine, question("a")) == Completion("answer to a by None", usage=Usage(1, 0, 5, 5e-9))

    def full(self: AppendOnly, line: bytes) -> None:
        raise RunError("cannot be written: No space left on device", str(self.path))

    monkeypatch.setattr(AppendOnly, "append", full)
    assert "No space left" in str(ask(engine, question("b")))
    assert engine.trouble and "No space left" in str(ask(engine, question("c")))
    assert isinstance(ask(engine, question("a")), Completion), "what is on record is still served"
    assert engine.asked == 2
    engine.close()


WRITER = """
import sys
from pathlib import Path
from score_local.engine.protocol import Generate, Message
from score_local.engine.recorded import RecordedEngine
from score_local.engine.reply_record import Identity, ReplyRecord
from score_local.engine.scripted import ScriptedEngine

class Ear:
    def token(self, text): ...
    def done(self, reply): ...

engine = RecordedEngine(
    lambda: ScriptedEngine(lambda request: "x" * 3000, rate=float(sys.argv[2])),
    ReplyRecord(Path(sys.argv[1]), Identity("m.gguf", "ab" * 32, 2048)), 4)
for i in range(200):
    engine.submit(Generate((Message("user", str(i)),)), Ear())
engine.close()
print("asked", engine.asked)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_9_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"

    def start(rate: int) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(rate)], stdout=subprocess.PIPE, text=True)

    def on_record() -> int:
        return path.read_bytes().count(b"\n") - 1 if path.exists() else 0

    for wanted in (20, 60, 100):
        process, deadline = start(100), time.monotonic() + 30
        while on_record() < wanted:
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.005)
        process.kill()
        process.communicate()
    before = on_record()
    told, _ = start(0).communicate(timeout=60)
    assert told.endswith(f"asked {200 - before}\n") and on_record() == 200
