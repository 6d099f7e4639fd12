"""What a proof is made of: findings that passed, failed, or could not be checked."""

from __future__ import annotations

from typing import Union

import msgspec

from score_local.errors import MemoryLimit, ScoreLocalError


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    `file` names the output it is about, "" where it is about the adapter itself. `passed` None means unknown: it could
    not be checked, and `remark` says why. `bound` is what `value` was held against.
    """

    name: str
    file: str = ""
    passed: bool | None
    value: Union[float, int, None] = None
    bound: Union[float, int, None] = None
    remark: str = ""


def unknown(name: str, file: str, why: str) -> Finding:
    return Finding(name=name, file=file, passed=None, remark=why)


def not_computed(name: str, file: str, error: ScoreLocalError) -> Finding:
    """A check that ended in an error: too little memory says nothing of the file, anything else is its fault."""
    return Finding(name=name, file=file, passed=None if isinstance(error, MemoryLimit) else False, remark=str(error))
