"""The batch screen: choose a problem file, watch its table fill, pause, resume, open a problem.

It reads and writes the run folder of `score-local batch`, and never the problem file.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Label, Static
from textual.worker import Worker

from score_local.commands.progress import Tally
from score_local.errors import EngineDied, UserError
from score_local.trace import Trace
from tui.batch_job import Batch, BatchJob, Solver, folder_of, gate_of, open_batch, turn_of
from tui.batch_rows import WAITING, cells_of, opened, rows_of, score_of
from tui.history import History
from tui.literal import literal
from tui.records import Turn
from tui.screens.paths import PathSuggester
from tui.screens.table import Column, LiteralTable
from tui.screens.trace import TraceScreen
from tui.services import Services
from tui.typed import path_of

COLUMNS = (
    Column("id", 9),
    Column("question"),
    Column("initial", 7),
    Column("verdict", 7),
    Column("final", 7),
    Column("gold", 7),
    Column("", 1),
    Column("status", 7),
)
STYLES = {"✓": "green", "✗": "red", "?": "yellow", "failed": "red", "refined": "cyan", WAITING: "dim"}


class BatchScreen(Screen[str | None]):
    """Ends with the id of a conversation, where the person goes on with a problem; else None.

    What was solved by then is in the run folder.
    """

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start, resume"),
        Binding("p", "pause", "Pause"),
        Binding("f", "focus('#file')", "File"),
        Binding("escape", "leave", "Close"),
    ]

    @dataclass
    class PhaseBegan(Message):
        """From the solving thread: a problem has come to a phase."""

        id: str
        phase: str

    @dataclass
    class Ended(Message):
        """From the solving thread: a problem has ended."""

        trace: Trace

    @dataclass
    class Over(Message):
        """A go has ended, after all that it told: done, paused, or with an error."""

        state: str

    def __init__(self, services: Services, file: str = "") -> None:
        super().__init__()
        self._services, self._file = services, file
        self._batch: Batch | None = None
        self._proposed: Path | None = None
        self._job: BatchJob | None = None
        self._solving: Worker[None] | None = None
        self._pace = Tally(0)

    def compose(self) -> ComposeResult:
        yield Label(Content("Batch"), classes="title")
        with Horizontal(classes="row"):
            yield Label("problems")
            yield Input(self._file, "a JSONL, CSV or TXT file", suggester=PathSuggester(), id="file", compact=True)
        with Horizontal(classes="row"):
            yield Label("run folder")
            yield Input("", "runs/<name of the file>", suggester=PathSuggester(), id="folder", compact=True)
        yield Static("", id="told", markup=False)
        yield LiteralTable(COLUMNS, styles=STYLES, id="problems")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#file").focus()
        if self._file:
            self._open()

    # -- the file ---------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._open()

    @work(exclusive=True, group="open")
    async def _open(self) -> None:
        if self._job:
            self._tell("A batch runs: pause it first")
            return
        file, folder = (self.query_one(name, Input).value.strip() for name in ("#file", "#folder"))
        proposed = folder in ("", str(self._proposed))  # for another file, another folder
        target = folder_of(file) if proposed else path_of(folder)
        try:
            self._batch = batch = await asyncio.to_thread(open_batch, file, target)
        except UserError as error:
            self._tell(str(error))
            return
        if proposed:
            self._proposed = target
        self.query_one("#folder", Input).value = str(target)
        table = self.query_one(LiteralTable)
        table.fill(rows_of(batch))
        table.focus()
        self._tell(opened(batch))

    # -- solving ----------------------------------------------------------------------------------------------------

    def action_start(self) -> None:
        engine, model = self._services.engine(), self._services.model
        if self._job:
            self._tell("It runs already")
        elif self._batch is None:
            self._tell("Choose a problem file first: f")
        elif engine is None or model is None:
            self._tell("No model is loaded: choose one, then come back")
        else:
            solver = Solver(engine, self._services.policy, model, self._services.context)
            self._job = BatchJob(self._batch, solver)
            self._solving = self._solve(self._batch, self._job)

    def action_pause(self) -> None:
        if self._job:
            self._job.pause()
            self._tell("Pausing: what runs is finished")

    @work
    async def _solve(self, batch: Batch, job: BatchJob) -> None:
        done = sum(trace.status != "failed" for trace in batch.traces.values())
        self._pace = Tally(len(batch.problems) - done)
        self._tell(f"Starting {batch.folder}")
        try:
            await asyncio.to_thread(job.run, self._phase_began, self._ended)
            state = "Paused: s goes on" if job.stopped else "Done"
        except EngineDied as error:
            state = f"{error}. Close this, load the model again with F5, and come back"
        except UserError as error:
            state = str(error)
        self.post_message(self.Over(state))

    def _phase_began(self, id: str, phase: str) -> None:
        self.post_message(self.PhaseBegan(id, phase))

    def _ended(self, trace: Trace) -> None:
        self.post_message(self.Ended(trace))

    @on(PhaseBegan)
    def _show_phase(self, event: PhaseBegan) -> None:
        before = self._batch and self._batch.traces.get(event.id)
        if before is None or before.status == "failed":
            self.query_one(LiteralTable).change(event.id, "status", event.phase)

    @on(Ended)
    def _show_trace(self, event: Ended) -> None:
        if self._batch is None:
            return
        trace = event.trace
        self._batch.traces[trace.id] = trace
        self._pace.count(trace)
        self.query_one(LiteralTable).put(trace.id, cells_of(trace))
        self._tell_progress(self._batch)

    @on(Over)
    def _show_end(self, event: Over) -> None:
        self._job = None
        if self._batch:
            self._tell_progress(self._batch, f"{event.state}: ")

    # -- looking ----------------------------------------------------------------------------------------------------

    @on(DataTable.RowSelected)
    @work
    async def _show_problem(self, event: DataTable.RowSelected) -> None:
        batch, key = self._batch, event.row_key.value or ""
        if batch is None or key not in batch.traces:
            self._tell("It is not solved yet")
            return
        problem = next(problem for problem in batch.problems if problem.id == key)
        try:
            shown = TraceScreen(turn_of(problem, batch.traces[key]), gate_of(batch))
            turn = await self.app.push_screen_wait(shown)
            if turn:
                await self._leave(await asyncio.to_thread(_kept, self._services.history, turn))
        except UserError as error:
            self._tell(str(error))

    @work
    async def action_leave(self) -> None:
        await self._leave(None)

    async def _leave(self, conversation: str | None) -> None:
        if self._job and self._solving:
            self._job.cancel()
            await self._solving.wait()
        self.dismiss(conversation)

    def on_unmount(self) -> None:
        if self._job:  # the app ends; what failed because its engine closes must not get into the run
            self._job.cancel()

    def _tell_progress(self, batch: Batch, state: str = "") -> None:
        """The pace of this go, and the score over all that the run folder holds."""
        self._tell(". ".join(part for part in (state + self._pace.pace(), score_of(batch)) if part))

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(literal(text))


def _kept(history: History, turn: Turn) -> str:
    """The id of a new conversation that begins with the turn. Raises HistoryError."""
    conversation = history.create()
    history.save_turn(msgspec.structs.replace(turn, conversation=conversation.id))
    return conversation.id
