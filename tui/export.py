"""A conversation as a file: Markdown for people, JSONL (a turn a line, phases with their timings) for programs.

What was said is written as it is, but for control characters, which are made visible: a file is read in terminals too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

import msgspec

from score_local.commands.show import story
from score_local.errors import HistoryError, RunError
from score_local.runs import write_whole
from tui.literal import literal, one_line
from tui.records import Conversation, Phase, Turn

TITLE_WIDTH = 100
NAME_WIDTH = 40
TIMINGS = ("| phase | tokens | seconds | tokens/s |", "|---|---:|---:|---:|")


def export(path: Path, conversation: Conversation, turns: Sequence[Turn]) -> None:
    """Writes the file, whole or not at all; `.jsonl` is JSONL, everything else Markdown. Raises HistoryError."""
    if os.path.isdir(path):
        raise HistoryError("is a folder", str(path), "Name a file in it")
    content = jsonl(turns) if path.suffix.lower() == ".jsonl" else markdown(conversation, turns).encode()
    try:
        write_whole(path, content)
    except RunError as error:
        raise HistoryError(error.what, error.where, "Make room, or choose another place") from error


def file_name(conversation: Conversation) -> str:
    """A name for the file, of what a title holds of letters and digits."""
    words = re.findall(r"\w+", conversation.title)
    return f"{'-'.join(words)[:NAME_WIDTH] or 'conversation'}.md"


def free_name(conversation: Conversation, folder: Path) -> str:
    """The name, with a number where the folder holds one of that name: two conversations may have one title."""
    name = Path(file_name(conversation))
    numbered = (f"{name.stem}-{number}{name.suffix}" for number in count(2))
    return next(name for name in chain([name.name], numbered) if not os.path.lexists(folder / name))


def jsonl(turns: Sequence[Turn]) -> bytes:
    """A line a turn, as the history keeps it; `records` says what each field means."""
    return b"".join(msgspec.json.encode(turn) + b"\n" for turn in turns)


def markdown(conversation: Conversation, turns: Sequence[Turn]) -> str:
    """The title, then of each turn what was asked, how it went, and what it cost."""
    lines = [f"# {one_line(conversation.title, TITLE_WIDTH) or 'A conversation'}", ""]
    for number, turn in enumerate(turns, 1):
        lines += [f"## {number}. {one_line(turn.question, TITLE_WIDTH)}", "", *_turn(turn)]
    return literal("\n".join(lines)).rstrip() + "\n"


def _turn(turn: Turn) -> Iterator[str]:
    yield from (f"> {line}" for line in turn.question.splitlines())
    yield ""
    if turn.hint:
        yield from (f"Hint: {turn.hint}", "")
    yield from _reply(turn)
    if turn.state != "done":
        yield from (f"*{turn.state}*{f': {turn.error}' if turn.error else ''}", "")
    if turn.phases:
        yield from (*TIMINGS, *map(_timing, turn.phases), "")


def _reply(turn: Turn) -> Iterator[str]:
    """A problem's story, a chat's reply, or the phases that a turn which was cut off has left."""
    if turn.trace:
        yield from (f"#{line}" if line.startswith("## ") else line for line in story(turn.trace))
        yield ""
        if turn.answer not in (None, turn.trace.answer):
            yield from (f"Answer that was chosen: {turn.answer}", "")
        yield from _left([phase for phase in turn.phases[-1:] if phase.cut_off])
    elif turn.reply:
        yield from (turn.reply, "")
    else:
        yield from _left(turn.phases)


def _left(phases: Sequence[Phase]) -> Iterator[str]:
    for phase in phases:
        yield from (f"### {_name(phase).capitalize()}", "", phase.text, "")


def _name(phase: Phase) -> str:
    return f"{phase.name}, cut off" if phase.cut_off else phase.name


def _timing(phase: Phase) -> str:
    rate = f"{phase.generated / phase.seconds:.1f}" if phase.seconds else ""
    return f"| {_name(phase)} | {phase.generated} | {phase.seconds:.2f} | {rate} |"
