"""An engine that answers from a record what was asked before, and asks another engine only what was not.

    replies.jsonl   a line that says whose replies they are, then one line a reply, appended as each comes

So programs that ask the same questions share the answers, whatever order they run in, and a run that was killed loses
only what was in flight. Failures are not recorded. What a reply cost is recorded with it, so each program's own cost
stays right. Whose the adapters are is not known here: name them by the SHA-256 of their files.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from score_local.append_only import AppendOnly, whole_lines, write_error
from score_local.engine.protocol import Completion, Engine, Generate, Listener, Reply, Request, Sampling, Score, Scores
from score_local.errors import Cancelled, EngineError, RunError


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose replies they are: the model's file, whatever its name, and how many tokens a sequence held."""

    model: str
    sha256: str
    context: int
    version: int = 1


class _Completion(msgspec.Struct, tag="completion"):
    key: str
    reply: Completion


class _Scores(msgspec.Struct, tag="scores"):
    key: str
    reply: Scores


_LINE = msgspec.json.Decoder(_Completion | _Scores)


class RecordedEngine:
    """Serves what `path` holds, and what it does not through the engine that `open_engine` gives, opened when needed.

    Identical requests in flight are asked once; whoever joins late misses the pieces of text that have come already.
    `capacity` is the caller's to choose: most loops may be waiting for the same reply. `asked` counts what the record
    did not hold; `trouble` is why a reply could not be recorded. Raises RunError where the record is of another model,
    damaged, or being written by another process.
    """

    def __init__(self, open_engine: Callable[[], Engine], path: Path, identity: Identity, capacity: int) -> None:
        self._open_engine, self._capacity = open_engine, capacity
        self._whose, self._lock = (identity.sha256, identity.context), _locked(path)
        try:
            lines = whole_lines(path)
            self._lines = _by_key(lines, identity, path)
            self._file = AppendOnly(path)
            if not lines:
                self._file.append(msgspec.json.encode(identity))
        except BaseException:
            self._lock.release()
            raise
        self._engine: Engine | None = None
        self._in_flight: dict[str, _Question] = {}
        self._guard, self._opening = threading.Lock(), threading.Lock()
        self.asked = 0
        self.trouble: RunError | None = None

    @property
    def capacity(self) -> int:
        return self._capacity

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        """Raises what opening the engine raises. Once a reply could not be recorded, all that is not on record fails: a
        run must not go on that cannot be continued."""
        key = self._key(request)
        with self._guard:
            line, question = self._lines.get(key), self._in_flight.get(key)
            new = line is None and question is None
            if new and not self.trouble:
                question = self._in_flight[key] = _Question(partial(self._answered, key))
            if question:
                question.listeners.append(listener)
        if question is None:
            listener.done(_reply_of(line) if line else EngineError(str(self.trouble)))
            return lambda: None
        if new:
            question.cancel = self._ask(request, question)
        return partial(self._leave, key, question, listener)

    def close(self) -> None:
        if self._engine:
            self._engine.close()
        self._file.close()
        self._lock.release()

    def _ask(self, request: Request, question: _Question) -> Callable[[], None]:
        with self._opening:
            self._engine = self._engine or self._open_engine()
        self.asked += 1
        return self._engine.submit(request, question)

    def _answered(self, key: str, question: _Question, reply: Reply) -> None:
        """Records the reply, then hands it to whoever waits for it."""
        with self._guard:
            if self._in_flight.get(key) is question:
                del self._in_flight[key]
            listeners, question.listeners = question.listeners, []
            if not isinstance(reply, EngineError) and key not in self._lines:
                reply = self._record(key, reply)
        for listener in listeners:
            listener.done(reply)

    def _record(self, key: str, reply: Completion | Scores) -> Reply:
        line = msgspec.json.encode(_Scores(key, reply) if isinstance(reply, Scores) else _Completion(key, reply))
        try:
            self._file.append(line)
        except RunError as error:
            self.trouble = error
            return EngineError(str(error))
        self._lines[key] = line
        return reply

    def _leave(self, key: str, question: _Question, listener: Listener) -> None:
        """A listener is no longer interested; where nobody is, the engine is told."""
        with self._guard:
            if listener not in question.listeners:
                return
            question.listeners.remove(listener)
            deserted = not question.listeners
            if deserted:
                del self._in_flight[key]
        listener.done(Cancelled("cancelled"))
        if deserted:
            question.cancel()

    def _key(self, request: Request) -> str:
        return hashlib.sha256(msgspec.json.encode((self._whose, *_asked(request)))).hexdigest()


class _Question:
    """A request in flight, and all who wait for its reply."""

    def __init__(self, answered: Callable[[_Question, Reply], None]) -> None:
        self._answered = answered
        self.listeners: list[Listener] = []
        self.cancel: Callable[[], None] = lambda: None

    def token(self, text: str) -> None:
        for listener in tuple(self.listeners):
            listener.token(text)

    def done(self, reply: Reply) -> None:
        self._answered(self, reply)


def _asked(request: Request) -> tuple[object, ...]:
    """All of a request that its reply hangs on. An assistant turn's token ids come from the replies before it."""
    turns = [(message.role, message.content) for message in request.messages]
    if isinstance(request, Score):
        return "score", turns, request.adapter, request.choices
    return "generate", turns, request.adapter, astuple(_effective(request)), request.prefix, request.thinking


def _effective(request: Generate) -> Sampling:
    """The sampling without what does not matter: greedy decoding has no seed and makes no cuts."""
    sampling = request.sampling
    if sampling.temperature > 0:
        return sampling
    return replace(sampling, temperature=0.0, seed=0, top_k=0, top_p=1.0, min_p=0.0)


def _reply_of(line: bytes) -> Reply:
    reply: Completion | Scores = _LINE.decode(line).reply
    return reply


def _locked(path: Path) -> FileLock:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError("another process is writing it", str(path), "Wait for it, or choose another place") from error
    except OSError as error:
        raise write_error(path, error) from error
    return lock


def _by_key(lines: Sequence[bytes], identity: Identity, path: Path) -> dict[str, bytes]:
    """The lines of replies by what was asked. Raises RunError, for damage with the line's number."""
    if lines:
        _require(identity, lines[0], path)
    found = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            found[_LINE.decode(line).key] = line
        except msgspec.DecodeError as error:
            next_ = "Delete that line and go on with --resume"
            raise RunError(f"damaged line: {error}", f"{path}:{number}", next_) from error
    return found


def _require(identity: Identity, line: bytes, path: Path) -> None:
    """Raises RunError where the record's first line names another."""
    try:
        found = msgspec.json.decode(line, type=Identity)
    except msgspec.DecodeError as error:
        raise RunError(f"does not say whose replies it holds: {error}", f"{path}:1", "Begin another record") from error
    names = {"sha256": "model", "context": "context", "version": "version of the format"}
    changed = [name for field, name in names.items() if getattr(found, field) != getattr(identity, field)]
    if changed:
        what = f"these replies were made with another {' and '.join(changed)}: {found.model}, {found.context} tokens"
        raise RunError(what, str(path), "Use what they were made with, or begin another record")
