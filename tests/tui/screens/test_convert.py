"""The convert screen, by its keys: a whole conversion of a tiny model, and what may go wrong with the process."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Log, ProgressBar

from convert.check import Rule
from tests.fake_hub import FakeHub, serving
from tests.tui.host import STILL_OPEN, drive, until
from tests.tui.snapshots import assert_looks_as_before, screen_text
from tui.convert_job import ConvertJob, Order, Outcome
from tui.screens import convert
from tui.screens.convert import ConvertScreen
from tui.screens.models import ModelChoice
from tui.screens.table import LiteralTable

RULES = [
    Rule(name="architecture", what="qwen2, 24 layers"),
    Rule(name="base model", what="trained on [bold]A[/], and the base is B", remedy="Give A", doubt=True),
    Rule(name="run time", what="DoRA", remedy="Merge it", stops=("lora",)),
]
ORDER = Order(Path("refiner"), "base", "q8_0", Path("out"))
WORK = """
import sys
print("a finding \\x1b[2J")
print("merging into x: 45%", file=sys.stderr)
print('registered: score-local solve --model refiner-q8_0 "..."', file=sys.stderr)
"""
SLOW = "import time; print('begun'); time.sleep(60)"
FAILS = "import sys; print('no such base'); sys.exit(2)"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    return tmp_path


def child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Puts a small program in the place of `score-convert`."""
    monkeypatch.setattr(Order, "command", lambda order: [sys.executable, "-c", code])


async def fill(adapter: str, base: str, pilot: Pilot[None]) -> None:
    for name, text in (("adapter", adapter), ("base", base), ("types", "q8_0")):
        pilot.app.screen.query_one(f"#{name}", Input).focus().value = text
    await pilot.press("enter")


async def says(pilot: Pilot[None], text: str) -> None:
    await until(pilot, lambda: text in " ".join(screen_text(pilot.app).split()))


