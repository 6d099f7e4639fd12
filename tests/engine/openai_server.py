"""An OpenAI-compatible server on 127.0.0.1 that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-not-for-your-eyes"


@dataclass(frozen=True)
class Answer:
    """`pieces` are sent one after another, `delay` seconds apart; `cut`: without the end that chunked bodies have."""

    pieces: tuple[bytes, ...] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    cut: bool = False


def said(content: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer that is not streamed."""
    return Answer((json.dumps(content).encode(),), status, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def event(content: Any) -> bytes:
    return b"data: " + (content if isinstance(content, bytes) else json.dumps(content).encode()) + b"\n\n"


def delta(**fields: str | None) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def streamed(*words: str, finish: str | None = "stop", usage: Any = None, **how: Any) -> Answer:
    """A chat completion as llama-server and vLLM stream it. Without `finish`, it is cut off."""
    pieces = [delta(role="assistant", content=None), *(delta(content=word) for word in words)]
    if finish:
        pieces.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        if usage:
            pieces.append(event({"choices": [], "usage": usage}))
        pieces.append(event(b"[DONE]"))
    return Answer(tuple(pieces), cut=finish is None, **how)


@dataclass
class FakeServer:
    """`answers` in the order they are given; the last is given again and again. `requests`: (path, body, key sent)."""

    answers: list[Answer] = field(default_factory=list)
    models: Answer = field(default_factory=lambda: said({"data": [{"id": "tiny"}]}))
    url: str = ""
    requests: list[tuple[str, Any, str | None]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def serving(fake: FakeServer) -> Iterator[FakeServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._record(None)
            self._send(fake.models)

        def do_POST(self) -> None:
            self._record(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(fake.answers.pop(0) if len(fake.answers) > 1 else fake.answers[0])

        def _record(self, body: Any) -> None:
            fake.times.append(time.monotonic())
            fake.requests.append((self.path, body, self.headers["Authorization"]))

        def _send(self, answer: Answer) -> None:
            try:
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in answer.pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    time.sleep(answer.delay)
                if not answer.cut:
                    self.wfile.write(b"0\r\n\r\n")
            except OSError:
                """The client has hung up, as it does when it cancels."""
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Silent: a test's output is its own."""

    return Handler
