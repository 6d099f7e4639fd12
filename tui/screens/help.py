"""The keys and the rules, in one text."""

from __future__ import annotations

from importlib import resources

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Markdown


class HelpScreen(ModalScreen[None]):
    """Any of its keys closes it."""

    DEFAULT_CSS = "HelpScreen > VerticalScroll { padding: 0 2; background: $surface; }"
    BINDINGS = [Binding("escape,f1,q", "dismiss(None)", "Close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Markdown(resources.files("tui").joinpath("help.md").read_text(encoding="utf-8"), open_links=False)
        yield Footer()
