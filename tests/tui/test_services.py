"""What the app's turns share: the helpers of a policy, which another policy replaces and no turn loses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from score_local.commands import setup
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import PolicyError
from score_local.helpers import Helpers
from score_local.policy import Judge, Policy, Verify
from score_local.sandbox.pool import Sandbox
from score_local.sandbox.protocol import Ran, RunProgram
from tests.tui.host import services
from tui.services import Services

PROGRAMS = Policy(verify=Verify(verifiers=("program",)))
ALONE = Policy(verify=Verify(verifiers=("self",)))


class Counted(Sandbox):
    """Knows whether it is closed."""

    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture(autouse=True)
def sandboxes(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """Those that were made, in their order."""
    made: list[Counted] = []

    def helpers_of(policy: Policy) -> Helpers:
        setup.check_judge(policy)
        if "program" not in policy.verify.verifiers:
            return Helpers()
        made.append(Counted())
        return Helpers(sandbox=made[-1])

    monkeypatch.setattr(setup, "helpers_of", helpers_of)
    return made


def drive(folder: Path, act: Callable[[Services], Awaitable[None]]) -> None:
    async def main() -> None:
        made = services(folder, ScriptedEngine(lambda request: "nothing is asked"))
        await made.change(PROGRAMS)
        await act(made)
        await asyncio.to_thread(made.close)

    asyncio.run(main())


def test_helpers_that_change_nothing_are_kept(tmp_path: Path, sandboxes: list[Counted]) -> None:
    async def act(made: Services) -> None:
        await made.change(Policy(seed=1, verify=Verify(verifiers=("self", "program"))))
        assert len(sandboxes) == 1 and not sandboxes[0].closed

    drive(tmp_path, act)
    assert sandboxes[0].closed


def test_a_turn_keeps_its_helpers_until_it_has_ended(tmp_path: Path, sandboxes: list[Counted]) -> None:
    async def act(made: Services) -> None:
        lent, other = made.lend(), made.lend()
        await made.change(ALONE)
        assert made.lend().sandbox is None, "the next turn has the new ones"
        made.returned(other)
        ran = await asyncio.to_thread(sandboxes[0].run, "def solution():\n    return 7")
        assert ran == Ran("value", "7")
        made.returned(lent)
        while not sandboxes[0].closed:
            await asyncio.sleep(0.01)

    drive(tmp_path, act)


def test_the_end_closes_what_is_lent(tmp_path: Path, sandboxes: list[Counted]) -> None:
    heard: list[Ran] = []

    async def act(made: Services) -> None:
        lent = made.lend()
        await made.change(ALONE)
        await asyncio.to_thread(made.close)
        assert sandboxes[0].closed and lent.sandbox
        lent.sandbox.submit(RunProgram(""), heard.append)
        made.returned(lent)

    drive(tmp_path, act)
    assert [ran.outcome for ran in heard] == ["error"]


def test_a_judge_that_is_not_named_is_refused(tmp_path: Path) -> None:
    async def act(made: Services) -> None:
        with pytest.raises(PolicyError):
            await made.change(Policy(verify=Verify(verifiers=("program", "model"))))
        assert made.policy == PROGRAMS
        await made.change(Policy(verify=Verify(verifiers=("program",)), judge=Judge("nobody asks it")))

    drive(tmp_path, act)
