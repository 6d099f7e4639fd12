"""What the app's turns share: the helpers of a policy, which another policy replaces and no turn loses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from score_local.commands import setup
from score_local.engine.protocol import Engine
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import ModelError, PolicyError
from score_local.helpers import Helpers
from score_local.policy import Judge, Policy, Verify
from score_local.sandbox.pool import Sandbox
from score_local.sandbox.protocol import Ran, RunProgram
from tests.tui.host import services
from tui.history import History
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


class Openings:
    """Opens engines, the first slowly; a file of two bytes cannot be loaded."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.begun = 0

    def __call__(self, model: Path, adapters: object) -> Engine:
        self.begun += 1
        if self.begun == 1:
            time.sleep(0.3)
        if model.stat().st_size == 2:
            raise ModelError("is damaged", str(model))
        self.open.append(model.name)
        return Closing(self, model.name)


class Closing(ScriptedEngine):
    def __init__(self, openings: Openings, name: str) -> None:
        super().__init__(lambda request: "nothing is asked")
        self._openings, self._name = openings, name

    def close(self) -> None:
        self._openings.open.remove(self._name)
        super().close()


def loading(folder: Path, act: Callable[[Services, Callable[[str], Path]], Awaitable[None]]) -> Openings:
    openings = Openings()

    def model(name: str, size: int = 4) -> Path:
        (folder / name).write_bytes(b"G" * size)
        return folder / name

    async def main() -> None:
        history = History(folder / "history.db")
        made = Services(history, ALONE, folder / "policy.toml", openings, lambda *_: None)
        await act(made, model)
        await asyncio.to_thread(made.close)

    asyncio.run(main())
    return openings


def test_the_model_that_was_chosen_last_stays_and_no_other_is_left_open(tmp_path: Path) -> None:
    async def act(made: Services, model: Callable[[str], Path]) -> None:
        loads = [made.load(model(name), ALONE) for name in ("slow.gguf", "chosen.gguf")]
        await asyncio.gather(*loads, made.change(Policy(seed=3, verify=ALONE.verify)))
        assert made.loaded == made.model == tmp_path / "chosen.gguf" and openings_of(made) == ["chosen.gguf"]
        assert made.policy.seed == 3

    assert loading(tmp_path, act).open == []


def test_after_a_load_that_failed_none_is_loaded(tmp_path: Path) -> None:
    async def act(made: Services, model: Callable[[str], Path]) -> None:
        await made.load(model("good.gguf"), ALONE)
        damaged = tmp_path / "damaged.gguf"
        damaged.write_bytes(b"GG")
        with pytest.raises(ModelError):
            await made.load(damaged, ALONE)
        assert (made.loaded, made.model) == (None, tmp_path / "good.gguf"), "what F5 loads again"

    assert loading(tmp_path, act).open == []


def openings_of(made: Services) -> list[str]:
    opened = made._open
    assert isinstance(opened, Openings)
    return opened.open
