"""Compares what is on the screen, as text, with what was there when a person last looked at it.

`UPDATE_SNAPSHOTS=1 pytest tests/tui` writes them anew; look at the difference before you commit it. Colours are not
compared: they are the theme's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from textual.app import App

FOLDER = Path(__file__).parent / "snapshots"


def screen_text(app: App[Any]) -> str:
    """The lines of the screen, without the spaces at their ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def assert_looks_as_before(app: App[Any], name: str) -> None:
    path, text = FOLDER / f"{name}.txt", screen_text(app)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} is no longer what the screen shows:\n{text}"
