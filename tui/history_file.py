"""The file that the history lies in: opened, made, or stood in for where it cannot be used.

A damaged file is moved aside and a new one begun. One that is locked, read-only or newer than this program is left as
it is: what can be read of it is copied into memory, and what is added is lost with the app. Each is told in words.
Knows nothing of conversations beyond their tables.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from score_local.errors import HistoryError

VERSION = 1
OLDEST_SQLITE = (3, 34, 0)  # the first with trigrams
BUSY_SECONDS = 3.0  # how long another app may hold the lock
# `words` is one index over turns (rowid: the turn's) and titles (rowid: minus the conversation's). Trigrams find any
# part of a text, in every script and with all its signs, where words would miss "frac{1}{2}" and Chinese.
SCHEMA = """
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    id TEXT UNIQUE NOT NULL,
    title TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    parent TEXT,
    branched_at TEXT,
    deleted REAL
);
CREATE TABLE turns (
    number INTEGER PRIMARY KEY,
    id TEXT UNIQUE NOT NULL,
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    body BLOB NOT NULL
);
CREATE INDEX turns_of ON turns (conversation);
CREATE INDEX latest ON conversations (updated);
CREATE VIRTUAL TABLE words USING fts5 (text, conversation UNINDEXED, tokenize = 'trigram');
"""
# Since the first version, so that apps of before and after use one file.
USED = "CREATE TABLE IF NOT EXISTS used (what TEXT PRIMARY KEY, name BLOB NOT NULL)"


class Opened(NamedTuple):
    """A connection, and what the person must know of it ("": nothing)."""

    connection: sqlite3.Connection
    notice: str = ""


def open_file(path: Path) -> Opened:
    """The history in `path`, made where there is none; never raises for what is wrong with the file.

    Raises HistoryError where Python's SQLite is too old for the index.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise HistoryError(
            f"Python's SQLite is {sqlite3.sqlite_version}, and {wanted} is needed", next="Use a newer Python"
        )
    try:
        return _open(path)
    except sqlite3.OperationalError as error:
        return _in_memory(path, str(error))
    except OSError as error:
        return _in_memory(path, error.strerror or str(error))
    except sqlite3.DatabaseError as error:
        return begin_anew(path, str(error))


def damaged(error: sqlite3.Error) -> bool:
    """Whether the file is at fault: sqlite3 raises its bare DatabaseError for a damaged file, and for nothing else."""
    return type(error) is sqlite3.DatabaseError


def begin_anew(path: Path, why: str) -> Opened:
    """Moves a damaged file aside and opens a new one."""
    aside = path.with_name(f"{path.stem}-damaged-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    try:
        for ending in ("-wal", "-shm", ""):  # the file itself last: what is left of a log would spoil the new one
            with suppress(FileNotFoundError):
                os.replace(f"{path}{ending}", f"{aside}{ending}")
        opened = _open(path)
    except (OSError, sqlite3.Error) as error:
        return _in_memory(path, f"it is damaged, and cannot be moved aside: {error}")
    return Opened(opened.connection, f"The history was damaged ({why}). It is now {aside.name}, and a new one begins.")


def _open(path: Path) -> Opened:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(str(path))
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, a power cut the last turns
        version = _prepare(connection)
        if version == VERSION:
            connection.execute("SELECT count(*) FROM conversations").fetchone()
            return Opened(connection)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return _in_memory(path, f"a newer score-local made it: version {version}")


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _prepare(connection: sqlite3.Connection) -> int:
    """Makes the tables of a new file; its version. Two apps may open it at once: the second finds them made."""
    connection.execute("BEGIN IMMEDIATE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
    if version <= VERSION:
        connection.execute(USED)
        connection.execute(f"PRAGMA user_version = {VERSION}")  # a read-only file is found out by writing
    connection.execute("COMMIT")
    return max(version, VERSION)


def _in_memory(path: Path, why: str) -> Opened:
    """A stand-in that is lost with the app, with what can be read of the file."""
    connection = _connect(":memory:")
    with suppress(sqlite3.Error), closing(sqlite3.connect(_readable(path), uri=True)) as file:
        if file.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            file.backup(connection)
    _prepare(connection)
    return Opened(connection, f"The history {path} cannot be used ({why}). What is said now is lost when the app ends.")


def _readable(path: Path) -> str:
    """As a URI. In a read-only folder the index of the log cannot be made; nobody writes there, so none is needed."""
    immutable = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
    return f"{path.absolute().as_uri()}?mode=ro{immutable}"
