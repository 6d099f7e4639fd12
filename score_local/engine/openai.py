"""An engine over an OpenAI-compatible server (llama-server, vLLM): the only door to a socket besides the catalogue.

It talks to the URL it was given and to nothing else: no proxy, no redirect. The key comes from an environment variable
and appears in no message, log or `repr`. What may pass (429, 5xx, a broken connection) is tried again.

A reply has no token ids and no log-probabilities of its own: asked for, they would cost llama-server a sort of the
vocabulary a token.
"""

from __future__ import annotations

import http.client
import logging
import os
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from score_local.engine.openai_wire import (
    ReplyStream,
    error_message,
    generate_body,
    retry_after,
    score_body,
    scores_from,
)
from score_local.engine.protocol import Listener, Reply, Request, Score
from score_local.errors import Cancelled, EngineError, ModelError, TooLong

T = TypeVar("T")
log = logging.getLogger("score_local.openai")
log.addHandler(logging.NullHandler())
KEY_VARIABLE = "SCORE_LOCAL_API_KEY"  # not OPENAI_API_KEY: a key for one server is not sent to another
LONGEST_PAUSE = 60.0  # seconds between two attempts; a server that asks for more is waited for up to LONGEST_WAIT
LONGEST_WAIT = 600.0
LONGEST_LINE = 1 << 20  # bytes of one event, or of a reply that is not streamed


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send requests. `url` ends where `/chat/completions` is to be added, for example in `/v1`.

    `adapters` maps the names that requests use to the names under which the server serves them. `silence` is how many
    seconds may pass without a byte, `connecting` how many before there is a connection (nobody can cancel that);
    `attempts` how often a request is tried, after pauses of `pause` seconds, doubled each time and shortened by chance
    up to a half.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    adapters: Mapping[str, str] = field(default_factory=dict)
    silence: float = 120.0
    connecting: float = 10.0
    attempts: int = 6
    pause: float = 1.0

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError("not the URL of a server", self.url, "For example: --url http://127.0.0.1:8080/v1")
        if parts.username or parts.query or parts.fragment:
            raise ModelError("the URL holds more than a place", parts.hostname, f"A key belongs into ${KEY_VARIABLE}")
        if not self.key.isprintable() or not self.key.isascii():
            raise ModelError("the key holds a character that no header can", parts.hostname, "Set it again")

    def served_as(self, adapter: str | None) -> str:
        """The model name to ask for. Raises EngineError where the server has no such adapter."""
        if adapter is None:
            return self.model
        if adapter not in self.adapters:
            raise EngineError(f"{self.url}: no adapter {adapter!r} is served")
        return self.adapters[adapter]


def open_engine(
    url: str,
    model: str | None,
    *,
    capacity: int = 8,
    adapters: Mapping[str, str] | None = None,
    key_variable: str = KEY_VARIABLE,
) -> OpenAIEngine:
    """An engine over the server at `url`, which is asked once what it serves (None: the one model it serves).

    Raises ModelError where it cannot be reached, refuses the key, or serves no such model.
    """
    url, key = url.rstrip("/"), os.environ.get(key_variable, "").strip()
    offered = served_models(Server(url, "", key, attempts=2), key_variable)
    if model is None and len(offered) != 1:
        raise ModelError(f"it serves {len(offered)} models", url, _choose(offered))
    if model is not None and model not in offered:
        raise ModelError(f"it serves no model {model!r}", url, _choose(offered))
    return OpenAIEngine(Server(url, model or offered[0], key, adapters or {}), capacity=capacity)


def served_models(server: Server, key_variable: str = KEY_VARIABLE) -> list[str]:
    """The names of what a server serves. Raises ModelError where it does not tell."""
    try:
        return _retrying(server, lambda: _listed(server), threading.Event())
    except EngineError as error:
        next_ = f"Is it running, does --url end in /v1, and is the key in ${key_variable}?"
        raise ModelError(str(error), next=next_) from error


class OpenAIEngine:
    """Serves `Generate` and `Score`: `capacity` requests at a time, each on a thread of its own."""

    def __init__(self, server: Server, *, capacity: int = 8) -> None:
        self.server, self._capacity = server, capacity
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._running: set[_Call] = set()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(capacity)]
        for thread in self._threads:
            thread.start()

    @property
    def capacity(self) -> int:
        return self._capacity

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        if self._closing.is_set():
            listener.done(Cancelled("the engine was closed"))
            return lambda: None
        call = _Call(self.server, request, listener)
        self._inbox.put(call)
        return call.cancel

    def close(self) -> None:
        """Cancels what runs and what waits, and ends the threads. May be called twice."""
        self._closing.set()
        for call in list(self._running):
            call.cancel()
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (call := self._inbox.get()) is not None:
            self._running.add(call)
            if self._closing.is_set():
                call.cancel()
            call.listener.done(call.reply())
            self._running.discard(call)


