"""What goes wrong, and that the prompt is usable afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from textual import events

from score_local.engine.protocol import Engine
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineDied, MemoryLimit, ModelError
from tests.tui.chat import PROBLEM, Chat, chat, eggs
from tests.tui.terminal import READY, Terminal
from tui.history import History
from tui.widgets.prompt import Prompt
from tui.widgets.prose import Prose

HOSTILE = "\x1b[2J\x1b]0;gone\x07 [bold red]no[/] <b>no</b> \u202eright \x00 $x \\frac{ ![i](x) [l](http://x)"


def test_control_characters_and_markup_are_shown(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask("hello " + HOSTILE.replace("\n", " "))
        for shown in ("␛[2J", "␛]0;gone␇", "[bold red]no[/]", "<b>no</b>", "<202E>right", "␀"):
            assert app.text.count(shown) >= 2, f"{shown} in the question and in the reply"
        assert not set(app.text) & {"\x1b", "\x07", "\u202e", "\x00"}

    chat(tmp_path, act, lambda request: HOSTILE, size=(140, 40))


def test_a_paste_is_text(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        prompt = app.screen.query_one(Prompt)
        prompt.post_message(events.Paste("one\r\ntwo\x1b[31m\n"))
        await app.until(lambda: prompt.text == "one\ntwo␛[31m\n")
        assert not app.cards, "a line break in it sends nothing"
        prompt.post_message(events.Paste("x" * 200_000))
        await app.until(lambda: "200,000 characters" in app.text)
        assert prompt.text == "one\ntwo␛[31m\n"

    chat(tmp_path, act)


def test_the_terminal_shrinks_to_nothing_and_grows_again_while_it_streams(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        app.screen.query_one(Prompt).text = "hi"
        await app.press("enter")
        await app.until(lambda: "word" in app.text)
        for size in ((20, 5), (1, 1), (200, 60), (80, 24)):
            await app.pilot.resize_terminal(*size)
            await app.pilot.pause(0.1)
        await app.idle()
        assert app.cards[0].turn.state == "done" and app.cards[0].query_one(Prose).text.split() == ["word"] * 90
        await app.pilot.resize_terminal(20, 5)
        assert (await app.ask("hi again")).turn.state == "done"

    chat(tmp_path, act, lambda request: "word " * 90, rate=100)


def test_the_engine_dies_the_text_stays_and_the_model_can_be_loaded_again(tmp_path: Path) -> None:
    dead: list[str] = []

    def script(request: object) -> str | EngineDied:
        return EngineDied("model.gguf: the engine died: boom") if dead else "all is well"

    async def act(app: Chat) -> None:
        await app.ask("hello")
        dead.append("now")
        card = await app.ask("still there?")
        assert card.turn.state == "failed" and "F5" in app.text and "all is well" in app.text
        dead.clear()
        engine = app.app.services.engine()
        await app.press("f5")
        await app.until(lambda: app.app.services.engine() not in (None, engine))
        assert (await app.ask("and now?")).turn.reply == "all is well"

    chat(tmp_path, act, script, size=(120, 40))


@pytest.mark.parametrize(
    "error",
    [
        ModelError("no such model file", "model.gguf", "See: score-local models list"),
        MemoryLimit("8 sequences of 2048 tokens need 9,000 MB, 500 MB are free", "model.gguf", "Choose fewer"),
    ],
    ids=["vanished", "no memory"],
)
def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path, error: Exception) -> None:
    def open_engine(model: Path, adapters: Mapping[str, Path]) -> Engine:
        if error in raised:
            return ScriptedEngine(eggs)
        raised.append(error)
        raise error

    raised: list[Exception] = []

    async def act(app: Chat) -> None:
        await app.until(lambda: raised and app.screen.load_share is None)
        await app.until(lambda: str(error).split(".")[0].split(":")[-1].strip()[:20] in " ".join(app.text.split()))
        prompt = app.screen.query_one(Prompt)
        prompt.text = PROBLEM
        await app.press("enter")
        await app.until(lambda: prompt.text == PROBLEM)
        assert not app.cards, "what could not be sent is given back"

    chat(tmp_path, act, open_engine=open_engine, size=(120, 30))


def test_what_is_asked_while_the_model_is_loaded_is_asked_then(tmp_path: Path) -> None:
    may_load = threading.Event()

    def open_engine(model: Path, adapters: Mapping[str, Path]) -> Engine:
        may_load.wait()
        return ScriptedEngine(eggs)

    async def act(app: Chat) -> None:
        await app.until(lambda: app.screen.load_share is not None)
        app.screen.query_one(Prompt).text = PROBLEM
        await app.press("enter")
        assert not app.cards
        may_load.set()
        await app.until(lambda: app.cards and app.cards[0].turn.answer == "84")

    chat(tmp_path, act, open_engine=open_engine)


def test_what_is_asked_of_a_model_that_then_cannot_be_loaded_is_given_back(tmp_path: Path) -> None:
    may_load = threading.Event()

    def open_engine(model: Path, adapters: Mapping[str, Path]) -> Engine:
        may_load.wait()
        raise ModelError("no such model file", "model.gguf")

    async def act(app: Chat) -> None:
        prompt = app.screen.query_one(Prompt)
        await app.until(lambda: app.screen.load_share is not None)
        for text in ("/chat 1", "hello"):
            prompt.text = text
            await app.press("enter")
        await app.until(lambda: not prompt.text)
        prompt.text = "a draft"
        may_load.set()
        await app.until(lambda: app.screen.load_share is None)
        await app.until(lambda: prompt.text == "/chat 1\nhello\na draft")
        assert not app.cards

    chat(tmp_path, act, open_engine=open_engine)


@pytest.mark.parametrize("key", ["s", "v"])
def test_an_old_card_without_a_model_asks_nothing_for_ever(tmp_path: Path, key: str) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        app.app.services.close()
        await app.press("escape", key)
        if key == "v":
            await app.until(lambda: app.app.screen is not app.screen)
            await app.press("enter")
        await app.until(lambda: len(app.cards) == 2)
        await app.until(lambda: app.cards[-1].turn.state == "failed" and "no model is loaded" in app.text)
        await app.press("f5")
        await app.until(app.app.services.engine)
        await app.idle()
        assert (await app.ask(PROBLEM)).turn.state == "done"

    chat(tmp_path, act)


def test_without_any_model_the_first_screen_says_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))

    async def act(app: Chat) -> None:
        await app.until(lambda: "Welcome to score-local" in app.text)
        await app.press("escape")
        await app.until(lambda: app.screen.is_current)
        app.screen.query_one(Prompt).text = "hi"
        await app.press("enter")
        await app.until(lambda: "F2 chooses one" in app.text)

    chat(tmp_path, act, loaded=False)


def test_a_history_that_another_app_holds_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    async def act(app: Chat) -> None:
        other = sqlite3.connect(tmp_path / "history.db")
        other.execute("BEGIN IMMEDIATE")
        card = await app.ask("hello")
        assert card.turn.state == "done"
        other.rollback()
        other.close()
        assert (await app.ask("hello again")).turn.state == "done"

    chat(tmp_path, act)


def test_a_cut_off_turn_is_opened_as_what_it_is(tmp_path: Path) -> None:
    from tui.records import Phase, Turn

    history = History(tmp_path / "history.db")
    conversation = history.create("cut off")
    phases = (Phase(name="solve", text="Step 1: so far"),)
    history.save_turn(Turn(id="t", conversation=conversation.id, question="2 + 2?", phases=phases, created=1.0))
    history.close()

    async def act(app: Chat) -> None:
        await app.screen.open(conversation.id)
        await app.until(lambda: "Step 1: so far" in app.text and "cancelled" in app.text)
        await app.press("escape", "s")
        await app.until(lambda: len(app.cards) == 2)
        await app.idle()
        assert app.cards[1].turn.answer == "84"

    chat(tmp_path, act)


def test_a_text_is_shown_although_nobody_told_its_size(tmp_path: Path) -> None:
    class Untold(Prose):
        def on_resize(self, event: events.Resize | None = None) -> None:
            assert event
            event.prevent_default()

    async def act(app: Chat) -> None:
        prose = Untold()
        await app.screen.query_one("#thread").mount(prose)
        prose.become("one\n\ntwo")
        await app.until(lambda: "one" in app.text and "two" in app.text)

    chat(tmp_path, act)


# -- in a terminal of its own ---------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    running = Terminal("-m", "tests.tui.terminal", str(tmp_path), "100", "300")
    running.until(b"model.gguf")
    yield running
    running.close()


def test_ctrl_c_cancels_and_ctrl_q_quits(terminal: Terminal) -> None:
    terminal.write(b"hi\r")
    terminal.until(b"abc")
    terminal.write(b"\x03")
    terminal.until(b"cancelled")
    terminal.write(b"\x11")
    assert os.waitstatus_to_exitcode(terminal.ended()) == 0
    assert b"\x1b[?1049l" in terminal.seen, "the terminal is left as it was"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was_and_the_conversation_kept(
    terminal: Terminal, tmp_path: Path, number: signal.Signals
) -> None:
    terminal.write(b"hi\r")
    terminal.until(b"abc")
    os.kill(terminal.pid, number)
    terminal.ended()
    assert b"\x1b[?1049l" in terminal.seen
    history = History(tmp_path / "history.db")
    (found,) = history.search()
    (turn,) = history.turns(found.conversation.id)
    history.close()
    assert (found.conversation.title, turn.state) == ("hi", "cancelled")
    assert turn.phases[-1].cut_off and turn.phases[-1].text.startswith("abc")


def test_ctrl_z_suspends_and_fg_goes_on(terminal: Terminal) -> None:
    terminal.write(b"\x1a")
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.until(READY)
    terminal.write(b"hi\r")
    terminal.until(b"abc")


def test_two_apps_on_one_history(terminal: Terminal, tmp_path: Path) -> None:
    other = Terminal("-m", "tests.tui.terminal", str(tmp_path), "100", "300")
    try:
        other.until(b"model.gguf")
        for app, text in ((terminal, b"one"), (other, b"two")):
            app.write(text + b"\r")
        for app in (terminal, other):
            app.until(b"Q.E.D.")
    finally:
        other.close()
    history = History(tmp_path / "history.db")
    assert {found.conversation.title for found in history.search()} == {"one", "two"}
    history.close()
