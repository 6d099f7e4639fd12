"""The settings panel: threshold, verifiers, judge, method and sampling, saved into the policy file.

The key of a judge's server is read from the environment only: the panel neither shows nor takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Input, Label, Select, SelectionList, Static, Switch

from score_local.errors import UserError
from score_local.policy import Policy
from tui.literal import literal
from tui.policy_file import SETTINGS, Setting, Value, parsed, save_policy, value_of
from tui.services import Services


class SettingsScreen(Screen[Policy | None]):
    """Ends with the policy that was saved; None where nothing was."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("escape", "dismiss(None)", "Leave as it was"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._policy, self._path, self._shipped = services.policy, services.policy_path, services.shipped()

    def compose(self) -> ComposeResult:
        yield Label(Content(f"Settings: {literal(str(self._path))}"), classes="title")
        with VerticalScroll(classes="form"):
            for heading, settings in SETTINGS.items():
                yield Label(Content(heading), classes="heading")
                for setting in settings:
                    with Horizontal(classes="field"):
                        yield Label(Content(setting.label))
                        yield _widget(setting, value_of(self._policy, setting.key))
        yield Static(id="told", markup=False)
        yield Footer(compact=True)

    def action_save(self) -> None:
        try:
            policy = save_policy(self._path, dict(self._values()), self._shipped)
        except UserError as error:
            self.query_one("#told", Static).update(literal(f"{error.what} ({error.where})"))
            return
        self.dismiss(policy)

    def _values(self) -> Iterator[tuple[str, Value]]:
        for setting in (setting for settings in SETTINGS.values() for setting in settings):
            yield setting.key, _value(setting, self.query_one(f"#{_id(setting)}"))


def _id(setting: Setting) -> str:
    return setting.key.replace(".", "-")


def _widget(setting: Setting, value: Value) -> Widget:
    key = _id(setting)
    if setting.kind == "one":
        options = [(option, option) for option in setting.options]
        return Select[str](options, value=str(value), allow_blank=False, id=key, compact=True)
    if setting.kind == "some":
        chosen = value if isinstance(value, tuple) else ()
        selections = [(option, option, option in chosen) for option in setting.options]
        return SelectionList[str](*selections, id=key, compact=True)
    if setting.kind == "switch":
        return Switch(value is True, id=key)
    return Input("" if value is None else str(value), placeholder=setting.hint, id=key, compact=True)


def _value(setting: Setting, widget: Widget) -> Value:
    """What a field holds. Raises PolicyError."""
    if isinstance(widget, Select):
        return str(widget.value)
    if isinstance(widget, SelectionList):
        return tuple(option for option in setting.options if option in widget.selected)
    if isinstance(widget, Switch):
        return widget.value
    assert isinstance(widget, Input)
    return parsed(setting, widget.value)
