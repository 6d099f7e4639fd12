"""The whole app in a process of its own, which is then killed: what the next one finds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tui.chat import PROBLEM, WRONG, Chat, chat
from tui.history import History
from tui.records import Turn

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
ROOT = Path(__file__).parents[2]

# Asks a problem; says so when the refiner is asked, who takes a minute.
APP = """
import os, sys, time
from pathlib import Path
from score_local.engine.protocol import Score
from tests.tui.chat import PROBLEM, WRONG, chat
from tui.widgets.prompt import Prompt

def script(request):
    if isinstance(request, Score):
        return (-2.0, -0.2)
    if request.phase == "refine":
        os.write(1, b"refining\\n")
        time.sleep(60)
    return WRONG

async def act(app):
    app.screen.query_one(Prompt).text = PROBLEM
    await app.press("enter")
    await app.until(lambda: os.path.exists("no such file"))

chat(Path(sys.argv[1]), act, script)
"""
WRITING = (
    APP.replace(
        "chat(Path(sys.argv[1]), act, script)", "session.KEEP = 0.1\nchat(Path(sys.argv[1]), act, script, rate=100)"
    )
    .replace("import os", "from tui import session\nimport os")
    .replace("time.sleep(60)", "return 'Critique: it is ' + 'not ' * 6000")
)


def refining(folder: Path, program: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout and "refining" in started.stdout.readline()
    return started


@pytest.fixture
def app(tmp_path: Path) -> subprocess.Popen[str]:
    """An app whose refiner has not said a word."""
    return refining(tmp_path, APP)


@pytest.fixture
def writing(tmp_path: Path) -> subprocess.Popen[str]:
    """An app whose refiner has written something."""
    started = refining(tmp_path, WRITING)
    deadline = time.monotonic() + 30
    # The first record may hold a few letters only.
    while not any(phase.cut_off and "not not not" in phase.text for phase in kept(tmp_path).phases):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return started


def kept(folder: Path) -> Turn:
    """The one turn of the history."""
    history = History(folder / "history.db")
    (found,) = history.search()
    (turn,) = history.turns(found.conversation.id)
    history.close()
    return turn


def test_a_killed_app_loses_the_running_phase_only(app: subprocess.Popen[str], tmp_path: Path) -> None:
    app.send_signal(signal.SIGKILL)
    app.communicate(timeout=30)
    turn = kept(tmp_path)
    names = [phase.name for phase in turn.phases]
    assert (names[0], turn.phases[0].text) == ("solve", WRONG) and "verify" in names and "refine" not in names
    assert turn.state == "running" and turn.trace and turn.trace.rounds and turn.answer == "74"


def test_the_next_app_shows_what_is_there(app: subprocess.Popen[str], tmp_path: Path) -> None:
    app.send_signal(signal.SIGKILL)
    app.communicate(timeout=30)

    async def act(talking: Chat) -> None:
        await reopen(talking)
        await talking.until(lambda: "cancelled" in talking.text and "74" in talking.text)

    chat(tmp_path, act)


def test_a_refinement_that_was_cut_off_is_shown_and_can_be_tried_again(
    writing: subprocess.Popen[str], tmp_path: Path
) -> None:
    writing.send_signal(signal.SIGKILL)
    writing.communicate(timeout=30)

    async def act(talking: Chat) -> None:
        await reopen(talking)
        await talking.until(lambda: "Critique  cut off after" in talking.text and "it is not not" in talking.text)
        talking.cards[0].focus()
        await talking.press("r")
        await talking.until(lambda: talking.cards[0].turn.state == "done")
        assert talking.cards[0].turn.answer == "84" and "cut off" not in talking.text

    chat(tmp_path, act, size=(100, 60))


async def reopen(talking: Chat) -> None:
    await talking.press("f3")
    await talking.until(lambda: PROBLEM in talking.text)
    await talking.press("enter")
    await talking.until(lambda: talking.cards)
