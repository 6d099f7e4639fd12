"""Where the person writes: several lines, what was written before with the arrow keys, paste, an editor.

Enter sends; Ctrl+J (or Shift+Enter, where the terminal can tell it) begins a new line.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textual import events
from textual.app import SuspendNotSupported
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea

from tui.literal import literal

NEWLINE = ("ctrl+j", "shift+enter", "alt+enter")
LONGEST_PASTE = 100_000  # characters; more is a file: /open it


class Prompt(TextArea):
    """Posts `Sent`; it is never locked, whatever runs or failed."""

    DEFAULT_CSS = """
    Prompt { height: auto; max-height: 8; border: tall $border-blurred; padding: 0 1; }
    Prompt:focus { border: tall $border; }
    """
    BINDINGS = [
        Binding("enter", "send", "Send"),
        Binding("up", "earlier", show=False),
        Binding("down", "later", show=False),
        Binding("ctrl+g", "edit", "Editor"),
    ]

    @dataclass
    class Sent(Message):
        """The person has written something that is not empty."""

        text: str

    def __init__(self) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            show_line_numbers=False,
            compact=False,
            highlight_cursor_line=False,
            placeholder="A problem, or anything else. Enter sends, F1 helps.",
        )
        for key in ("f6", "f7"):  # a TextArea's ways to select, and the app's screens
            self._bindings.key_to_bindings.pop(key, None)
        self._earlier: list[str] = []
        self._at = 0
        self._draft = ""

    def remember(self, texts: Sequence[str]) -> None:
        """What the arrow keys bring back, the oldest first."""
        self._earlier = list(texts)
        self._at = len(self._earlier)

    def action_send(self) -> None:
        text = self.text.strip()
        if text:
            self.remember([*self._earlier, text])
            self.text = ""
            self.post_message(self.Sent(text))

    async def _on_key(self, event: events.Key) -> None:
        """Here, and not by bindings that go before: keys that were typed ahead come in their order."""
        if event.key == "enter":
            self.action_send()
        elif event.key in NEWLINE:
            self.insert("\n")
        else:
            return
        event.prevent_default()
        event.stop()

    def action_earlier(self) -> None:
        """Up: a line up, or in the first line what was written before."""
        if self.cursor_location[0] > 0 or not self._at:
            self.action_cursor_up()
            return
        if self._at == len(self._earlier):
            self._draft = self.text
        self._recall(self._at - 1)

    def action_later(self) -> None:
        if self.cursor_location[0] < self.document.line_count - 1 or self._at == len(self._earlier):
            self.action_cursor_down()
            return
        self._recall(self._at + 1)

    def _recall(self, at: int) -> None:
        self._at = at
        self.text = self._earlier[at] if at < len(self._earlier) else self._draft
        self.move_cursor(self.document.end)

    async def _on_paste(self, event: events.Paste) -> None:
        """What is pasted is text: control characters are shown, and nothing is sent by a line break in it."""
        event.prevent_default()
        event.stop()
        if len(event.text) > LONGEST_PASTE:
            self.app.notify(
                f"{len(event.text):,} characters are too many. Open them as a file: /open FILE", severity="warning"
            )
            return
        self.insert(literal(event.text.replace("\r\n", "\n").replace("\r", "\n")))

    def action_edit(self) -> None:
        """The text in the person's own editor; what was saved there comes back."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            with tempfile.TemporaryDirectory() as folder, self.app.suspend(), _no_interrupts():
                file = Path(folder) / "message.md"
                file.write_text(self.text, encoding="utf-8")
                subprocess.run([*shlex.split(editor), str(file)], check=True)
                self.text = literal(file.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
        except (OSError, ValueError, subprocess.CalledProcessError, SuspendNotSupported) as error:
            self.app.notify(f"{editor}: {error}. Set EDITOR to another", severity="error", markup=False)
        self.move_cursor(self.document.end)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C is for the editor, which has the terminal: it must not end the app behind it. (A handler is not inherited,
    SIG_IGN would be.)"""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
