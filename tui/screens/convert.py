"""The convert screen: an adapter and its base, what `check` finds, the conversion as it goes, a model at the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Label, Log, ProgressBar, Static

from score_local.catalog import resolve, resolve_base
from score_local.errors import ModelError, UserError
from tui.convert_job import ConvertJob, Order, Outcome
from tui.fetch_base import fetchable
from tui.literal import literal
from tui.screens.dialogs import Confirm
from tui.screens.models import ModelChoice
from tui.screens.paths import PathSuggester
from tui.screens.table import Column, LiteralTable
from tui.typed import path_of

if TYPE_CHECKING:
    from convert.check import Rule

FIELDS = (
    ("adapter", "", "the folder that PEFT saved"),
    ("base", "", "a Hugging Face folder, a GGUF, or a name of the catalogue"),
    ("types", "q4_k_m", "such as q4_k_m,q8_0"),
    ("out", "converted", "the folder for the files"),
)
COLUMNS = (Column("rule", 16), Column("finding", 11), Column("what is found"))
STYLES = {"good": "green", "look": "yellow", "stops": "bold red"}


class NotHere(ModelError):
    """The base is not on this machine, and the hub may have it."""


class ConvertScreen(Screen[ModelChoice | None]):
    """Ends with the model that was made, where the person wants to use it; else None."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "convert", "Convert"),
        Binding("u", "use", "Use the model"),
        Binding("e", "focus('#adapter')", "Edit"),
        Binding("escape", "leave", "Stop, close"),
    ]

    @dataclass
    class Said(Message):
        """From the converting thread: a line that the conversion has printed."""

        line: str

    @dataclass
    class Came(Message):
        """From the converting thread: how far a part is."""

        part: str
        percent: int

    @dataclass
    class Over(Message):
        """The conversion has ended, after all that it told."""

        outcome: Outcome

    def __init__(self) -> None:
        super().__init__()
        self._rules: dict[str, Rule] = {}
        self._checked: Order | None = None
        self._job: ConvertJob | None = None
        self._made = ""

    def compose(self) -> ComposeResult:
        yield Label(Content("Convert an adapter into a model"), classes="title")
        for name, value, hint in FIELDS:
            with Horizontal(classes="row"):
                yield Label(Content(name))
                yield Input(value, hint, suggester=PathSuggester(), id=name, compact=True)
        yield LiteralTable(COLUMNS, styles=STYLES, id="findings")
        yield Log(id="log")
        yield ProgressBar(total=100, id="progress", show_eta=False)
        yield Static("", id="detail", markup=False)
        yield Static("Enter in a field checks what would fail", id="told", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#adapter").focus()
        self._show_log(False)

    # -- check ------------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _submitted(self) -> None:
        order = self._order()
        if self._job is None and order.adapter.name and order.base:
            self._check(order)
        elif self._job is None:
            self._tell("Name an adapter and its base first")

    @work(exclusive=True, group="check")
    async def _check(self, order: Order) -> None:
        table = self.query_one(LiteralTable)
        self._checked, self._rules = None, {}
        table.fill(())
        self.query_one("#detail", Static).update("")
        self._show_log(False)
        self._tell("Checking")
        try:
            rules = await asyncio.to_thread(_findings, order)
        except NotHere as error:
            self._fetch(order, error)
            return
        except UserError as error:
            self._tell(str(error))
            return
        self._rules = {str(number): rule for number, rule in enumerate(rules)}
        table.fill((key, (rule.name, _finding(rule), rule.what)) for key, rule in self._rules.items())
        table.focus()
        if any("merge" in rule.stops for rule in rules):
            self._tell("It cannot be merged: see what stops it")
        else:
            self._checked = order
            self._tell("c converts")

    @work
    async def _fetch(self, order: Order, missing: NotHere) -> None:
        """The base from the hub, where the person wants it; then it is checked again."""
        self._tell(f"{missing.where}: {missing.what}")
        if not await self.app.push_screen_wait(Confirm(f"Fetch the base {order.base} from the hub?", "Fetch it")):
            return
        self._job = job = ConvertJob(order, order.fetching())
        lines = [""]
        self.query_one("#progress").display = True
        self._tell(f"Fetching {order.base}. Escape stops it")
        try:
            outcome = await asyncio.to_thread(job.run, lines.append, partial(self._fetched, order.base))
        except OSError as error:
            outcome, lines = Outcome(-1, ()), [str(error)]
        self._job = None
        if outcome.code == 0:
            self._check(order)
        else:
            self._show_log(False)
            self.call_after_refresh(self._tell, lines[-1] or f"It ended with code {outcome.code}")

    def _fetched(self, base: str, part: str, percent: int) -> None:
        """From the fetching thread. The hub's library counts files, too; its bytes are what a person waits for."""
        if not part.startswith("Fetching"):
            self._came(base, percent)

    @on(DataTable.RowHighlighted)
    def _describe(self, event: DataTable.RowHighlighted) -> None:
        rule = self._rules.get(event.row_key.value or "")
        if rule:
            text = f"{rule.what}. {rule.remedy}" if rule.remedy else rule.what
            self.query_one("#detail", Static).update(literal(text))

    # -- convert ----------------------------------------------------------------------------------------------------

    def action_convert(self) -> None:
        if self._job:
            self._tell("It runs already: Escape stops it")
        elif self._checked is None or self._checked != self._order():
            self._tell("Check it first: Enter in a field")
        else:
            self._job = ConvertJob(self._checked)
            self._convert(self._job)

    @work
    async def _convert(self, job: ConvertJob) -> None:
        self._show_log(True)
        self.query_one(ProgressBar).update(progress=0)
        self._tell("Converting. Escape stops it; nothing half-written is kept")
        try:
            outcome = await asyncio.to_thread(job.run, self._said, self._came)
        except OSError as error:
            outcome = Outcome(-1, (), f"The conversion cannot be started: {error}")
        self.post_message(self.Over(outcome))

    def _said(self, line: str) -> None:
        self.post_message(self.Said(line))

    def _came(self, part: str, percent: int) -> None:
        self.post_message(self.Came(part, percent))

    @on(Said)
    def _show_line(self, event: Said) -> None:
        self.query_one(Log).write_line(literal(event.line))

    @on(Came)
    def _show_progress(self, event: Came) -> None:
        self.query_one(ProgressBar).update(progress=event.percent)
        self._tell(f"{event.part}: {event.percent}%. Escape stops it")

    @on(Over)
    def _show_end(self, event: Over) -> None:
        self._job = None
        self.query_one("#progress").display = False
        self._made = event.outcome.names[0] if event.outcome.names else ""
        self._tell(_told(event.outcome))

    def action_use(self) -> None:
        if not self._made:
            self._tell("No model has been made yet")
            return
        try:
            self.dismiss(ModelChoice(resolve(self._made), {}))
        except UserError as error:
            self._tell(str(error))

    def action_leave(self) -> None:
        if self._job:
            self._job.stop()
        else:
            self.dismiss(None)

    def on_unmount(self) -> None:
        if self._job:
            self._job.stop()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _order(self) -> Order:
        adapter, base, types, out = (self.query_one(f"#{name}", Input).value.strip() for name, *_ in FIELDS)
        return Order(path_of(adapter), base, types or "q4_k_m", path_of(out or "converted"))

    def _show_log(self, shown: bool) -> None:
        self.query_one("#log").display = self.query_one("#progress").display = shown
        self.query_one("#findings").display = self.query_one("#detail").display = not shown
        if shown:
            self.query_one(Log).clear().focus()

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(literal(text))


def _findings(order: Order) -> list[Rule]:
    from convert.check import check  # half a second: llama.cpp's library

    try:
        base = resolve_base(order.base)
    except ModelError as error:
        if fetchable(order.base):
            raise NotHere(error.what, error.where) from error
        raise
    return check(order.adapter, base, out=order.out)


def _finding(rule: Rule) -> str:
    return "stops" if rule.stops else "look" if rule.doubt else "good"


def _told(outcome: Outcome) -> str:
    if outcome.error:
        return outcome.error
    made = f"Registered: {', '.join(outcome.names)}. u uses {outcome.names[0]}" if outcome.names else "Nothing was made"
    return made if outcome.code == 0 else f"It ended with code {outcome.code}; the log says why. {made}"
