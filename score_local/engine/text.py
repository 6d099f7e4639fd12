"""From token bytes to text that can be shown: whole characters, and nothing that may still become a stop string."""

from __future__ import annotations

import codecs


class TextStream:
    """Collects the bytes of one reply.

    `feed` returns the text that is now safe to show. A multi-byte character is held until it is whole, a suffix that
    begins a stop string until it is decided. After a stop string, `stopped` is true and the text ends before it.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._stop = tuple(s for s in stop if s)
        self._shown = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: bytes) -> str:
        """Adds the bytes of one token; returns what may be shown of the text now."""
        start = max(0, len(self.text) - self._longest_stop())
        self.text += self._decoder.decode(piece)
        self._cut_at_stop(start)
        return self._show(len(self.text) if self.stopped else len(self.text) - self._held())

    def finish(self) -> str:
        """Ends the reply; returns the rest of the text. A half character becomes U+FFFD."""
        if not self.stopped:
            self.text += self._decoder.decode(b"", final=True)
        return self._show(len(self.text))

    def _longest_stop(self) -> int:
        return max((len(s) for s in self._stop), default=0)

    def _cut_at_stop(self, start: int) -> None:
        found = [at for at in (self.text.find(s, start) for s in self._stop) if at >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def _held(self) -> int:
        """Length of the longest suffix that is a proper beginning of a stop string."""
        tail = self.text[-self._longest_stop() :] if self._stop else ""
        return max((n for s in self._stop for n in range(1, len(s)) if tail.endswith(s[:n])), default=0)

    def _show(self, end: int) -> str:
        shown, self._shown = self.text[self._shown : end], max(self._shown, end)
        return shown
