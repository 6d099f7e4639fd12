"""What the app knows and can do, for its screens: history, policy, model, engine, helpers.

Textual-free, so that a test builds one with a scripted engine. It does not know what is on the screen; `notify` tells
the person something, whatever is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from score_local.engine.protocol import Engine
from score_local.helpers import NO_HELPERS, Helpers
from score_local.policy import Judge, Policy, load_policy
from score_local.verifiers.calibration import NOTHING_KNOWN, Trust

if TYPE_CHECKING:
    from tui.history import History

OpenEngine = Callable[[Path, Mapping[str, Path]], Engine]
Progress = Callable[[float], None]
MadeOf = tuple[bool, bool, Judge | None]  # of helpers: are programs run, is a judge asked, and which
NOTHING_ASKED: MadeOf = (False, False, None)
CHUNK = 2**24  # bytes read between two tellings of a load's progress


class Notify(Protocol):
    """Tells the person something; `severity` is information, warning or error."""

    def __call__(self, text: str, severity: str = "information") -> None: ...


class Services:
    """`policy` is what the person set, in the file `policy_path`; `model` is the one that was loaded last, and stays so
    after a load that failed; `loaded` is None then, as before the first load.

    `context` is how many tokens a sequence of the engines that `open_engine` opens can hold: a batch's manifest names
    it. `trusted` is the policy with what a calibration adds to it, `trust` the calibration.
    """

    def __init__(
        self,
        history: History,
        policy: Policy,
        policy_path: Path,
        open_engine: OpenEngine,
        notify: Notify,
        *,
        context: int = 2048,
    ) -> None:
        self.history, self.policy, self.policy_path, self.notify = history, policy, policy_path, notify
        self.context = context
        self.model: Path | None = None
        self.trusted, self.trust = policy, NOTHING_KNOWN
        self._helpers, self._made_of = NO_HELPERS, NOTHING_ASKED
        self._lent: list[Helpers] = []
        self._open = open_engine
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()

    def shipped(self, model: Path | None = None) -> Path | None:
        """The policy file that comes with a model of the catalogue; of the one that is loaded where none is named."""
        from score_local import catalog

        model = model or self.model
        return catalog.shipped_policy(model) if model else None

    def policy_for(self, model: Path) -> Policy:
        """What the person set, and where that says nothing what ships with the model. Raises PolicyError."""
        own = self.policy_path if self.policy_path.exists() else None
        return load_policy(own, shipped=self.shipped(model))

    def engine(self) -> Engine | None:
        """The engine that is loaded; None before the first load and after one that failed."""
        return self._engine

    @property
    def loaded(self) -> Path | None:
        """The model that can be asked."""
        return self.model if self._engine else None

    async def load(self, model: Path, policy: Policy, progress: Progress = lambda share: None) -> None:
        """Replaces the engine, off the screen's thread. `progress` hears the share that is read, from 0 to 1. One load
        waits for the other: the last one that was asked for is what stays.

        Raises UserError where the model, an adapter or what the policy names cannot be used. What is refused by its
        looks leaves the old engine as it was; after one that failed to load there is none, for two found no room.
        """
        async with self._loading:
            await self._replace(model, policy, progress)

    async def _replace(self, model: Path, policy: Policy, progress: Progress = lambda share: None) -> None:
        trusted, trust, adapters = await asyncio.to_thread(_checked, policy, model)
        await asyncio.to_thread(self.close)
        loop = asyncio.get_running_loop()

        def tell(share: float) -> None:
            loop.call_soon_threadsafe(progress, share)

        await asyncio.to_thread(read_through, model, tell)
        self._engine = await asyncio.to_thread(self._open, model, adapters)
        await self._take(policy, trusted, trust)
        self.model = model

    async def change(self, policy: Policy) -> None:
        """Goes on with another policy, and loads the model again where its adapters are others. Raises UserError."""
        async with self._loading:
            if self.model is None:
                self.policy = self.trusted = policy
            elif policy.adapters != self.policy.adapters or self._engine is None:
                await self._replace(self.model, policy)
            else:
                trusted, trust, _ = await asyncio.to_thread(_checked, policy, self.model)
                await self._take(policy, trusted, trust)

    def close(self) -> None:
        """Cancels what runs and frees the model. Blocks for one micro-batch."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        helpers, self._helpers, self._made_of = [self._helpers, *self._lent], NO_HELPERS, NOTHING_ASKED
        self._lent.clear()
        for each in helpers:
            each.close()

    def lend(self) -> Helpers:
        """The helpers of the policy, for a turn. Another policy leaves them open until they are returned."""
        self._lent.append(self._helpers)
        return self._helpers

    def returned(self, helpers: Helpers) -> None:
        """The turn they were lent to is over."""
        if helpers in self._lent:  # the others are closed, with the engine that was loaded then
            self._lent.remove(helpers)
            self._drop(helpers)

    async def _take(self, policy: Policy, trusted: Policy, trust: Trust) -> None:
        from score_local.commands.setup import helpers_of

        before, made_of = self._helpers, _made_of(trusted)
        if made_of != self._made_of:
            self._helpers = await asyncio.to_thread(helpers_of, trusted)
            self._made_of = made_of
        self.policy, self.trusted, self.trust = policy, trusted, trust
        self._drop(before)

    def _drop(self, helpers: Helpers) -> None:
        """Closes helpers that nobody needs any more, behind the screen's back: a program of theirs may still run."""
        if helpers is not self._helpers and helpers not in self._lent:
            asyncio.get_running_loop().run_in_executor(None, helpers.close)


def _made_of(policy: Policy) -> MadeOf:
    asked = policy.verify.verifiers
    return "program" in asked, "model" in asked, policy.judge if "model" in asked else None


def _checked(policy: Policy, model: Path) -> tuple[Policy, Trust, dict[str, Path]]:
    """The policy with what is learned, the calibration, and the adapters' files. Raises UserError."""
    from score_local.commands import setup

    found = setup.adapters_of(policy, model)
    trust = setup.trust_of(policy, found)
    return setup.trusting(policy, trust), trust, {role: adapter.file for role, adapter in found.items()}


def read_through(file: Path, progress: Progress) -> None:
    """Reads a file into the page cache, where llama.cpp's memory map finds it: the part of a load that can be told.

    Tells nothing of a file that cannot be read: the engine then says why.
    """
    try:
        size, done = max(1, file.stat().st_size), 0
        with file.open("rb", buffering=0) as source:
            while piece := source.read(CHUNK):
                done += len(piece)
                progress(done / size)
    except OSError:
        return
