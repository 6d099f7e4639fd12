"""The app in a terminal of its own (a pty): keys go in, what is drawn comes out. Run as a module it is that app.

python -m tests.tui.terminal FOLDER RATE
"""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
READY = b"Enter sends"
LINE = "abc def ghi jkl abc def ghi jkl abc def\n"  # nine words
END = "Q.E.D."


class Terminal:
    """A process in a pty of its own; `seen` is all that it has written."""

    def __init__(self, *command: str, size: tuple[int, int] = (80, 24), environment: Mapping[str, str] | None = None):
        self.began = time.monotonic()
        self.seen = b""
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(
                sys.executable,
                [sys.executable, *command],
                os.environ | {"TERM": "xterm-256color"} | (environment or {}),
            )
        self.resize(*size)

    def resize(self, width: int, height: int) -> None:
        ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def write(self, keys: bytes) -> None:
        os.write(self._file, keys)

    def read(self, seconds: float) -> bytes:
        """What is drawn next; nothing where nothing is for so long, or the app has ended."""
        if not select.select([self._file], [], [], seconds)[0]:
            return b""
        try:
            chunk = os.read(self._file, 65536)
        except OSError:
            return b""
        self.seen += chunk
        return chunk

    def until(self, text: bytes, seconds: float = 60.0) -> float:
        """Waits until `text` is drawn; how long that took. Fails where it is not."""
        start, drawn = time.monotonic(), b""
        while text not in drawn:
            left = seconds - (time.monotonic() - start)
            assert left > 0, f"{text!r} was not drawn; the last that was: {self.seen[-2000:]!r}"
            drawn = drawn[-len(text) :] + self.read(min(left, 1.0))
        return time.monotonic() - start

    def ended(self, seconds: float = 30.0) -> int:
        """The exit status once the process has ended, as `os.waitpid` gives it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            self.read(0.05)
        raise AssertionError("it has not ended")

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self._file)


def reply(tokens: int) -> str:
    return LINE * (tokens // 9) + END


def main(folder: Path, rate: float, tokens: int) -> None:
    """The app over a scripted engine that says so many tokens."""
    from score_local.engine.scripted import ScriptedEngine
    from score_local.policy import Policy
    from tui.app import Setup, run
    from tui.history import History

    (folder / "model.gguf").write_bytes(b"GGUF")
    setup = Setup(
        History(folder / "history.db"),
        Policy(),
        folder / "policy.toml",
        lambda model, adapters: ScriptedEngine(lambda request: reply(tokens), rate=rate),
        2048,
        str(folder / "model.gguf"),
    )
    run(setup)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
