"""A helper process that answers one question at a time, and is killed when it takes too long.

Questions and answers are lines of JSON over pipes; the helper's first line says that it is ready. A process, because
Python cannot stop a thread; pipes and a timer, because they work from any thread and on every system.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


class Worker:
    """Runs `python -m module` when first asked, keeps it, and starts it anew after it died. Thread-safe.

    An answer is given `limit` seconds by the clock, the start `start_limit`: both are for a helper that hangs, and
    long, because a busy machine delays one that works. What a question may cost is the helper's to say.
    """

    def __init__(self, module: str, cwd: Path, limit: float = 30.0, start_limit: float = 120.0) -> None:
        self.module, self.cwd, self.limit, self.start_limit = module, cwd, limit, start_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, question: dict[str, str]) -> Any:
        """The helper's answer; None where it did not answer within the limit, or died."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self.close()  # it died since the last question, which is no fault of this one
            if self._process is None and not self._start():
                return None
            answer = self._exchange(json.dumps(question).encode() + b"\n", self.limit)
            if answer is None:
                self.close()
                return None
            return json.loads(answer)

    def close(self) -> None:
        """Kill the helper, if there is one. The next question starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with contextlib.suppress(OSError):  # what was left to write has no reader
                pipe.close()

    def _start(self) -> bool:
        # Started where the package lies, so that the user's folder shadows no module; in a session of its own, so
        # that Ctrl-C in the terminal reaches the application only.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=self.cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return False
        atexit.unregister(self.close)
        atexit.register(self.close)
        if self._exchange(b"", self.start_limit) is None:
            self.close()
            return False
        return True

    def _exchange(self, line: bytes, limit: float) -> bytes | None:
        """Write a line, read a line; None at the end of the pipe, which is what a kill leads to."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = threading.Timer(limit, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            return answer if answer.endswith(b"\n") else None
        except OSError:
            return None
        finally:
            timer.cancel()
            timer.join()