async def checked(pilot: Pilot[None]) -> None:
    await fill("refiner", "base", pilot)
    await until(pilot, lambda: pilot.app.screen.query_one(LiteralTable).row_count == len(RULES))


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_it_looks_as_before(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    monkeypatch.setattr(convert, "_findings", lambda order: RULES)

    async def act(pilot: Pilot[None]) -> None:
        await checked(pilot)
        await pilot.press("down")
        await says(pilot, "Give A")
        assert_looks_as_before(pilot.app, f"convert-{size[0]}")

    drive(ConvertScreen(), act, size)


def test_progress_output_and_the_registered_model(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(convert, "_findings", lambda order: RULES)
    monkeypatch.setattr(convert, "resolve", lambda name: here / f"{name}.gguf")
    child(monkeypatch, WORK)

    async def act(pilot: Pilot[None]) -> None:
        screen = pilot.app.screen
        await checked(pilot)
        await pilot.press("u", "c")
        await says(pilot, "Registered: refiner-q8_0. u uses refiner-q8_0")
        assert screen.query_one(Log).lines[0] == "a finding ␛[2J"
        assert screen.query_one(ProgressBar).progress == 45
        await pilot.press("u")

    assert drive(ConvertScreen(), act) == ModelChoice(here / "refiner-q8_0.gguf", {})


def test_what_cannot_be_merged_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = [*RULES[:2], Rule(name="shapes", what="does not fit", remedy="Other base", stops=("merge", "lora"))]
    monkeypatch.setattr(convert, "_findings", lambda order: stopped)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("tab", "tab", "tab", "tab", "c")
        await says(pilot, "Check it first")
        await checked(pilot)
        await says(pilot, "It cannot be merged")
        await pilot.press("c")
        await says(pilot, "Check it first")

    assert drive(ConvertScreen(), act) is STILL_OPEN


def test_a_changed_field_asks_for_another_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_findings", lambda order: RULES)

    async def act(pilot: Pilot[None]) -> None:
        await checked(pilot)
        pilot.app.screen.query_one("#base", Input).value = "another"
        await pilot.press("c")
        await says(pilot, "Check it first")

    drive(ConvertScreen(), act)


@pytest.mark.parametrize(
    ("adapter", "base", "what"),
    [
        ("none", "none", "no such base model"),
        ("none", "smollm2-135m", "adapter_config.json"),
        ("", "smollm2-135m", "Name an adapter"),
        ("refiner", "", "Name an adapter"),
    ],
)
def test_a_mistake_is_told(adapter: str, base: str, what: str) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(adapter, base, pilot)
        await says(pilot, what)

    assert drive(ConvertScreen(), act) is STILL_OPEN


def test_the_base_is_fetched_when_the_person_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_CACHE", str(here / "cache"))  # of the program; in this process it is read already
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "cache"))

    async def act(pilot: Pilot[None]) -> None:
        await fill("none", "org/base", pilot)
        await says(pilot, "Fetch the base org/base from the hub?")
        await pilot.press("n")
        await says(pilot, "org/base: is not on this machine")
        assert not hub.requests
        await pilot.press("enter")
        await says(pilot, "Fetch the base org/base from the hub?")
        await pilot.press("y")
        await says(pilot, "none: no adapter: it has no adapter_config.json")
        screen = pilot.app.screen
        assert screen.query_one(ProgressBar).progress == 100

    with serving(FakeHub({f"org/base/{name}": bytes(5000) for name in ("config.json", "model.safetensors")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        drive(ConvertScreen(), act)
    (fetched,) = (here / "cache").rglob("snapshots/*")
    assert sorted(path.name for path in fetched.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("base", ["org/base", "qwen2.5-1.5b"])
def test_without_a_network_the_fetch_says_so(here: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    async def act(pilot: Pilot[None]) -> None:
        await fill("none", base, pilot)
        await says(pilot, "from the hub?")
        await pilot.press("y")
        await says(pilot, "the hub cannot be reached")
        assert "--fetch" not in screen_text(pilot.app)

    assert drive(ConvertScreen(), act) is STILL_OPEN


def test_a_conversion_that_fails_says_so_and_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_findings", lambda order: RULES)
    child(monkeypatch, FAILS)

    async def act(pilot: Pilot[None]) -> None:
        await checked(pilot)
        await pilot.press("c")
        await says(pilot, "It ended with code 2")
        assert "no such base" in screen_text(pilot.app)
        await pilot.press("u")
        await says(pilot, "No model has been made yet")
        child(monkeypatch, WORK)
        await pilot.press("c")
        await says(pilot, "Registered")

    drive(ConvertScreen(), act)


def test_escape_stops_the_process_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_findings", lambda order: RULES)
    child(monkeypatch, SLOW)

    async def act(pilot: Pilot[None]) -> None:
        await checked(pilot)
        await pilot.press("c")
        await says(pilot, "begun")
        await pilot.press("escape")
        await says(pilot, "It ended with code")
        await pilot.press("escape")

    began = time.monotonic()
    assert drive(ConvertScreen(), act) is None
    assert time.monotonic() - began < 30


def test_a_job_that_is_stopped_before_it_starts_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, SLOW)
    job = ConvertJob(ORDER)
    job.stop()
    said: list[str] = []
    assert job.run(said.append, lambda *_: None).code != 0


def test_a_job_is_stopped_from_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, SLOW)
    job = ConvertJob(ORDER)
    threading.Timer(0.5, job.stop).start()
    outcome = job.run(lambda line: None, lambda *_: None)
    assert outcome.names == () and outcome.code != 0


def test_a_registered_name_of_any_script_is_heard_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    child(monkeypatch, WORK.replace("refiner", r"\u6570\u5b66"))
    said: list[str] = []
    assert ConvertJob(ORDER).run(said.append, lambda *_: None) == Outcome(0, ("数学-q8_0",)), said


def test_a_whole_conversion(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a second thread gains nothing for models this small
    from tests.convert.tiny import tiny_adapter, tiny_model

    base = tiny_model("qwen2", here / "base", hidden=256)
    adapter = tiny_adapter(base, here / "refiner", target_modules=["q_proj", "v_proj"])

    async def act(pilot: Pilot[None]) -> None:
        screen = pilot.app.screen
        await fill(str(adapter), str(base), pilot)
        await until(pilot, lambda: screen.query_one(LiteralTable).row_count > 5)
        assert "stops" not in screen_text(pilot.app)

    drive(ConvertScreen(), act)
    said: list[str] = []
    outcome = ConvertJob(Order(adapter, str(base), "q8_0", here / "out")).run(said.append, lambda *_: None)
    assert outcome == Outcome(0, ("refiner-q8_0",)), "\n".join(said)
    assert (here / "out" / "refiner-q8_0.gguf").exists()
