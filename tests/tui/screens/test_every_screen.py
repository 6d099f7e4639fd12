"""What holds for every screen: it lives through any size of the terminal and any key, and closes with Escape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from tests.tui.host import drive, services
from tests.tui.snapshots import screen_text
from tui.screens.batch import BatchScreen
from tui.screens.convert import ConvertScreen
from tui.screens.first_start import FirstStartScreen
from tui.screens.history import HistoryScreen
from tui.screens.models import ModelsScreen
from tui.screens.settings import SettingsScreen
from tui.services import Services

SCREENS: list[Callable[[Services], Screen[Any]]] = [
    BatchScreen,
    lambda services: ConvertScreen(),
    FirstStartScreen,
    HistoryScreen,
    ModelsScreen,
    SettingsScreen,
]
NAMES = ["batch", "convert", "first start", "history", "models", "settings"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize("make", SCREENS, ids=NAMES)
def test_it_lives_through_a_tiny_terminal(make: Callable[[Services], Screen[Any]], tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        before = screen_text(pilot.app)
        for size in ((20, 5), (1, 1), (200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.press("tab", "down")
        await pilot.pause()
        assert screen_text(pilot.app).splitlines()[0] == before.splitlines()[0], "as before"
        await pilot.press("escape")

    assert drive(make(services(tmp_path)), act) is None


@pytest.mark.parametrize("make", SCREENS, ids=NAMES)
def test_ascii_only_terminals_get_ascii(make: Callable[[Services], Screen[Any]], tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.set_class(True, "-ascii")
        await pilot.resize_terminal(60, 24)
        await pilot.pause()
        assert "…" not in screen_text(pilot.app)

    drive(make(services(tmp_path)), act)
