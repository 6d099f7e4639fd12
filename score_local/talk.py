"""What a command says: stderr is talk, and no work ends because nobody listens to that; stdout is data, and what
nobody reads need not be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


def exit_code_of(command: Callable[[], int]) -> int:
    """What `command` returns; 0 where whoever read its stdout has gone, as `| head` does."""
    code = 0
    with talking():
        try:
            code = command()
            print(end="", flush=True)
        except BrokenPipeError:
            drop(sys.stdout)
    return code


@contextmanager
def talking() -> Iterator[None]:
    """While in the context, a stderr that cannot be written any more (as when `2>&1 | tee` has died) fails nobody."""
    before = sys.stderr
    if before is None:  # closed by whoever started us
        yield
        return
    sys.stderr = cast(TextIO, _Talk(before))
    try:
        yield
    finally:
        sys.stderr = before


def drop(stream: TextIO) -> None:
    """Sends what is left of a stream nowhere, so that Python does not stumble over it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Talk:
    """A stream that drops what cannot be written; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
