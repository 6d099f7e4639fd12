"""Completes paths as they are typed: the right arrow takes what is offered."""

from __future__ import annotations

import os

from textual.suggester import Suggester

from tui.typed import path_of


class PathSuggester(Suggester):
    """Offers the first entry, in alphabetical order, that goes on from what was typed; hidden ones only when asked."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        folder, typed = os.path.split(value)
        try:
            entries = sorted(path_of(folder or ".").iterdir())
        except (OSError, ValueError):  # a NUL is in no path
            return None
        for entry in entries:
            hidden = entry.name.startswith(".") and not typed.startswith(".")
            if entry.name.startswith(typed) and not hidden:
                return os.path.join(folder, entry.name) + (os.sep if entry.is_dir() else "")
        return None
