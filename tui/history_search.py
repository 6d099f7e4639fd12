"""Searches the index of the history: words are any part of what was said, taken literally, signs and all."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tui.literal import one_line

EXCERPT_WIDTH = 80
TRIGRAM = 3  # shorter terms are not in the index


def matches(database: sqlite3.Connection, terms: Sequence[str]) -> dict[str, str]:
    """Of each conversation that holds all terms in its title or in one turn, the id and an excerpt."""
    indexed = " ".join(f'"{_doubled(term)}"' for term in terms if len(term) >= TRIGRAM)
    short = [term for term in terms if len(term) < TRIGRAM]
    database.create_function("holds", 2, _holds, deterministic=True)  # LIKE knows the two cases of ASCII only
    conditions = ["words MATCH ?"] * bool(indexed) + ["holds(text, ?)"] * len(short)
    values = [indexed] * bool(indexed) + [term.casefold() for term in short]
    query = f"SELECT conversation, text FROM words WHERE {' AND '.join(conditions)} ORDER BY rowid"
    return {key: _excerpt(text, terms[0]) for key, text in database.execute(query, values)}


def _doubled(term: str) -> str:
    return term.replace('"', '""')


def _holds(text: str, term: str) -> bool:
    return term in text.casefold()


def _excerpt(text: str, term: str) -> str:
    start = max(0, text.lower().find(term.lower()) - EXCERPT_WIDTH // 3)
    return ("…" if start else "") + one_line(text[start:], EXCERPT_WIDTH)
