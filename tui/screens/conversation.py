"""The conversation: cards, the prompt, and the line of numbers. It starts turns and shows what comes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Label

from score_local.errors import UserError
from score_local.policy import Policy
from tui import turns
from tui.commands import command_of
from tui.literal import literal, one_line
from tui.records import Conversation, Turn, TurnKind, new_id
from tui.screens.batch import BatchScreen
from tui.screens.dialogs import AskText
from tui.services import Services
from tui.session import Began, Ended, Grew, News, Session, Told, Work
from tui.widgets.card import Card
from tui.widgets.copying import code_of
from tui.widgets.phase import Pace
from tui.widgets.prompt import Prompt
from tui.widgets.status import Numbers, Status

TITLE_WIDTH = 70
MOST_VOTES = 64


class ConversationScreen(Screen[None]):
    """Never locked: whatever fails, the prompt takes the next message."""

    BINDINGS = [
        Binding("escape", "cancel_or_leave", "Cancel / cards", show=False),
        Binding("ctrl+c", "copy_or_cancel", show=False, priority=True),
        Binding("up", "card(-1)", show=False),
        Binding("down", "card(1)", show=False),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (14, "-short"), (30, "-tall")]

    @dataclass
    class Heard(Message):
        """News of a turn, from its thread."""

        news: News

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.conversation: Conversation | None = None
        self.load_share: float | None = None
        self._sessions: dict[str, Session] = {}
        self._phase, self._pace = "", Pace()
        self._told = ""

    def compose(self) -> ComposeResult:
        yield Label(id="title", markup=False)
        with VerticalScroll(id="cards"):
            yield Vertical(id="thread")
        yield Status()
        yield Prompt()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(Prompt).focus()
        self.query_one("#cards", VerticalScroll).anchor()
        self._show_title()
        self.set_interval(0.25, self._tick)

    # -- conversations ----------------------------------------------------------------------------------------------

    async def open(self, key: str | None) -> None:
        """Shows a conversation of the history, folded but for its last card; None: a new one."""
        self._cancel_all()
        history, found, old = self.services.history, None, list[Turn]()
        if key is not None:
            try:
                found = await asyncio.to_thread(history.conversation, key)
                old = await asyncio.to_thread(history.turns, key)
            except UserError as error:
                self.notify(str(error), severity="error", markup=False)
                return
        self.conversation = found
        thread = self.query_one("#thread")
        await thread.remove_children()
        last = len(old) - 1
        await thread.mount_all(self._card(_settled(turn), folded=i != last) for i, turn in enumerate(old))
        self.query_one(Prompt).remember([turn.question for turn in old])
        self.query_one(Prompt).focus()
        self._show_title()

    def turns(self) -> list[Turn]:
        """The turns on the screen, in their order."""
        return [card.turn for card in self.query(Card)]

    # -- what the person asks ---------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    async def _send(self, event: Prompt.Sent) -> None:
        try:
            kind, text = command_of(event.text)
        except UserError as error:
            self._give_back(event.text, str(error))
            return
        if kind == "open":
            self.app.push_screen(BatchScreen(self.services, text))
        elif self.services.engine() is None:
            self._give_back(
                event.text, "No model is loaded yet" if self.load_share is not None else "No model: F2 chooses one"
            )
        else:
            await self.ask(text, kind)

    def _give_back(self, text: str, why: str) -> None:
        """What could not be sent is not lost."""
        self.query_one(Prompt).text = text
        self.notify(why, severity="warning", markup=False)

    async def ask(self, question: str, kind: TurnKind, policy: Policy | None = None) -> None:
        """A new card; under another policy than the person's where one is given."""
        policy, services = policy or self.services.trusted, self.services
        turn = Turn(id=new_id(), conversation=await self._kept(), kind=kind, question=question, created=time.time())
        context = turns.context_of(self.turns(), services.context // 2)
        if kind == "problem":
            problem = turns.problem_of(turn)
            work: Work = lambda tell: turns.solving(problem, policy, services.trust, context, tell)  # noqa: E731
        else:
            work = lambda tell: turns.replying(question, policy, context)  # noqa: E731
        await self.query_one("#thread").mount(self._card(turn))
        self.query_one("#cards", VerticalScroll).anchor()
        self._start(turn, work)

    async def _kept(self) -> str:
        """The id of the conversation, which is begun with its first message."""
        if self.conversation is None:
            try:
                self.conversation = await asyncio.to_thread(self.services.history.create)
            except UserError as error:
                self.notify(str(error), severity="error", markup=False)
                now = time.time()
                self.conversation = Conversation(id=new_id(), created=now, updated=now)
        return self.conversation.id

    def _card(self, turn: Turn, *, folded: bool = False) -> Card:
        return Card(turn, self.services.trusted.verify.gate, folded=folded)

    def _start(self, turn: Turn, work: Work) -> None:
        engine, services = self.services.engine(), self.services
        if engine is None:
            self.notify("No model is loaded: F2 chooses one", severity="warning")
            return
        post: Callable[[News], object] = lambda news: self.post_message(self.Heard(news))  # noqa: E731
        self._sessions[turn.id] = Session(
            turn, work, engine, services.helpers, save=services.history.save_turn, post=post
        )

    # -- what comes of it -------------------------------------------------------------------------------------------

    @on(Heard)
    def _hear(self, event: Heard) -> None:
        news = event.news
        if isinstance(news, Told):
            self._tell_once(news.text)
            return
        key = news.turn if isinstance(news, (Began, Grew)) else news.turn.id
        for card in self.query(f"#card-{key}").results(Card):
            if isinstance(news, (Began, Grew)):
                self._count(news)
                card.hear(news)
            else:
                card.show(news.turn)
        if isinstance(news, Ended):
            self._end(news)

    def _count(self, news: Began | Grew) -> None:
        if isinstance(news, Began):
            if news.phase != self._phase:
                self._phase, self._pace = news.phase, Pace()
        else:
            self._pace.tokens += news.tokens

    def _end(self, news: Ended) -> None:
        self._sessions.pop(news.turn.id, None)
        if not self._sessions:
            self._phase = ""
        if self.conversation and not self.conversation.title:
            self.conversation = msgspec.structs.replace(
                self.conversation, title=one_line(news.turn.question, TITLE_WIDTH)
            )
            self._show_title()
        if news.died:
            self.notify(
                "The engine died; what it wrote is kept. F5 loads the model again", severity="error", timeout=30
            )
        self._tick()

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.notify(text, severity="warning", markup=False)

    # -- what the person decides ------------------------------------------------------------------------------------

    @on(Card.Wanted)
    def _want(self, event: Card.Wanted) -> None:
        card, turn = event.card, event.card.turn
        if event.what.startswith("copy"):
            self._copy(card, event.what)
        elif event.what == "branch":
            self._branch(turn)
        elif turn.state == "running":
            self.notify("Wait until it has ended, or cancel it with Escape")
        elif turn.kind == "problem":
            self._act(card, event.what)

    def _act(self, card: Card, what: str) -> None:
        if what == "accept":
            self._accept(card)
        elif what == "refine":
            self._refine(card)
        elif what == "hint":
            self._ask_hint(card)
        elif what == "seed":
            self._reseed(card)
        elif what == "vote":
            self._vote(card)

    @work
    async def _accept(self, card: Card) -> None:
        """The first answer instead of the refined one, or back again."""
        trace = card.turn.trace
        if trace is None or trace.initial is None:
            return
        refined = turns.refinement_of(trace)
        first = trace.initial.answer
        chosen = first if card.turn.answer != first or refined is None else refined.answer
        turn = msgspec.structs.replace(card.turn, answer=chosen)
        card.show(turn)
        try:
            await asyncio.to_thread(self.services.history.save_turn, turn)
        except UserError as error:
            self._tell_once(str(error))

    def _refine(self, card: Card, hint: str = "") -> None:
        turn = msgspec.structs.replace(card.turn, state="running", hint=hint or card.turn.hint, error="")
        trace = turn.trace
        if trace is None or trace.initial is None:
            self.notify("There is no solution to refine")
            return
        before = [other for other in self.turns() if other.created < turn.created]
        context, policy = turns.context_of(before, self.services.context // 2), self.services.trusted
        problem = turns.problem_of(turn)
        card.show(turn)
        self._start(turn, lambda tell: turns.refining(problem, trace, policy, context, hint=hint))

    @work
    async def _ask_hint(self, card: Card) -> None:
        hint = await self.app.push_screen_wait(AskText("A hint for the refiner"))
        if hint:
            self._refine(card, hint)

    @work
    async def _reseed(self, card: Card) -> None:
        again = sum(turn.question == card.turn.question for turn in self.turns())
        policy = self.services.trusted
        await self.ask(card.turn.question, "problem", turns.with_seed(policy, policy.seed + again))

    @work
    async def _vote(self, card: Card) -> None:
        policy = self.services.trusted
        count = await self.app.push_screen_wait(AskText("How many solutions vote?", str(policy.vote.samples)))
        if count is None:
            return
        if not count.strip().isdecimal() or not 0 < int(count) <= MOST_VOTES:
            self.notify(f"From 1 to {MOST_VOTES} solutions can vote", severity="warning")
            return
        await self.ask(card.turn.question, "problem", turns.with_vote(policy, int(count)))

    @work
    async def _branch(self, turn: Turn) -> None:
        try:
            child = await asyncio.to_thread(self.services.history.branch, turn.conversation, turn.id)
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        await self.open(child.id)

    def _copy(self, card: Card, what: str) -> None:
        whole = "\n\n".join(card.texts())
        text = {"copy-answer": card.turn.answer or card.turn.reply, "copy-card": whole, "copy-code": code_of(whole)}[
            what
        ]
        if text:
            self.app.copy_to_clipboard(text)
        self.notify("Copied" if text else "There is nothing of that to copy")

    # -- keys -------------------------------------------------------------------------------------------------------

    def action_cancel_or_leave(self) -> None:
        """Cancels what runs; else goes to the cards, or from there to the prompt."""
        if self._sessions:
            self._cancel_all()
        elif isinstance(self.focused, Prompt) and self.query(Card):
            self.query(Card).last().focus()
        else:
            self.query_one(Prompt).focus()

    def action_copy_or_cancel(self) -> None:
        if self.get_selected_text() is not None:
            self.action_copy_text()
        elif isinstance(self.focused, Prompt) and self.focused.selected_text:
            self.focused.action_copy()
        elif self._sessions:
            self._cancel_all()
        else:
            self.notify("Ctrl+Q quits")

    def action_card(self, step: int) -> None:
        """To the card before or the next; after the last one, to the prompt."""
        cards = list(self.query(Card))
        at = next((i for i, card in enumerate(cards) if card.has_focus_within or card.has_focus), len(cards)) + step
        if 0 <= at < len(cards):
            cards[at].focus()
        elif at >= len(cards):
            self.query_one(Prompt).focus()

    def _cancel_all(self) -> None:
        for session in self._sessions.values():
            session.cancel()

    # -- what is always shown ---------------------------------------------------------------------------------------

    def _show_title(self) -> None:
        title = self.conversation.title if self.conversation and self.conversation.title else "A new conversation"
        self.query_one("#title", Label).update(Content(literal(title)))

    def _tick(self) -> None:
        services, phases = self.services, [phase for turn in self.turns()[-1:] for phase in turn.phases]
        context = phases[-1].prompt + phases[-1].generated if phases else 0
        running = self._phase if self._sessions else ""
        numbers = Numbers(
            services.model,
            tuple(services.trusted.adapters),
            services.trusted.verify.gate,
            context,
            services.context,
            running,
            self._pace.text() if running else "",
            self.load_share,
        )
        self.query_one(Status).tell(numbers)


def _settled(turn: Turn) -> Turn:
    """A turn that was running when its app ended runs no more."""
    if turn.state != "running":
        return turn
    return msgspec.structs.replace(turn, state="cancelled", error="cut off")
