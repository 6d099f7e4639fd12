"""The conversation: cards, the prompt, and the line of numbers. It hands what the person wants to `Talk`, and shows
what comes of it."""

from __future__ import annotations

from contextlib import suppress
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

from score_local.errors import HistoryError, UserError
from score_local.policy import Policy
from tui.commands import command_of
from tui.literal import literal
from tui.records import Turn, TurnKind
from tui.screens.dialogs import AskText
from tui.services import Services
from tui.session import Began, Ended, Grew, News, Told
from tui.talk import Talk
from tui.widgets.card import Card
from tui.widgets.copying import code_of
from tui.widgets.growing import Growing
from tui.widgets.phase import Pace
from tui.widgets.prompt import Prompt
from tui.widgets.status import Numbers, Status

MOST_VOTES = 64
NO_MODEL = "No model is loaded: F2 chooses one"
TICK = 0.25  # seconds between two looks at the numbers


class Thread(Vertical, Growing):
    """The cards, one below the other."""


class Cards(VerticalScroll, Growing):
    """The part of the thread that is seen."""


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
        self.talk = Talk(services, lambda news: self.post_message(self.Heard(news)))
        self.load_share: float | None = None
        self._phase, self._pace = "", Pace()
        self._told = ""
        self._waiting: list[Prompt.Sent] = []

    def compose(self) -> ComposeResult:
        yield Label(id="title", markup=False)
        with Cards(id="cards"):
            yield Thread(id="thread")
        yield Status()
        yield Prompt()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(Prompt).focus()
        self.query_one("#cards", VerticalScroll).anchor()
        self._show_title()
        self.set_interval(TICK, self._tick)

    async def open(self, key: str | None) -> None:
        """Shows a conversation of the history, folded but for its last card; None: a new one."""
        try:
            old = await self.talk.open(key)
        except UserError as error:
            self._tell(error)
            return
        thread, last = self.query_one("#thread"), len(old) - 1
        await thread.remove_children()
        await thread.mount_all(self._card(turn, folded=i != last) for i, turn in enumerate(old))
        self.query_one(Prompt).remember([turn.question for turn in old])
        self.query_one(Prompt).focus()
        self._show_title()

    @work
    async def open_batch(self, file: str = "") -> None:
        """A file of problems; a problem of it may be gone on with here."""
        if not self.is_current:
            return
        from tui.screens.batch import BatchScreen

        key = await self.app.push_screen_wait(BatchScreen(self.services, file))
        if key:
            await self.open(key)

    def _cards(self) -> list[Card]:
        return [card for card in self.query_one(Thread).children if isinstance(card, Card)]

    def turns(self, until: Turn | None = None) -> list[Turn]:
        """The turns on the screen, in their order; those before `until`."""
        shown = [card.turn for card in self._cards()]
        return [turn for turn in shown if until is None or turn.created < until.created]

    # -- what the person asks ---------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    async def _send(self, event: Prompt.Sent) -> None:
        try:
            kind, text = command_of(event.text)
        except UserError as error:
            self._give_back(event.text, str(error))
            return
        if kind == "open":
            self.open_batch(text)
        elif self.load_share is not None:
            self._waiting.append(event)
            self.notify("It is asked as soon as the model is loaded")
        elif self.services.engine() is None:
            self._give_back(event.text, NO_MODEL)
        else:
            await self.ask(text, kind)

    async def loaded(self) -> None:
        """What was asked while the model was being loaded is asked now, or given back where there is none."""
        waiting, self._waiting = self._waiting, []
        if waiting and self.services.engine() is None:
            self._give_back("\n".join(event.text for event in waiting), NO_MODEL)
            return
        for event in waiting:
            await self._send(event)

    def _give_back(self, text: str, why: str) -> None:
        """What could not be sent is not lost, nor what was written since."""
        prompt = self.query_one(Prompt)
        prompt.text = f"{text}\n{prompt.text}" if prompt.text else text
        prompt.move_cursor(prompt.document.end)
        self.notify(why, severity="warning", markup=False)

    async def ask(self, question: str, kind: TurnKind, policy: Policy | None = None) -> None:
        """A new card; under another policy than the person's where one is given."""
        before = self.turns()
        turn = await self.talk.ask(question, kind)
        card = self._card(turn)
        await self.query_one("#thread").mount(card)
        self.query_one(Prompt).focus(scroll_visible=False)
        self.query_one("#cards", VerticalScroll).anchor()
        self._show_title()
        try:
            self.talk.answer(turn, before, policy)
        except UserError as error:
            card.show(msgspec.structs.replace(turn, state="failed", error=str(error)))

    def _card(self, turn: Turn, *, folded: bool = False) -> Card:
        return Card(turn, self.services.trusted.verify.gate, folded=folded)

    # -- what comes of it -------------------------------------------------------------------------------------------

    @on(Heard)
    def _hear(self, event: Heard) -> None:
        news = event.news
        if isinstance(news, Told):
            self._tell_once(news.text)
            return
        if isinstance(news, Grew):
            self.call_after_refresh(self.talk.shown, news.turn)
        key = news.turn if isinstance(news, (Began, Grew)) else news.turn.id
        for card in (card for card in self._cards() if card.turn.id == key):
            if isinstance(news, (Began, Grew)):
                self._count(news)
                card.hear(news)
            else:
                card.show(news.turn)
        if isinstance(news, Ended):
            self._end(news)

    def _count(self, news: Began | Grew) -> None:
        if isinstance(news, Grew):
            self._pace.count(news.tokens)
        elif news.phase != self._phase:
            self._phase, self._pace = news.phase, Pace()

    def _end(self, news: Ended) -> None:
        self.talk.ended(news.turn)
        self._phase = self._phase if self.talk.running else ""
        if news.died:
            self.notify(
                "The engine died; what it wrote is kept. F5 loads the model again", severity="error", timeout=30
            )
        self._tick()

    # -- what the person decides ------------------------------------------------------------------------------------

    @on(Card.Wanted)
    def _want(self, event: Card.Wanted) -> None:
        if event.what.startswith("copy"):
            self._copy(event.card, event.what)
        elif event.card.turn.state == "running":
            self.notify("Wait until it has ended, or cancel it with Escape")
        else:
            self._do(event.card, event.what)

    @work
    async def _do(self, card: Card, what: str) -> None:
        try:
            if what == "branch":
                await self.open(await self.talk.branch(card.turn))
            elif card.turn.kind == "problem":
                await self._decide(card, what)
        except UserError as error:
            self._tell(error)

    async def _decide(self, card: Card, what: str) -> None:
        turn, policy = card.turn, self.services.trusted
        solved = turn.trace is not None and turn.trace.initial is not None
        if what == "accept":
            card.show(await self.talk.choose(turn))
        elif what == "refine" and solved:
            card.show(self.talk.refine(turn, self.turns(turn)))
        elif what == "hint" and solved:
            hint = await self.app.push_screen_wait(AskText("A hint for the refiner"))
            if hint:
                card.show(self.talk.refine(turn, self.turns(turn), hint))
        elif what == "seed":
            from tui.work import with_seed

            seed = policy.seed + sum(other.question == turn.question for other in self.turns())
            await self.ask(turn.question, "problem", with_seed(policy, seed))
        elif what == "vote":
            await self._vote(turn.question, policy)

    async def _vote(self, question: str, policy: Policy) -> None:
        count = await self.app.push_screen_wait(AskText("How many solutions vote?", str(policy.vote.samples)))
        if count is None:
            return
        from tui.work import with_vote

        if count.strip().isdecimal() and 0 < int(count) <= MOST_VOTES:
            await self.ask(question, "problem", with_vote(policy, int(count)))
        else:
            self.notify(f"From 1 to {MOST_VOTES} solutions can vote", severity="warning")

    def _copy(self, card: Card, what: str) -> None:
        whole = "\n\n".join(card.texts())
        answer = card.turn.answer or card.turn.reply
        text = {"copy-answer": answer, "copy-card": whole, "copy-code": code_of(whole)}[what]
        if text:
            self.app.copy_to_clipboard(text)
        self.notify("Copied" if text else "There is nothing of that to copy")

    # -- keys -------------------------------------------------------------------------------------------------------

    def action_cancel_or_leave(self) -> None:
        """Cancels what runs; else goes to the cards, or from there to the prompt."""
        if self.talk.running:
            self.talk.cancel()
        elif isinstance(self.focused, Prompt) and self._cards():
            self._cards()[-1].focus()
        else:
            self.query_one(Prompt).focus()

    def action_copy_or_cancel(self) -> None:
        if self.get_selected_text() is not None:
            self.action_copy_text()
        elif isinstance(self.focused, Prompt) and self.focused.selected_text:
            self.focused.action_copy()
        elif self.talk.running:
            self.talk.cancel()
        else:
            self.notify("Ctrl+Q quits")

    def action_card(self, step: int) -> None:
        """To the card before or the next; after the last one, to the prompt."""
        cards = self._cards()
        at = next((i for i, card in enumerate(cards) if card.has_focus_within), len(cards)) + step
        if 0 <= at < len(cards):
            cards[at].focus()
        elif at >= len(cards):
            self.query_one(Prompt).focus()

    # -- what is always shown ---------------------------------------------------------------------------------------

    async def read_title(self) -> None:
        """After a look at the history, where the conversation may have got another."""
        with suppress(HistoryError):  # it was never kept, or it was deleted: its cards stay on the screen
            await self.talk.read_title()
        self._show_title()

    def _show_title(self) -> None:
        self.query_one("#title", Label).update(Content(literal(self.talk.title or "A new conversation")))

    def _tell(self, error: UserError) -> None:
        self.notify(str(error), severity="error", markup=False)

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.notify(text, severity="warning", markup=False)

    def _tick(self) -> None:
        for card in self._cards():
            card.tick()
        services = self.services
        phases = [phase for turn in self.turns()[-1:] for phase in turn.phases if not phase.cut_off]
        numbers = Numbers(
            services.loaded,
            tuple(services.trusted.adapters),
            services.trusted.verify.gate,
            phases[-1].prompt + phases[-1].generated if phases else 0,
            services.context,
            self._phase,
            self._pace.text() if self._phase else "",
            self.load_share,
        )
        self.query_one(Status).tell(numbers)
