"""A model hub on 127.0.0.1: the requests that huggingface_hub makes to fetch a file (HEAD, GET with Range) or a
repository (its list of files first)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class FakeHub:
    """`files` by "repo/file". `cuts`: how many GETs end after `cut_at` bytes. `requests`: (method, path, Range)."""

    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    cuts: int = 0
    cut_at: int = 0
    status: int = 200
    error: str = ""
    digest: str | None = None
    ignore_ranges: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listing(hub: FakeHub, path: str) -> tuple[int, bytes]:
    """Status and JSON of what a repository is, or of its tree of files."""
    repository = "/".join(path.split("/")[3:5])
    begin = f"{repository}/"
    files = {name.removeprefix(begin): data for name, data in hub.files.items() if name.startswith(begin)}
    if not files or hub.status != 200:
        return 404, b"{}"
    if "/tree/" in path:
        oid = "0" * 40
        tree = [{"type": "file", "path": name, "size": len(data), "oid": oid} for name, data in files.items()]
        return 200, json.dumps(tree).encode()
    siblings = [{"rfilename": name} for name in files]
    return 200, json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:  # noqa: C901  (a whole class, in its closure)
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                self._list()
            else:
                self._answer(self.headers["Range"])

        def _list(self) -> None:
            status, content = _listing(hub, self.path)
            self.send_response(status)
            self.send_header("X-Error-Code", "" if status == 200 else "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(self, wanted: str | None) -> None:
            hub.requests.append((self.command, self.path, self.headers["Range"]))
            hub.tokens.append(self.headers["Authorization"])
            name = self.path.lstrip("/").replace("/resolve/", "/", 1).replace(f"/{COMMIT}/", "/").replace("/main/", "/")
            content = hub.files.get(name)
            if content is None or hub.status != 200:
                self.send_response(404 if hub.status == 200 else hub.status)
                self.send_header("X-Error-Code", "EntryNotFound" if hub.status == 200 else hub.error)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and not hub.ignore_ranges else 0
            self.send_response(206 if begin else 200)
            self.send_header("ETag", f'"{hub.digest or hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if self.command == "GET":
                self._send(content[begin:])

        def _send(self, content: bytes) -> None:
            if hub.cuts > 0:
                hub.cuts -= 1
                content = content[: hub.cut_at]
                self.close_connection = True
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: a test's output is its own."""

    return Handler
