"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path


def path_of(text: str) -> Path:
    """With `~` as the home folder. One of a user that is not known is the name of a file, as in a shell;
    `Path.expanduser` would raise, in the middle of a word."""
    return Path(os.path.expanduser(text))
