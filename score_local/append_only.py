"""Append-only files of lines that survive `kill -9`: every line is handed to the operating system whole, as it comes.

A last line without its line break is what a killed process left: it is passed over when read, cut off when continued.
What the lines say is not known here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from score_local.errors import RunError

ROOM = "Make room or choose another place"
AGAIN = f"{ROOM}, then give the command again, with --resume if it takes that"
GO_ON = f"{ROOM}, then go on with --resume"  # every command that appends has it


class AppendOnly:
    """A file of lines that this process continues. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_for_appending(path)

    def append(self, line: bytes) -> None:
        """Adds `line`, which holds no line break, and one. Raises RunError; the file then still ends with a whole
        line."""
        start = os.fstat(self._file.fileno()).st_size
        try:
            _write_all(self._file, line + b"\n")
        except OSError as error:
            with suppress(OSError):  # what cannot be taken back now is when the file is continued
                os.ftruncate(self._file.fileno(), start)
            raise write_error(self.path, error, GO_ON) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> AppendOnly:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file without their breaks; none where there is no file. Raises RunError."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(error.strerror or str(error), str(path)) from error


def write_error(path: Path, error: OSError, next_: str = AGAIN) -> RunError:
    return RunError(f"cannot be written: {error.strerror or error}", str(path), next_)


def _open_for_appending(path: Path) -> FileIO:
    """Cut back to the last whole line. Unbuffered: a full disk must be told at the line it hit."""
    try:
        file = path.open("ab+", buffering=0)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.seek(whole)
        return file
    except OSError as error:
        raise write_error(path, error, GO_ON) from error


def _write_all(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
