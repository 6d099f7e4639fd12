"""The model picker and the first start, by their keys, with a hub on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from score_local.catalog_entries import Entry, load_catalog
from score_local.engine.scripted import ScriptedEngine
from score_local.policy import load_policy
from tests.fake_hub import FakeHub, serving
from tests.gguf_files import write_adapter, write_model
from tests.tui.host import STILL_OPEN, drive, services, until
from tests.tui.snapshots import assert_looks_as_before, screen_text
from tui import model_list, pulling
from tui.model_list import AdapterRow
from tui.pulling import Pull, Stopped
from tui.screens import models
from tui.screens.first_start import FirstStartScreen
from tui.screens.models import ModelChoice, ModelsScreen, _toggled
from tui.screens.table import LiteralTable

CATALOG = """
[models.mine]
title = "My model"
file = "mine.gguf"
memory = 1_000_000
licence = "MIT"

[models.tiny]
title = "Tiny one"
repo = "org/tiny"
file = "tiny-q4_k_m.gguf"
memory = 9_000_000_000_000

[models.broken]
title = "Broken"
file = "broken.gguf"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with one model, a broken one, and one that can be pulled; nothing else is known."""
    made = tmp_path / "models"
    made.mkdir()
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(made))
    (made / "catalog.toml").write_text(CATALOG)
    write_model(made / "mine.gguf")
    (made / "broken.gguf").write_bytes(b"GGUF")
    own = {name: entry for name, entry in load_catalog().items() if name in ("mine", "tiny", "broken")}
    monkeypatch.setattr(model_list, "load_catalog", lambda: own)
    monkeypatch.setattr(model_list, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(models, "free_memory", lambda: 2**33)
    return made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    content = write_model(tmp_path / "tiny.gguf").read_bytes()
    with serving(FakeHub({"org/tiny/tiny-q4_k_m.gguf": content})) as serving_hub:
        monkeypatch.setenv("HF_ENDPOINT", serving_hub.url)
        yield serving_hub


def adapter(folder: Path, name: str, role: str, **options: object) -> Path:
    made = folder / "adapters" / name
    made.mkdir(parents=True)
    (made / "adapter.toml").write_text(f'role = "{role}"\n' if role else "")
    write_adapter(made / "lora.gguf", **options)  # type: ignore[arg-type]
    return made


async def listed(pilot: Pilot[None]) -> None:
    await until(pilot, lambda: pilot.app.screen.query_one("#models", LiteralTable).row_count == 3)


async def press_on(pilot: Pilot[None], name: str, key: str = "enter") -> None:
    """Moves to a model, then presses a key."""
    table = pilot.app.screen.query_one("#models", LiteralTable)
    table.move_cursor(row=table.get_row_index(name))
    await pilot.pause()
    await pilot.press(key)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_it_looks_as_before(tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "tiny", "up")
        await press_on(pilot, "tiny", "f12")
        await until(pilot, lambda: "Enter pulls it" in screen_text(pilot.app))
        assert_looks_as_before(pilot.app, f"models-{size[0]}")

    drive(ModelsScreen(services(tmp_path)), act, size)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_the_first_start_looks_as_before(tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "tiny", "f12")
        await until(pilot, lambda: "Enter pulls it" in screen_text(pilot.app))
        assert_looks_as_before(pilot.app, f"first-start-{size[0]}")

    drive(FirstStartScreen(services(tmp_path)), act, size)


def test_a_model_that_is_here_is_chosen(tmp_path: Path, folder: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine")

    assert drive(ModelsScreen(services(tmp_path)), act) == ModelChoice(folder / "mine.gguf", {})


@pytest.mark.usefixtures("folder")
def test_a_broken_model_is_told_and_not_chosen(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "broken")
        await until(pilot, lambda: "cut short" in screen_text(pilot.app))

    assert drive(ModelsScreen(services(tmp_path)), act) is STILL_OPEN


@pytest.mark.usefixtures("folder")
def test_nothing_is_pulled_without_a_yes(tmp_path: Path, hub: FakeHub) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        for answer in ("enter", "n", "escape"):  # No has the focus
            await press_on(pilot, "tiny")
            await until(pilot, lambda: "Pull Tiny one from org/tiny" in screen_text(pilot.app))
            await pilot.press(answer)
            await until(pilot, lambda: not pilot.app.screen.is_modal)
        assert hub.requests == []

    assert drive(ModelsScreen(services(tmp_path)), act) is STILL_OPEN


def test_a_pull_after_a_yes_then_the_model_is_chosen(tmp_path: Path, folder: Path, hub: FakeHub) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "tiny")
        await until(pilot, lambda: pilot.app.screen.is_modal)
        await pilot.press("y")
        await until(pilot, lambda: "Tiny one is here" in screen_text(pilot.app))
        await listed(pilot)
        await press_on(pilot, "tiny")

    choice = drive(ModelsScreen(services(tmp_path)), act)
    assert choice == ModelChoice(folder / "tiny-q4_k_m.gguf", {}) and hub.requests


@pytest.mark.usefixtures("folder")
def test_a_hub_that_refuses_is_told(tmp_path: Path, hub: FakeHub) -> None:
    hub.files.clear()

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "tiny")
        await until(pilot, lambda: pilot.app.screen.is_modal)
        await pilot.press("y")
        await until(pilot, lambda: "no such file" in screen_text(pilot.app))

    assert drive(ModelsScreen(services(tmp_path)), act) is STILL_OPEN


@pytest.mark.usefixtures("hub")
def test_a_pull_that_was_stopped_can_be_begun_again(folder: Path) -> None:
    pull = Pull("tiny")
    pull.stop()
    with pytest.raises(Stopped):
        pull.run(lambda done, total: None)
    assert not (folder / "tiny-q4_k_m.gguf").exists()
    told: list[int] = []
    assert Pull("tiny").run(lambda done, total: told.append(done - total)) == folder / "tiny-q4_k_m.gguf"
    assert told[-1] == 0


@pytest.mark.usefixtures("folder")
def test_an_app_that_ends_does_not_wait_for_a_hub_that_stalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled, released = threading.Event(), threading.Event()

    def stall(entry: Entry, progress: object) -> Path:
        stalled.set()
        released.wait(60)
        return entry.path

    monkeypatch.setattr(pulling, "pull", stall)

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "tiny")
        await until(pilot, lambda: pilot.app.screen.is_modal)
        await pilot.press("y")
        await until(pilot, stalled.is_set)
        pilot.app.exit()

    began = time.monotonic()
    drive(ModelsScreen(services(tmp_path)), act)
    assert time.monotonic() - began < 30
    released.set()


def test_adapters_that_fit_are_used_and_others_say_why_not(tmp_path: Path, folder: Path) -> None:
    refiner = adapter(folder, "good", "refiner")
    adapter(folder, "other", "solver", arch="qwen2")
    (folder / "adapters" / "none").mkdir()

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine", "f12")
        await until(pilot, lambda: pilot.app.screen.query_one("#adapters", LiteralTable).row_count == 3)
        await pilot.press("tab", "enter", "down", "enter")
        await until(pilot, lambda: "adapter.toml" in screen_text(pilot.app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "it is for architecture 'qwen2'" in screen_text(pilot.app))
        await press_on(pilot, "mine", "shift+tab")
        await pilot.press("enter")

    choice = drive(ModelsScreen(services(tmp_path)), act)
    assert choice == ModelChoice(folder / "mine.gguf", {"refiner": refiner})


@pytest.mark.parametrize("place", ["models", "elsewhere"])
def test_the_policys_adapters_are_in_use_from_the_start(tmp_path: Path, folder: Path, place: str) -> None:
    refiner = adapter(tmp_path / place, "good", "refiner")
    policy = load_policy(None, {"adapters.refiner": str(folder / ".." / place / "adapters" / "good")})

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine", "f12")
        await until(pilot, lambda: pilot.app.screen.query_one("#adapters", LiteralTable).row_count == 1)
        await pilot.press("enter")

    choice = drive(ModelsScreen(services(tmp_path, policy=policy)), act)
    assert choice == ModelChoice(folder / "mine.gguf", {"refiner": refiner})


def test_a_broken_catalogue_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path))
    (tmp_path / "catalog.toml").write_text("[models.x]\n")

    async def act(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "Mend it" in screen_text(pilot.app))
        await pilot.press("enter", "escape")

    assert drive(FirstStartScreen(services(tmp_path / "app")), act) is None


def test_a_choice_made_before_the_adapters_are_listed_keeps_those_in_use(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refiner = adapter(folder, "good", "refiner")
    may_list, asked = threading.Event(), threading.Event()

    def slow(model: Path, others: Iterable[Path]) -> list[AdapterRow]:
        asked.set()
        may_list.wait(60)
        return model_list.list_adapters(model, others)

    monkeypatch.setattr(models, "list_adapters", slow)

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine")
        await until(pilot, asked.is_set)
        may_list.set()
        await until(pilot, lambda: not isinstance(pilot.app.screen, ModelsScreen))

    policy = load_policy(None, {"adapters.refiner": str(refiner)})
    choice = drive(ModelsScreen(services(tmp_path, policy=policy)), act)
    assert choice == ModelChoice(folder / "mine.gguf", {"refiner": refiner})


def test_a_choice_asks_what_fits_its_own_model(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list on the screen may still be that of the model that was highlighted before."""
    refiner = adapter(folder, "good", "refiner")
    write_model(folder / "tiny-q4_k_m.gguf", arch="qwen2")
    may_list = threading.Event()

    def slow(model: Path, others: Iterable[Path]) -> list[AdapterRow]:
        if model.name != "mine.gguf":
            may_list.wait(60)
        return model_list.list_adapters(model, others)

    monkeypatch.setattr(models, "list_adapters", slow)

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine", "f12")
        await until(pilot, lambda: pilot.app.screen.query_one("#adapters", LiteralTable).row_count == 1)
        await press_on(pilot, "tiny")
        may_list.set()
        await until(pilot, lambda: not isinstance(pilot.app.screen, ModelsScreen))

    policy = load_policy(None, {"adapters.refiner": str(refiner)})
    assert drive(ModelsScreen(services(tmp_path, policy=policy)), act) == ModelChoice(folder / "tiny-q4_k_m.gguf", {})


