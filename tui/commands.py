"""What a message that begins with a slash asks for. Pure: a text in, what to do out."""

from __future__ import annotations

import os
import re
import shlex
from typing import Literal, NamedTuple

from score_local.errors import InputError
from tui.turns import is_problem
from tui.typed import path_of

Kind = Literal["problem", "chat", "open"]
COMMANDS = {"/solve": "problem", "/chat": "chat", "/open": "open"}
SUFFIXES = (".jsonl", ".csv", ".txt", ".json")


class Command(NamedTuple):
    """`text` is the problem, the message, or the path of a file."""

    kind: Kind
    text: str


def command_of(text: str) -> Command:
    """What a message is: a problem, chat, or a file to open (`/open FILE`, or the path alone, as a terminal writes it
    where a file is dropped). Raises InputError for a slash and a word that nobody knows."""
    word, rest = [*text.split(None, 1), "", ""][:2]
    if word in COMMANDS:
        if not rest.strip():
            raise InputError("nothing follows it", word, f"For example: {word} TEXT")
        kind: Kind = COMMANDS[word]  # type: ignore[assignment]
        return Command(kind, _path(rest) if kind == "open" else rest.strip())
    dropped = _path(text)  # Path.is_file would raise for a text that is too long for a name
    if "\n" not in text.strip() and dropped.endswith(SUFFIXES) and os.path.isfile(dropped):
        return Command("open", dropped)
    if word.startswith("/") and word[1:].isalpha():
        raise InputError("no such command", word, f"There are {', '.join(COMMANDS)}; F1 helps")
    return Command("problem" if is_problem(text) else "chat", text)


def _path(text: str) -> str:
    """A path as it was typed or dropped: quoted, with backslashes before spaces, or as a file:// address."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    path = words[0] if len(words) == 1 else text.strip()
    if path.startswith("file://"):
        path = _decoded(path.removeprefix("file://"))
    return str(path_of(path))


def _decoded(path: str) -> str:
    """Percent signs in an address stand for bytes."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), path.encode())
    return raw.decode("utf-8", "replace")
