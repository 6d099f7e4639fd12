"""Every error that score-local raises on purpose.

    ScoreLocalError
    ├── UserError          a mistake the user can mend: one line on stderr, exit code 2
    │   ├── InputError     a problem file, or one record of it
    │   ├── PolicyError    a policy file or a flag that changes it
    │   ├── ModelError     a GGUF, an adapter or the catalogue
    │   ├── MemoryLimit    the model and its KV cache do not fit
    │   ├── RunError       a run folder: changed manifest, missing refinements, full disk
    │   └── HistoryError   the terminal app's history: locked, damaged, full disk
    └── EngineError        one request failed; the others go on
        ├── TooLong        the prompt does not fit into a sequence
        ├── EngineDied     the engine's thread has ended: load the model again
        └── Cancelled      the request was cancelled before it ended

A message says what, where, and what to do next. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class ScoreLocalError(Exception):
    """Root of the tree; never raised itself."""


class UserError(ScoreLocalError):
    """A mistake the user can mend.

    `what` went wrong, `where` (a file, a line, a flag), and what to do `next`; together they make one line.
    """

    exit_code = 2

    def __init__(self, what: str, where: str = "", next: str = "") -> None:
        self.what, self.where, self.next = what, where, next
        line = f"{where}: {what}" if where else what
        super().__init__(" ".join(f"{line}. {next}".split()) if next else " ".join(line.split()))


class InputError(UserError):
    """A problem file, or one record of it, cannot be used."""


class PolicyError(UserError):
    """A policy file holds an unknown key or a value out of range."""


class ModelError(UserError):
    """A model or adapter is missing, damaged, or does not fit the task."""


class MemoryLimit(UserError):
    """The model, its KV cache and the working buffers do not fit into the memory that is free."""


class RunError(UserError):
    """A run folder cannot be started, continued, read or written."""


class HistoryError(UserError):
    """The conversations of the terminal app cannot be read or written now."""


class EngineError(ScoreLocalError):
    """One request could not be served. The engine lives on unless it says otherwise."""


class TooLong(EngineError):
    """The prompt leaves no room for an answer in one sequence's context."""


class EngineDied(EngineError):
    """The engine's thread has ended, and answers nothing from here on."""


class Cancelled(EngineError):
    """The request was cancelled."""