def test_one_adapter_keeps_both_its_roles(tmp_path: Path, folder: Path) -> None:
    both = adapter(folder, "good", "")
    policy = load_policy(None, {"adapters.solver": str(both), "adapters.refiner": str(both)})

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        await press_on(pilot, "mine", "f12")
        await until(pilot, lambda: "solver, refiner" in screen_text(pilot.app))
        await pilot.press("enter")

    choice = drive(ModelsScreen(services(tmp_path, policy=policy)), act)
    assert choice == ModelChoice(folder / "mine.gguf", {"solver": both, "refiner": both})


def test_the_loaded_model_is_in_use_however_its_path_is_spelled(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_LOCAL_MODELS", "models")
    made = services(tmp_path, ScriptedEngine(lambda _: "nothing is asked"))
    made.model = folder / "mine.gguf"

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot)
        assert "in use" in screen_text(pilot.app)

    drive(ModelsScreen(made), act)


@pytest.mark.parametrize(
    ("role", "before", "after"),
    [
        ("refiner", {}, {"refiner": "a"}),
        ("refiner", {"refiner": "a"}, {}),
        ("refiner", {"refiner": "b", "solver": "c"}, {"solver": "c", "refiner": "a"}),
        ("refiner", {"solver": "a"}, {}),
        ("refiner", {"solver": "a", "refiner": "a", "verifier": "b"}, {"verifier": "b"}),
        ("?", {}, {"solver": "a"}),
        ("?", {"solver": "a"}, {"verifier": "a"}),
        ("?", {"refiner": "a"}, {"programmer": "a"}),
        ("?", {"programmer": "a"}, {}),
        ("?", {"solver": "a", "refiner": "a"}, {}),
    ],
)
def test_a_role_has_one_adapter(role: str, before: dict[str, str], after: dict[str, str]) -> None:
    row = AdapterRow(path=Path("a"), role=role, kind="lora", base="")
    assert _toggled(before, row) == after


def test_what_ships_is_listed_and_held_against_the_model(tmp_path: Path) -> None:
    rows = model_list.list_adapters(write_model(tmp_path / "mine.gguf", arch="qwen2"))
    assert {row.path.name for row in rows} >= {path.name for path in model_list.SHIPPED.iterdir() if path.is_dir()}
    assert all("architecture" in row.trouble for row in rows if row.base == "smollm2-135m")
