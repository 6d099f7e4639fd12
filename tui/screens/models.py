"""The model picker: what is here and what can be pulled, size, memory, quantisation, and the adapters that fit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Label, ProgressBar, Static

from score_local.catalog import same_file
from score_local.errors import UserError
from score_local.roles import ROLES
from tui.literal import literal
from tui.model_list import AdapterRow, ModelRow, free_memory, list_adapters, list_models
from tui.pulling import Pull, Stopped
from tui.screens.dialogs import Confirm
from tui.screens.table import Column, LiteralTable
from tui.services import Services
from tui.typed import path_of

MODELS = (
    Column("model"),
    Column("size", 9),
    Column("memory", 9),
    Column("type", 7),
    Column("licence", 12),
    Column("where", 8),
)
ADAPTERS = (Column("adapter"), Column("role", 10), Column("kind", 5), Column("use", 17))
STYLES = {"not here": "dim", "in use": "bold green", "here": "green", "too big": "yellow"}


class ModelChoice(NamedTuple):
    """What to load. `adapters` are folders or LoRA GGUFs by role, as a policy names them."""

    model: Path
    adapters: dict[str, Path]


class ModelsScreen(Screen[ModelChoice | None]):
    """Ends with what was chosen; None where nothing was. Nothing is pulled without a yes."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "To the adapters"),
        Binding("escape", "leave", "Close"),
    ]
    HEADING = "Models and adapters"
    INTRODUCTION = ""

    @dataclass
    class Came(Message):
        """From the pulling thread: bytes done, and in all (0: unknown)."""

        done: int
        total: int

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._models: dict[str, ModelRow] = {}
        self._adapters: dict[str, AdapterRow] = {}  # of the model `_listed`: for another they say nothing
        self._listed = ""
        self._used: dict[str, str] = {
            role: str(path_of(path).resolve()) for role, path in services.policy.adapters.items()
        }
        self._pull: Pull | None = None

    def compose(self) -> ComposeResult:
        yield Label(Content(self.HEADING), classes="title")
        if self.INTRODUCTION:
            yield Static(self.INTRODUCTION, classes="introduction", markup=False)
        yield LiteralTable(MODELS, styles=STYLES, id="models")
        yield LiteralTable(ADAPTERS, styles=STYLES, id="adapters")
        yield ProgressBar(id="progress", show_eta=True)
        yield Static(id="detail", markup=False)
        yield Static(id="told", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#progress").display = False
        self.query_one("#adapters").display = False
        self.query_one("#models").focus()
        self._list()

    @work
    async def _list(self) -> None:
        try:
            rows = await asyncio.to_thread(list_models)
        except UserError as error:
            self._tell(str(error))
            return
        self._models = {row.name: row for row in rows}
        free = free_memory()
        table = self.query_one("#models", LiteralTable)
        table.fill((row.name, _model_cells(row, free, self._services.loaded)) for row in rows)

    @on(DataTable.RowHighlighted, "#models")
    def _describe(self, event: DataTable.RowHighlighted) -> None:
        row = self._models.get(event.row_key.value or "")
        if row:
            self.query_one("#detail", Static).update(literal(_description(row)))
            self._list_adapters(row)

    @work(exclusive=True, group="adapters")
    async def _list_adapters(self, row: ModelRow) -> None:
        self._adapters, self._listed = await self._adapters_for(row), row.name
        table = self.query_one("#adapters", LiteralTable)
        table.display = bool(self._adapters)
        table.fill((key, _adapter_cells(adapter, self._used)) for key, adapter in self._adapters.items())

    async def _adapters_for(self, row: ModelRow) -> dict[str, AdapterRow]:
        """By path, held against the model: each header is read, which may take seconds."""
        used = [Path(path) for path in self._used.values()]
        found = await asyncio.to_thread(list_adapters, row.path, used) if row.path else []
        return {str(adapter.path): adapter for adapter in found}

    @on(DataTable.RowSelected, "#adapters")
    def _use_adapter(self, event: DataTable.RowSelected) -> None:
        adapter = self._adapters.get(event.row_key.value or "")
        if adapter is None:  # the list has become another model's
            return
        if adapter.trouble:
            self._tell(adapter.trouble)
            return
        self._used = _toggled(self._used, adapter)
        for key, row in self._adapters.items():
            self.query_one("#adapters", LiteralTable).put(key, _adapter_cells(row, self._used))

    @on(DataTable.RowSelected, "#models")
    def _use_model(self, event: DataTable.RowSelected) -> None:
        row = self._models[event.row_key.value or ""]
        if self._pull is not None:
            self._tell("A model is being pulled: Escape stops it")
        elif row.path is None:
            self._pull_model(row)
        elif row.trouble:
            self._tell(f"{row.title}: {row.trouble}")
        else:
            self._choose(row, row.path)

    @work(exclusive=True, group="choice")
    async def _choose(self, row: ModelRow, model: Path) -> None:
        """Ends with the model and those of the adapters in use that fit it. They may not have been listed yet."""
        if self._listed == row.name:
            adapters = self._adapters
        else:
            self._tell("Looking which adapters fit it")
            adapters = await self._adapters_for(row)
        used = {role: Path(key) for role, key in self._used.items() if key in adapters and not adapters[key].trouble}
        if self.is_current:  # it was not left meanwhile
            self.dismiss(ModelChoice(model, used))

    @work
    async def _pull_model(self, row: ModelRow) -> None:
        if not row.repo:
            self._tell(f"{row.title} is not here, and no hub has it")
            return
        question = f"Pull {row.title} from {row.repo} ({_mib(row.bytes)})?"
        if await self.app.push_screen_wait(Confirm(question, "Pull it")):
            await self._fetch(row)

    async def _fetch(self, row: ModelRow) -> None:
        bar = self.query_one("#progress", ProgressBar)
        bar.display, self._pull = True, Pull(row.name)
        self._tell(f"Pulling {row.title}. Escape stops it; what came is kept.")
        try:
            path = await self._pull.in_background(self._came)
        except UserError as error:
            self._tell(str(error))
        except Stopped:
            self._tell("Stopped. The next pull goes on from here")
        else:
            self._tell(f"{row.title} is here: {path}")
            self._list()
        finally:
            bar.display, self._pull = False, None

    def _came(self, done: int, total: int) -> None:
        self.post_message(self.Came(done, total))

    @on(Came)
    def _show_progress(self, event: Came) -> None:
        self.query_one("#progress", ProgressBar).update(total=event.total or None, progress=event.done)

    def on_unmount(self) -> None:
        if self._pull is not None:
            self._pull.stop()

    def action_leave(self) -> None:
        if self._pull is not None:
            self._pull.stop()
        else:
            self.dismiss(None)

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(literal(text))


def _toggled(used: Mapping[str, str], adapter: AdapterRow) -> dict[str, str]:
    """What is used by role, after Enter on an adapter: it plays its role or none, and one whose card names no role goes
    through all of them. One that a policy has put elsewhere, or into several roles, is first put aside. A role has one
    adapter."""
    key = str(adapter.path)
    roles: Sequence[str] = (adapter.role,) if adapter.role in ROLES else ROLES
    ways = [list[str](), *([role] for role in roles)]
    played = [role for role, path in used.items() if path == key]
    following = ways[(ways.index(played) + 1) % len(ways)] if played in ways else []
    kept = {role: path for role, path in used.items() if path != key and role not in following}
    return {**kept, **dict.fromkeys(following, key)}


def _model_cells(row: ModelRow, free: int, loaded: Path | None) -> tuple[str, ...]:
    where = "not here" if row.path is None else "in use" if same_file(row.path, loaded) else "here"
    if row.path and where == "here" and row.memory and row.memory > free:
        where = "too big"
    return (row.name, _mib(row.bytes), _mib(row.memory), row.quantisation, row.licence, where)


def _adapter_cells(row: AdapterRow, used: Mapping[str, str]) -> tuple[str, ...]:
    roles = [role for role in ROLES if used.get(role) == str(row.path)]
    use = "all roles" if len(roles) == len(ROLES) else ", ".join(roles)
    return (row.path.name, row.role, row.kind, "no fit" if row.trouble else use)


def _description(row: ModelRow) -> str:
    memory = f"needs about {_mib(row.memory)} of memory, {_mib(free_memory())} are free" if row.memory else ""
    where = str(row.path) if row.path else f"not here; Enter pulls it from {row.repo}" if row.repo else "not here"
    return "\n".join(part for part in (f"{row.title}: {row.trouble or memory}", where, row.notes) if part)


def _mib(count: int | None) -> str:
    return f"{count / 2**20:,.0f} MiB" if count else "?"
