"""The sandbox as the application sees it: programs go in from any thread, outcomes come out."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from score_local.answers.process import Worker
from score_local.sandbox.protocol import OUTCOMES, Ran, RunProgram

MAX_SOURCE = 10_000  # characters of a program
PATIENCE = 60.0  # seconds for an answer: a nursery stops programs itself, but may have to import SymPy before
_ROOT = Path(__file__).parent.parent.parent


class Sandbox:
    """Runs programs in `workers` nurseries, which are started when first needed and started anew after they died.

    Thread-safe. Close it, or the helper processes stay until the application ends.
    """

    def __init__(self, workers: int = 2) -> None:
        self._nurseries = [Worker("score_local.sandbox.launch", cwd=_ROOT, limit=PATIENCE) for _ in range(workers)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for nursery in self._nurseries:
            self._free.put(nursery)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="score-local-sandbox")

    def submit(self, request: RunProgram, done: Callable[[Ran], None]) -> Callable[[], None]:
        """Returns at once; `done` hears the outcome once, from another thread, or at once where the sandbox is closed.
        The function returned takes a program that did not begin yet out of the queue."""

        def tell(future: Future[Ran]) -> None:
            done(Ran("error", "cancelled") if future.cancelled() else future.result())

        try:
            future = self._threads.submit(self.run, request.source)
        except RuntimeError as error:  # whoever still holds a closed sandbox is told, as of any other failure
            done(Ran("error", f"the sandbox takes no program: {error}"))
            return lambda: None
        future.add_done_callback(tell)

        def cancel() -> None:
            future.cancel()

        return cancel

    def run(self, source: str) -> Ran:
        """Runs a program and waits for its outcome: milliseconds, or as long as the limits let it."""
        if len(source) > MAX_SOURCE:
            return Ran("forbidden", f"the program is longer than {MAX_SOURCE:,} characters")
        answer = self._ask({"source": source})
        if not isinstance(answer, list) or len(answer) != 2 or answer[0] not in OUTCOMES:
            return Ran("error", "the sandbox did not answer")
        return Ran(answer[0], str(answer[1]))

    def walls(self) -> dict[str, bool]:
        """What a confined process tried, and whether it was kept from it: "network", "reading files", ...; {} where no
        process can be confined on this system."""
        answer = self._ask({})
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        """Waits for the programs that run and ends the helper processes."""
        self._threads.shutdown(cancel_futures=True)
        for nursery in self._nurseries:
            nursery.close()

    def _ask(self, question: dict[str, str]) -> object:
        nursery = self._free.get()
        try:
            answer: object = nursery.ask(question)
            return answer
        finally:
            self._free.put(nursery)