@dataclass(eq=False)
class _Call:
    """One request on its way, over several attempts."""

    server: Server
    request: Request
    listener: Listener
    cancelled: threading.Event = field(default_factory=threading.Event)
    told: int = 0  # characters that the listener has heard: an attempt made again goes on from there
    connection: socket.socket | None = None

    def cancel(self) -> None:
        """Wakes the thread that reads, or waits, for this call."""
        self.cancelled.set()
        if self.connection is not None:
            _hang_up(self.connection)

    def reply(self) -> Reply:
        try:
            return _retrying(self.server, self._attempt, self.cancelled)
        except EngineError as error:
            return error
        except Exception as error:  # the listener waits for an answer, whatever happens
            # The kind alone: what such an error says may hold the request's headers, and they the key.
            log.error("a request died of %s", type(error).__name__)
            return EngineError(f"{self.server.url}: the client died of {type(error).__name__}")

    def _attempt(self) -> Reply:
        model, began = self.server.served_as(self.request.adapter), time.perf_counter()
        if isinstance(self.request, Score):
            with self._post(score_body(self.request, model)) as response:
                content = response.read(LONGEST_LINE)
            return scores_from(content, self.request.choices, time.perf_counter() - began)
        prefix = self.request.prefix
        stream = ReplyStream(self.request.sampling.loop_window, prefix)
        with self._post(generate_body(self.request, model)) as response:
            while not stream.done and (line := response.readline(LONGEST_LINE)):
                stream.feed(line)
                self._tell(stream.text[len(prefix) :])
        if not stream.ended:
            raise _Passing("the connection was cut in the middle of a reply")
        return stream.completion(time.perf_counter() - began)

    def _post(self, body: bytes) -> AbstractContextManager[http.client.HTTPResponse]:
        return _exchange(self.server, "chat/completions", body, self._connected)

    def _tell(self, text: str) -> None:
        if len(text) > self.told:
            self.listener.token(text[self.told :])
            self.told = len(text)

    def _connected(self, connection: socket.socket) -> None:
        self.connection = connection
        if self.cancelled.is_set():
            _hang_up(connection)


class _Passing(Exception):
    """What went wrong may go right in a while; not before `wait` seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


@contextmanager
def _exchange(
    server: Server, path: str, body: bytes | None, connected: Callable[[socket.socket], None] = lambda _: None
) -> Iterator[http.client.HTTPResponse]:
    """One HTTP request (POST, or GET where there is no `body`) and its response, of status 200.

    Raises _Passing, EngineError, OSError, HTTPException.
    """
    parts = _split(server.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    connection = kind(parts.hostname or "", parts.port, timeout=server.connecting)
    try:
        _connect(connection, server)
        connected(connection.sock)
        connection.request("POST" if body else "GET", f"{parts.path.rstrip('/')}/{path}", body, headers)
        with connection.getresponse() as response:
            if response.status != 200:
                raise _refusal(response)
            yield response
    finally:
        connection.close()


def _connect(connection: http.client.HTTPConnection, server: Server) -> None:
    try:
        connection.connect()
    except TimeoutError as error:
        raise _Passing(f"no connection within {server.connecting:g} seconds") from error
    connection.sock.settimeout(server.silence)


def _refusal(response: http.client.HTTPResponse) -> Exception:
    status, said = response.status, error_message(response.read(LONGEST_LINE))
    if status in (401, 403):
        return EngineError(f"the server refuses the key ({status}): {said}")
    if status in (408, 429) or status >= 500:
        return _Passing(f"status {status}: {said}", retry_after(response.getheader("Retry-After")))
    # llama-server: "exceeds the available context size"; vLLM: "maximum context length is".
    kind = TooLong if "context size" in said or "context length" in said else EngineError
    return kind(f"status {status}: {said}")


def _retrying(server: Server, attempt: Callable[[], T], cancelled: threading.Event) -> T:
    """Tries until it works, or fails for good: EngineError, with the place and without the key."""
    trouble = _Passing("never tried")
    for number in range(server.attempts):
        if cancelled.wait(_pause(server, number, trouble.wait) if number else 0):
            break
        try:
            return attempt()
        except EngineError as error:
            raise type(error)(_without_key(f"{server.url}: {error}", server.key)) from None
        except ssl.SSLCertVerificationError as error:
            raise EngineError(f"{server.url}: its certificate is not trusted: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            trouble = _Passing(_in_words(error, server))
        except _Passing as error:
            trouble = error
        if cancelled.is_set():
            break
        log.warning("%s: %s", server.url, _without_key(str(trouble), server.key))
    if cancelled.is_set():
        raise Cancelled("cancelled")
    raise EngineError(_without_key(f"{server.url}: {trouble} ({server.attempts} attempts)", server.key))


def _pause(server: Server, number: int, wait: float) -> float:
    """Seconds before the attempt of that number: exponential, with jitter so that not all come back at once."""
    backing_off = min(LONGEST_PAUSE, server.pause * 2.0 ** (number - 1)) * random.uniform(0.5, 1.0)
    return max(backing_off, min(wait, LONGEST_WAIT))


def _listed(server: Server) -> list[str]:
    with _exchange(server, "models", None) as response:
        content = response.read(LONGEST_LINE)
    try:
        return [model.id for model in msgspec.json.decode(content, type=_Listing).data]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError("is no OpenAI-compatible server") from error


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Listing(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...] = ()


def _in_words(error: Exception, server: Server) -> str:
    if isinstance(error, TimeoutError):
        return f"no word for {server.silence:g} seconds"
    if isinstance(error, OSError):
        return f"cannot be reached: {error.strerror or type(error).__name__}"
    return f"the connection broke ({type(error).__name__})"


def _without_key(text: str, key: str) -> str:
    return text.replace(key, "[key]") if key else text


def _hang_up(connection: socket.socket) -> None:
    """Whoever reads from it, on whichever thread, reads the end."""
    try:  # not SSLSocket's own shutdown: it is not made for two threads
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ModelError(f"not a URL: {error}", url, "For example: --url http://127.0.0.1:8080/v1") from error
    return parts


def _choose(offered: list[str]) -> str:
    return f"Choose with --model: {', '.join(offered)}" if offered else "Load one there first"
