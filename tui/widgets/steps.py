"""A solution in its steps: the first wrong one marked, and a refinement set against what it replaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from score_local.trace import Attempt, Round
from tui.literal import literal
from tui.widgets.sections import Section


def marked_steps(attempt: Attempt, verdict: Round | None) -> list[Section]:
    """The steps of an attempt; the first that a verifier found wrong is marked and says what it found."""
    signals = [signal for signal in (verdict.signals if verdict else ()) if signal.wrong_step]
    first = min(signals, key=lambda signal: signal.wrong_step or 0, default=None)
    sections = []
    for number, step in enumerate(_steps(attempt.text), 1):
        wrong = first is not None and first.wrong_step == number
        note = f"{first.verifier}: {literal(first.reason)}" if first and wrong else ""
        sections.append(Section(step, "wrong" if wrong else "", note))
    return sections


def changed_steps(before: Attempt, after: Attempt) -> list[Section]:
    """The steps of a refinement against those before: what went out, what came in, what stayed."""
    return list(_changes(_steps(before.text), _steps(after.text)))


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[Section]:
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (Section(step) for step in new[c:d])
        else:
            yield from (Section(step, "removed") for step in old[a:b])
            yield from (Section(step, "added") for step in new[c:d])


def _steps(text: str) -> list[str]:
    from score_local.verifiers.equations import split_steps  # not before the first screen

    return [literal(step) for step in split_steps(text)]
