"""A conversation and the turns that run in it: what the person asks and decides becomes work for a session.

Knows the history and the engine, and nothing of the screen: it is told which turns stand there, and posts news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from score_local.errors import ModelError, UserError
from score_local.policy import Policy
from tui import turns
from tui.literal import one_line
from tui.records import Conversation, Turn, TurnKind, new_id
from tui.services import Services
from tui.session import News, Session, Work

TITLE_WIDTH = 70
PATIENCE = 2.0  # seconds that an app which ends waits for a turn to be kept


class Talk:
    """One conversation at a time; None: a new one, which is kept from its first message on."""

    def __init__(self, services: Services, post: Callable[[News], object]) -> None:
        self._services, self._post = services, post
        self.conversation: Conversation | None = None
        self._sessions: dict[str, Session] = {}

    @property
    def title(self) -> str:
        return self.conversation.title if self.conversation else ""

    @property
    def running(self) -> bool:
        return bool(self._sessions)

    async def open(self, key: str | None) -> list[Turn]:
        """The turns of a conversation of the history, which it goes on with. Raises HistoryError."""
        history = self._services.history
        found = await asyncio.to_thread(history.conversation, key) if key else None
        old = await asyncio.to_thread(history.turns, key) if key else []
        self.cancel()
        self.conversation = found
        return [_settled(turn) for turn in old]

    async def read_title(self) -> None:
        """Another screen or app may have renamed the conversation. Raises HistoryError."""
        if self.conversation:
            key = self.conversation.id
            self.conversation = await asyncio.to_thread(self._services.history.conversation, key)

    async def ask(self, question: str, kind: TurnKind) -> Turn:
        """A new turn, not yet started."""
        if self.conversation is None:
            self.conversation = await self._begun(one_line(question, TITLE_WIDTH))
        return Turn(id=new_id(), conversation=self.conversation.id, kind=kind, question=question, created=time.time())

    def answer(self, turn: Turn, before: Sequence[Turn], policy: Policy | None = None) -> None:
        """Starts a turn; under another policy than the person's where one is given. Raises ModelError."""
        from tui import work  # the loop and its verifiers: not before the first screen

        services, chosen = self._services, policy or self._services.trusted
        context = turns.context_of(before, services.context // 2)
        if turn.kind == "chat":
            self._start(turn, lambda tell: work.replying(turn.question, chosen, context))
        else:
            problem = turns.problem_of(turn)
            self._start(turn, lambda tell: work.solving(problem, chosen, services.trust, context, tell))

    def refine(self, turn: Turn, before: Sequence[Turn], hint: str = "") -> Turn:
        """Starts another refinement of a turn that has a solution; the turn as it is now. Raises ModelError."""
        from tui import work

        trace, policy = turn.trace, self._services.trusted
        assert trace is not None
        context, problem = turns.context_of(before, self._services.context // 2), turns.problem_of(turn)
        again = msgspec.structs.replace(turn, state="running", hint=hint or turn.hint, error="")
        self._start(again, lambda tell: work.refining(problem, trace, policy, context, hint=hint))
        return again

    async def choose(self, turn: Turn) -> Turn:
        """The turn with the first answer in place of the decided one, or the other way about. Raises HistoryError."""
        other = turns.other_answer(turn)
        if other == turn.answer:
            return turn
        turn = msgspec.structs.replace(turn, answer=other)
        await asyncio.to_thread(self._services.history.save_turn, turn)
        return turn

    async def branch(self, turn: Turn) -> str:
        """The id of a new conversation that ends with this turn. Raises HistoryError."""
        return (await asyncio.to_thread(self._services.history.branch, turn.conversation, turn.id)).id

    def cancel(self) -> None:
        """Stops whatever runs; each turn ends with what it has."""
        for session in self._sessions.values():
            session.cancel()

    def finish(self) -> None:
        """Stops whatever runs and waits until that is kept. Blocks."""
        self.cancel()
        for session in list(self._sessions.values()):
            session.join(PATIENCE)

    def shown(self, turn: str) -> None:
        """What was posted of a turn is on the screen."""
        if turn in self._sessions:
            self._sessions[turn].shown()

    def ended(self, turn: Turn) -> None:
        session = self._sessions.pop(turn.id, None)
        if session:
            self._services.returned(session.helpers)

    async def _begun(self, title: str) -> Conversation:
        """In the history, or where it cannot be written, for as long as the app runs."""
        try:
            return await asyncio.to_thread(self._services.history.create, title)
        except UserError as error:
            self._services.notify(str(error), "error")
            now = time.time()
            return Conversation(id=new_id(), title=title, created=now, updated=now)

    def _start(self, turn: Turn, steps: Work) -> None:
        engine, services = self._services.engine(), self._services
        if turn.id in self._sessions:  # a key that was typed twice before the first showed
            raise ModelError("it runs already", next="Wait until it has ended, or cancel it with Escape")
        if engine is None:
            raise ModelError("no model is loaded", next="F2 chooses one")
        save = services.history.save_turn
        self._sessions[turn.id] = Session(turn, steps, engine, services.lend(), save=save, post=self._post)


def _settled(turn: Turn) -> Turn:
    """A turn that was running when its app ended runs no more."""
    return msgspec.structs.replace(turn, state="cancelled") if turn.state == "running" else turn
