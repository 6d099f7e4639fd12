"""The terminal app: one conversation, and the screens around it. `run` is what the command line calls.

The first screen is painted before anything heavy is imported: models are loaded, and solved with, in other threads.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import Screen

from score_local import catalog
from score_local.errors import UserError
from score_local.policy import Policy
from tui.ascii import AsciiFilter
from tui.history import History
from tui.records import Conversation
from tui.screens.conversation import ConversationScreen
from tui.services import OpenEngine, Services

if TYPE_CHECKING:
    from tui.screens.models import ModelChoice

LATER = ("rich.markdown", "rich.syntax", "tui.work", "tui.screens.history", "tui.screens.models")
SWITCH = 0.0005  # seconds that drawing may hold up the engine between two tokens: a tenth of Python's own
ASIDE = ("models", "history", "settings", "reload", "batch", "convert", "new", "rename", "export")


@dataclass(frozen=True, slots=True)
class Setup:
    """What the app begins with. `model` is a name or a path; None: the one used last, else the embedded one."""

    history: History
    policy: Policy
    policy_path: Path
    open_engine: OpenEngine
    context: int
    model: str | None = None
    ascii_only: bool = False


class ScoreApp(App[None]):
    """Give it a `Setup`."""

    TITLE = "score-local"
    CSS_PATH = "app.tcss"
    BINDINGS = [
        Binding("f1", "help", "Help", priority=True),
        Binding("f2", "models", "Models"),
        Binding("f3", "history", "History"),
        Binding("f4", "settings", "Settings"),
        Binding("f5", "reload", "Load again", show=False),
        Binding("f6", "batch", "Batch", priority=True),  # the prompt would take it, and F7, to select text
        Binding("f7", "convert", "Convert", show=False, priority=True),
        Binding("ctrl+n", "new", "New"),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self._setup = setup
        self._loads = 0  # that have not ended
        self._chosen: Mapping[str, Path] | None = None  # adapters that a person chose; None: what ships with the model
        self.services = Services(
            setup.history, setup.policy, setup.policy_path, setup.open_engine, self._tell, context=setup.context
        )
        self.conversation = ConversationScreen(self.services)
        self.set_class(setup.ascii_only, "-ascii")

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return [*filters, AsciiFilter()] if self.has_class("-ascii") else filters

    def get_default_screen(self) -> Screen[None]:
        return self.conversation

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit)
        if self._setup.history.notice:
            self._tell(self._setup.history.notice, "warning")
        self.call_after_refresh(self._begin)

    def _import_later(self) -> None:
        """What the first problem needs, while the person still reads the first screen."""
        for name in LATER:
            importlib.import_module(name)
        gc.freeze()  # or each full collection walks through all modules, and holds up the keys for 40 ms

    async def on_unmount(self) -> None:
        await asyncio.to_thread(self.conversation.talk.finish)
        await asyncio.to_thread(self.services.close)

    def _tell(self, text: str, severity: str = "information") -> None:
        self.notify(text, severity=severity, markup=False, timeout=10)  # type: ignore[arg-type]

    # -- the model --------------------------------------------------------------------------------------------------

    @work
    async def _begin(self) -> None:
        """The model that was asked for, or was used last, or the embedded one; where none is, the person chooses."""
        self.run_worker(self._import_later, thread=True)
        last = "" if self._setup.model else await self._used_last()
        wanted = self._setup.model or last or catalog.DEFAULT_MODEL
        try:
            model = await asyncio.to_thread(catalog.resolve, wanted)
        except UserError as error:
            if self._setup.model:
                self._tell(str(error), "error")
            await self._choose_first()
            return
        await self._load(model, await self._chosen_last() if last else None)

    async def _used_last(self) -> str:
        """The file of the model that was used last; "" where none was, or it is gone, and then the person is told."""
        try:
            last = await asyncio.to_thread(self._setup.history.last_model)
        except UserError as error:
            self._tell(str(error), "warning")
            return ""
        if last and not last.is_file():
            self._tell(f"The model used last is not there any more: {last}", "warning")
            return ""
        return str(last or "")

    async def _chosen_last(self) -> dict[str, Path] | None:
        """The adapters that were chosen for that model; None where nobody chose, or one is gone, which is told."""
        try:
            chosen = await asyncio.to_thread(self._setup.history.last_adapters)
        except UserError as error:
            self._tell(str(error), "warning")
            return None
        gone = [str(path) for path in (chosen or {}).values() if not path.exists()]
        if gone:
            self._tell(f"The adapter used last is not there any more: {', '.join(gone)}", "warning")
            return None
        return chosen

    async def _choose_first(self) -> None:
        from tui.screens.first_start import FirstStartScreen

        await self._choose(FirstStartScreen(self.services))

    async def _choose(self, screen: Screen[ModelChoice | None]) -> None:
        choice = await self.push_screen_wait(screen)
        if choice:
            known = catalog.same_file(choice.model, self.services.model)
            await self._load(choice.model, choice.adapters if choice.adapters or known else None)

    async def _load(self, model: Path, adapters: Mapping[str, Path] | None = None) -> None:
        """With the policy that ships with the model, and its adapters where none are given."""
        self._loads += 1
        self.conversation.load_share = 0.0
        try:
            policy = await asyncio.to_thread(self.services.policy_for, model)
            if adapters is not None:
                policy = msgspec.structs.replace(policy, adapters={role: str(path) for role, path in adapters.items()})
            await self.services.load(model, policy, self._progress)
        except UserError as error:
            self._tell(f"{error}. F2 chooses another model", "error")
        else:
            self._chosen = adapters
            await self._remember(adapters)
        finally:
            self._loads -= 1
            if not self._loads:
                self.conversation.load_share = None
        await self.conversation.loaded()

    async def _remember(self, adapters: Mapping[str, Path] | None) -> None:
        """The next app begins with this model, and these adapters where a person chose them."""
        assert self.services.model, "it was loaded"
        try:
            await asyncio.to_thread(self._setup.history.keep_model, self.services.model, adapters)
        except UserError as error:
            self._tell(str(error), "warning")

    def _progress(self, share: float) -> None:
        self.conversation.load_share = share

    # -- screens ----------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if isinstance(self.screen, HelpScreen):  # this binding goes before the screen's own
            self.screen.dismiss(None)
        else:
            self.push_screen(HelpScreen())

    @work
    async def action_models(self) -> None:
        from tui.screens.models import ModelsScreen

        await self._choose(ModelsScreen(self.services))

    @work
    async def action_history(self) -> None:
        from tui.screens.history import HistoryScreen

        key = await self.push_screen_wait(HistoryScreen(self.services))
        if key:
            await self.conversation.open(key)
        else:
            await self.conversation.read_title()

    @work
    async def action_settings(self) -> None:
        from tui.screens.settings import SettingsScreen

        policy = await self.push_screen_wait(SettingsScreen(self.services))
        if policy:
            adapters = self.services.policy.adapters  # chosen in the model picker, not in the file
            try:
                await self.services.change(msgspec.structs.replace(policy, adapters=adapters))
            except UserError as error:
                self._tell(str(error), "error")

    def action_batch(self) -> None:
        self.conversation.open_batch()

    @work
    async def action_convert(self) -> None:
        from tui.screens.convert import ConvertScreen

        await self._choose(ConvertScreen())

    @work
    async def action_reload(self) -> None:
        if self.services.model is None:
            await self._choose_first()
        else:
            await self._load(self.services.model, self._chosen)

    @work
    async def action_new(self) -> None:
        await self.conversation.open(None)

    @work
    async def action_rename(self) -> None:
        from tui.screens.keeping import rename

        await self._keep(rename)
        await self.conversation.read_title()

    @work
    async def action_export(self) -> None:
        from tui.screens.keeping import export_to_file

        await self._keep(export_to_file)

    async def _keep(self, ask: Callable[[App[None], History, Conversation], Awaitable[None]]) -> None:
        conversation = self.conversation.talk.conversation
        if conversation is None:
            self._tell("Nothing has been said yet")
            return
        try:
            await ask(self, self.services.history, conversation)
        except UserError as error:
            self._tell(str(error), "error")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Other screens open from the conversation only, and one at a time."""
        return action not in ASIDE or isinstance(self.screen, ConversationScreen)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        yield SystemCommand("New conversation", "The old one is in the history", self.action_new)
        yield SystemCommand("Models and adapters", "Choose, pull, switch", self.action_models)
        yield SystemCommand("History", "Search, open, rename, branch, delete", self.action_history)
        yield SystemCommand("Rename this conversation", "Another title", self.action_rename)
        yield SystemCommand("Export this conversation", "As Markdown, or JSONL with timings", self.action_export)
        yield SystemCommand("Settings", "Threshold, verifiers, sampling", self.action_settings)
        yield SystemCommand("Batch", "A file of problems", self.action_batch)
        yield SystemCommand("Convert", "An adapter into a GGUF, with proof", self.action_convert)
        yield SystemCommand("Load the model again", "After a failure", self.action_reload)


def run(setup: Setup) -> int:
    """Opens the app and returns when the person quits: the exit code."""
    sys.setswitchinterval(SWITCH)
    app = ScoreApp(setup)
    app.run()
    return app.return_code or 0
