"""Who answers what the run's own engine does not: a judge, which is another engine, and the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Engine, Listener
from score_local.errors import EngineError
from score_local.sandbox.pool import Sandbox
from score_local.sandbox.protocol import Ran, RunProgram


class ProgramListener(Protocol):
    def done(self, reply: Ran) -> None: ...


@dataclass(frozen=True, slots=True)
class Helpers:
    """Either may be absent: what is asked of it then fails, and whoever asked says *unknown*. Close them at the end."""

    judge: Engine | None = None
    sandbox: Sandbox | None = None

    def ask_judge(self, asked: ToJudge, listener: Listener) -> Callable[[], None]:
        if self.judge is not None:
            return self.judge.submit(asked.request, listener)
        listener.done(EngineError("no judge is configured: add [judge] to the policy"))
        return lambda: None

    def run(self, program: RunProgram, listener: ProgramListener) -> Callable[[], None]:
        if self.sandbox is not None:
            return self.sandbox.submit(program, listener.done)
        listener.done(Ran("error", "there is no sandbox"))
        return lambda: None

    def close(self) -> None:
        for helper in (self.judge, self.sandbox):
            if helper is not None:
                helper.close()


NO_HELPERS = Helpers()
