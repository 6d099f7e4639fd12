"""The process that compares expressions: `python -m score_local.answers.worker`, started by `expression.py`.

It ends with its stdin, so it outlives no parent; and a question that takes too much of the processor ends it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

from score_local.answers.expression import same_by_math_verify

MAX_MEMORY = 2 * 1024**3  # bytes of address space: 9^{9^{9}} must not push a small machine into swap
MAX_SECONDS = 5.0  # of the processor's time a question: on a busy machine the clock goes on while it only waits


def main() -> None:
    """Say that it is ready, then answer each line of stdin with a line of JSON: true, false or null."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # whatever a library prints is no reply
    logging.disable()
    _limit_memory()
    same_by_math_verify("2x + 6", "6 + 2x")  # imports take a second, and must not count against the first question
    replies.write("true\n")
    replies.flush()
    for line in sys.stdin:
        _allow(MAX_SECONDS)
        replies.write(json.dumps(_verdict(line)) + "\n")
        replies.flush()
        _allow(0)


def _verdict(line: str) -> bool | None:
    try:
        question = json.loads(line)
        return same_by_math_verify(question["left"], question["right"])
    except Exception:  # SymPy raises anything, from TokenError to RecursionError: it cannot tell
        return None


def _allow(seconds: float) -> None:
    """Ends this process after so many more seconds of processor time; 0 takes the limit away."""
    if hasattr(signal, "setitimer"):  # elsewhere the parent's limit, by the clock, has to do
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    if sys.platform == "linux":  # elsewhere the limit does not exist, or is refused
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
