"""What an engine replied, by what it was asked: one file that only grows and survives `kill -9`.

    replies.jsonl   a line that says whose replies they are, then one line a reply

A request is known by a hash of all that its reply hangs on. Adapters are known by the names that requests give them:
name them by the SHA-256 of their files. Not thread-safe.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from filelock import FileLock, Timeout

from score_local.append_only import AppendOnly, whole_lines, write_error
from score_local.engine.protocol import Completion, Request, Sampling, Score, Scores
from score_local.errors import RunError


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose replies they are: the model's file, whatever its name, and how many tokens a sequence held."""

    model: str
    sha256: str
    context: int
    version: int = 1


class Asked(NamedTuple):
    """A request, but for its phase: a hash of all that its reply hangs on, and how many tokens it may have."""

    key: str
    limit: int


class _Completion(msgspec.Struct, tag="completion"):
    """`limit` is how many tokens it might have had."""

    key: str
    limit: int
    reply: Completion


class _Scores(msgspec.Struct, tag="scores"):
    key: str
    reply: Scores


_Line = _Completion | _Scores
_DECODER = msgspec.json.Decoder(_Line)


class ReplyRecord:
    """A record that this process continues; close it.

    A reply that ended of itself is also the reply under any limit it did not reach: a larger limit costs only what ran
    into the smaller one. Raises RunError where the record is of another model, damaged, or written by another process.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self._whose, self._lock = (identity.sha256, identity.context), _locked(path)
        self._lines: dict[Asked, bytes] = {}
        self._ended: dict[str, tuple[int, bytes]] = {}
        try:
            self._read(path, identity)
            self._file = AppendOnly(path)
            if not whole_lines(path):
                self._file.append(msgspec.json.encode(identity))
        except BaseException:
            self._lock.release()
            raise

    def asked(self, request: Request) -> Asked:
        """How a request is known. An assistant turn's token ids come from the replies before it: its text will do."""
        turns = [(message.role, message.content) for message in request.messages]
        if isinstance(request, Score):
            return Asked(_hash((self._whose, turns, request.adapter, request.choices)), 0)
        how = (astuple(_effective(request.sampling)), request.prefix, request.thinking)
        return Asked(_hash((self._whose, turns, request.adapter, *how)), request.sampling.max_tokens)

    def find(self, asked: Asked) -> Completion | Scores | None:
        content = self._lines.get(asked)
        if content is None:
            generated, ended = self._ended.get(asked.key, (0, None))
            content = ended if generated < asked.limit else None
        return None if content is None else _decoded(content).reply

    def add(self, asked: Asked, reply: Completion | Scores) -> None:
        """Raises RunError where it cannot be written."""
        line: _Line = _Scores(asked.key, reply) if isinstance(reply, Scores) else _Completion(*asked, reply)
        content = msgspec.json.encode(line)
        self._file.append(content)
        self._remember(line, content)

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def _read(self, path: Path, identity: Identity) -> None:
        for number, content in enumerate(whole_lines(path), 1):
            if number == 1:
                _require(identity, content, path)
                continue
            try:
                self._remember(_decoded(content), content)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                next_ = "Delete that line and go on with --resume"
                raise RunError(f"damaged line: {error}", f"{path}:{number}", next_) from error

    def _remember(self, line: _Line, content: bytes) -> None:
        self._lines[Asked(line.key, line.limit if isinstance(line, _Completion) else 0)] = content
        if isinstance(line, _Completion) and line.reply.finish != "length":
            self._ended[line.key] = line.reply.usage.generated, content


def _decoded(content: bytes) -> _Line:
    line: _Line = _DECODER.decode(content)
    return line


def _hash(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _effective(sampling: Sampling) -> Sampling:
    """The sampling without its limit, and greedy decoding without a seed and cuts: they change nothing."""
    if sampling.temperature > 0:
        return replace(sampling, max_tokens=0)
    return Sampling(max_tokens=0, stop=sampling.stop, loop_window=sampling.loop_window)


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


def _require(identity: Identity, content: bytes, path: Path) -> None:
    """Raises RunError where the record's first line names another."""
    try:
        found = msgspec.json.decode(content, type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"does not say whose replies it holds: {error}", f"{path}:1", "Begin another record") from error
    names = {"sha256": "model", "context": "context", "version": "version of the format"}
    changed = [name for field, name in names.items() if getattr(found, field) != getattr(identity, field)]
    if changed:
        what = f"these replies were made with another {' and '.join(changed)}: {found.model}, {found.context} tokens"
        raise RunError(what, str(path), "Use what they were made with, or begin another record")
