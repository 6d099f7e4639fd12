"""A conversion that the terminal app runs: `score-convert all`, in a process of its own, and what it says meanwhile;
or before that the fetching of its base.

Its own, because a merge would compete with the screen for the interpreter, and so that it can be stopped at any time:
nothing half-written keeps a final name.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Not `-m`: that looks into the current folder first, and many a folder holds another one named models.
HERE = "import sys; sys.path[:] = filter(None, sys.path); "
PROGRAM = f"{HERE}from convert.cli import main; sys.exit(main(sys.argv[1:]))"
FETCH = f"{HERE}from tui.fetch_base import main; sys.exit(main(sys.argv[1]))"
PATIENCE = 2.0  # seconds between asking a conversion to end and ending it
PROGRESS = re.compile(r"(?P<part>[^:|]+): +(?P<percent>\d+)%(?:\|.*)?")  # ours, or a bar of the hub's library
REGISTERED = re.compile(r"registered: .* --model (?P<name>\S+) ")


class Order(NamedTuple):
    """What to convert. `base` as for `score-convert`; `types` split by commas."""

    adapter: Path
    base: str
    types: str
    out: Path

    def command(self) -> list[str]:
        flags = ["--base", self.base, "--to", self.types, "--out", str(self.out)]
        return [sys.executable, "-c", PROGRAM, "all", str(self.adapter), *flags]

    def fetching(self) -> list[str]:
        """The program that fetches the base from the hub."""
        return [sys.executable, "-c", FETCH, self.base]


class Outcome(NamedTuple):
    """The exit code (0: all went well), and the catalogue names of the models that were made and registered; `error`
    says why it could not even be started."""

    code: int
    names: tuple[str, ...]
    error: str = ""


class ConvertJob:
    """One conversion, or the `command` given. `run` blocks; `stop` may be called from any thread."""

    def __init__(self, order: Order, command: list[str] | None = None) -> None:
        self._command = command or order.command()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self, say: Callable[[str], None], progress: Callable[[str, int], None]) -> Outcome:
        """`say` hears each line that the conversion prints, `progress` the part it is at and its percent."""
        names = []
        with subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},  # names may be of any script
        ) as self._process:
            assert self._process.stdout
            if self._stopped:
                self.stop()
            for line in self._process.stdout:
                if found := PROGRESS.fullmatch(line.rstrip()):
                    progress(found["part"], int(found["percent"]))
                    continue
                if found := REGISTERED.match(line):
                    names.append(found["name"])
                say(line.rstrip())
        return Outcome(self._process.returncode, tuple(names))

    def stop(self) -> None:
        """As Ctrl-C would; where that is ignored, as in what a shell runs in the background, a termination follows."""
        self._stopped = True
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
            timer = threading.Timer(PATIENCE, self._process.terminate)
            timer.daemon = True
            timer.start()
