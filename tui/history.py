"""Every conversation, kept as it goes: found again, renamed, branched, deleted, undeleted; and the model used last.

    history = History(path)
    conversation = history.create()
    history.save_turn(Turn(id=new_id(), conversation=conversation.id, question="..."))     # at the end of each phase

A call that writes has written when it returns: a process killed then loses nothing of it. Calls take milliseconds, and
seconds where another app holds the lock, so the screens make them in a worker. Any thread may call; two apps may have
one history open. Knows nothing of screens.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from score_local.errors import HistoryError
from tui import history_file
from tui.history_search import matches
from tui.literal import one_line
from tui.records import Conversation, Turn, new_id

TITLE_WIDTH = 100
UNDELETE_SECONDS = 7 * 86400.0  # after that an app that starts removes what was deleted
CHOSEN = "adapters"  # says that a person chose the adapters, perhaps none
COLUMNS = "id, title, created, updated, parent, branched_at"


class Found(NamedTuple):
    """A conversation in a list: how many turns it has, and what of it a search has found."""

    conversation: Conversation
    turns: int
    excerpt: str = ""


class History:
    """The conversations in a file. `notice` is what the person must be told of the file when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection, self.notice = history_file.open_file(path)
        self._deleted: list[str] = []
        with suppress(HistoryError):  # another app is writing: the next start will do
            self._remove_deleted()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def search(self, text: str = "") -> list[Found]:
        """The conversations whose title, or one turn, holds every word of `text`, the latest first; "": all.

        Words are any part of what was written, signs and all; case does not count. Raises HistoryError.
        """
        terms = _storable(text).split()
        with self._reading() as database:
            excerpts = matches(database, terms) if terms else {}
            rows = database.execute(
                f"SELECT {COLUMNS}, (SELECT count(*) FROM turns WHERE conversation = conversations.id)"
                " FROM conversations WHERE deleted IS NULL ORDER BY updated DESC, number DESC"
            ).fetchall()
        listed = (Found(_conversation(row[:-1]), row[-1], excerpts.get(row[0], "")) for row in rows)
        return [found for found in listed if not terms or found.conversation.id in excerpts]

    def conversation(self, key: str) -> Conversation:
        """Raises HistoryError where there is none, or it was deleted."""
        with self._reading() as database:
            return _find(database, key)

    def turns(self, key: str) -> list[Turn]:
        """The turns of a conversation in their order. Raises HistoryError."""
        with self._reading() as database:
            rows = database.execute("SELECT body FROM turns WHERE conversation = ? ORDER BY number", (key,)).fetchall()
        try:
            return [msgspec.json.decode(body, type=Turn) for (body,) in rows]
        except msgspec.DecodeError as error:
            what = f"a turn of this conversation cannot be read: {error}"
            raise HistoryError(what, str(self.path), "Did a newer score-local write it?") from error

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self, title: str = "") -> Conversation:
        """A new conversation; without a title the first turn will give it one. Raises HistoryError."""
        now = time.time()
        conversation = Conversation(id=new_id(), title=_title(title), created=now, updated=now)
        with self._writing() as database:
            _insert(database, conversation)
        return conversation

    def save_turn(self, turn: Turn) -> None:
        """Adds a turn, or replaces the one of that id. Raises HistoryError; the turn can then be saved again."""
        body = msgspec.json.encode(turn)
        with self._writing() as database:
            conversation = _find(database, turn.conversation)
            _put_turn(database, turn, body)
            _put_title(database, conversation.id, conversation.title or _title(turn.question))

    def rename(self, key: str, title: str) -> None:
        """Raises HistoryError."""
        with self._writing() as database:
            _find(database, key)
            _put_title(database, key, _title(title))

    def branch(self, key: str, turn: str) -> Conversation:
        """A new conversation with copies of the turns up to and with `turn`. Raises HistoryError."""
        with self._writing() as database:
            parent, turns = _find(database, key), self.turns(key)
            last = next((i for i, candidate in enumerate(turns) if candidate.id == turn), None)
            if last is None:
                raise HistoryError("no such turn in this conversation", parent.title, "Branch at one of its cards")
            now, title = time.time(), _title(f"{parent.title} (branch)")
            child = Conversation(id=new_id(), title=title, created=now, updated=now, parent=key, branched_at=turn)
            _insert(database, child)
            for old in turns[: last + 1]:
                copy = msgspec.structs.replace(old, id=new_id(), conversation=child.id)
                _put_turn(database, copy, msgspec.json.encode(copy))
        return child

    def delete(self, key: str) -> Conversation:
        """Takes a conversation out of every list; `undo` brings it back. Raises HistoryError."""
        with self._writing() as database:
            conversation = _find(database, key)
            database.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (time.time(), key))
        self._deleted.append(key)
        return conversation

    def undo(self) -> Conversation | None:
        """Brings back what this app deleted last; None: there is nothing to bring back. Raises HistoryError."""
        if not self._deleted:
            return None
        key = self._deleted[-1]
        with self._writing() as database:
            database.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (key,))
            conversation = _find(database, key)
        self._deleted.pop()
        return conversation

    # -- the model --------------------------------------------------------------------------------------------------

    def last_model(self) -> Path | None:
        """The file of the model that was used last, whether or not it is still there. Raises HistoryError."""
        with self._reading() as database:
            row = database.execute("SELECT name FROM used WHERE what = 'model'").fetchone()
        return Path(os.fsdecode(row[0])) if row else None

    def last_adapters(self) -> dict[str, Path] | None:
        """The adapters that were chosen for it, by role; None: nobody chose. Raises HistoryError."""
        with self._reading() as database:
            rows = database.execute("SELECT what, name FROM used WHERE what != 'model'").fetchall()
        return {role: Path(os.fsdecode(name)) for role, name in rows if role != CHOSEN} if rows else None

    def keep_model(self, file: Path, adapters: Mapping[str, Path] | None = None) -> None:
        """`adapters` are those that a person chose for it, by role. Raises HistoryError."""
        rows = {"model": file} | ({} if adapters is None else {CHOSEN: None} | dict(adapters))
        names = [(what, os.fsencode(path.absolute()) if path else b"") for what, path in rows.items()]
        with self._writing() as database:
            database.execute("DELETE FROM used")
            database.executemany("INSERT INTO used (what, name) VALUES (?, ?)", names)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _remove_deleted(self) -> None:
        old = time.time() - UNDELETE_SECONDS
        with self._writing() as database:
            gone = database.execute("SELECT id FROM conversations WHERE deleted < ?", (old,)).fetchall()
            for (key,) in gone:
                _remove(database, key)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._explained(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is written, or nothing."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def _explained(self, error: sqlite3.Error) -> HistoryError:
        if not history_file.damaged(error):
            return HistoryError(str(error), str(self.path), "The conversation goes on; it is saved at the next phase")
        self._connection.close()
        self._connection, notice = history_file.begin_anew(self.path, str(error))
        return HistoryError(notice)


def _insert(database: sqlite3.Connection, new: Conversation) -> None:
    row = (new.id, new.title, new.created, new.updated, new.parent, new.branched_at)
    database.execute(f"INSERT INTO conversations ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
    _put_title(database, new.id, new.title)


def _put_title(database: sqlite3.Connection, key: str, title: str) -> None:
    database.execute("UPDATE conversations SET title = ?, updated = ? WHERE id = ?", (title, time.time(), key))
    (number,) = database.execute("SELECT number FROM conversations WHERE id = ?", (key,)).fetchone()
    _put_words(database, -number, title, key)


def _put_turn(database: sqlite3.Connection, turn: Turn, body: bytes) -> None:
    database.execute(
        "INSERT INTO turns (id, conversation, body) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (turn.id, turn.conversation, body),
    )
    (number,) = database.execute("SELECT number FROM turns WHERE id = ?", (turn.id,)).fetchone()
    _put_words(database, number, _said(turn), turn.conversation)


def _put_words(database: sqlite3.Connection, number: int, text: str, key: str) -> None:
    row = (number, _storable(text), key)
    database.execute("INSERT OR REPLACE INTO words (rowid, text, conversation) VALUES (?, ?, ?)", row)


def _remove(database: sqlite3.Connection, key: str) -> None:
    database.execute("DELETE FROM words WHERE rowid IN (SELECT number FROM turns WHERE conversation = ?)", (key,))
    database.execute("DELETE FROM words WHERE rowid = (SELECT -number FROM conversations WHERE id = ?)", (key,))
    database.execute("DELETE FROM conversations WHERE id = ?", (key,))


def _find(database: sqlite3.Connection, key: str) -> Conversation:
    query = f"SELECT {COLUMNS} FROM conversations WHERE id = ? AND deleted IS NULL"
    row = database.execute(query, (key,)).fetchone()
    if row is None:
        raise HistoryError("no such conversation", "history", "It was deleted, perhaps by another app: begin a new one")
    return _conversation(row)


def _conversation(row: Sequence[Any]) -> Conversation:
    return Conversation(**dict(zip(COLUMNS.split(", "), row, strict=True)))


def _said(turn: Turn) -> str:
    """All that can be searched of a turn."""
    parts = [turn.question, turn.hint, *(phase.text for phase in turn.phases), turn.reply, turn.answer or ""]
    return "\n".join(part for part in parts if part)


def _title(text: str) -> str:
    return one_line(_storable(text), TITLE_WIDTH)


def _storable(text: str) -> str:
    """SQLite's texts end at a NUL, and hold no lone surrogates."""
    return text.replace("\0", "\u2400").encode("utf-8", "replace").decode("utf-8")
