"""The process that compares expressions: `python -m score_local.answers.worker`, started by `expression.py`.

It ends with its stdin, so it outlives no parent; and where the parent dies while it computes, by a watchdog.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys

from score_local.answers.expression import same_by_math_verify

MAX_MEMORY = 2 * 1024**3  # bytes of address space: 9^{9^{9}} must not push a small machine into swap
MAX_SECONDS = 60  # the parent's limit is far below


def main() -> None:
    """Say that it is ready, then answer each line of stdin with a line of JSON: true, false or null."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # whatever a library prints is no reply
    logging.disable()
    _limit_memory()
    same_by_math_verify("x", "y")  # imports take a second, and must not count against the first question
    replies.write("true\n")
    replies.flush()
    for line in sys.stdin:
        faulthandler.dump_traceback_later(MAX_SECONDS, exit=True)
        replies.write(json.dumps(_verdict(line)) + "\n")
        replies.flush()
        faulthandler.cancel_dump_traceback_later()


def _verdict(line: str) -> bool | None:
    try:
        question = json.loads(line)
        return same_by_math_verify(question["left"], question["right"])
    except Exception:  # SymPy raises anything, from TokenError to RecursionError: it cannot tell
        return None


def _limit_memory() -> None:
    if sys.platform == "linux":  # elsewhere the limit does not exist, or is refused
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
