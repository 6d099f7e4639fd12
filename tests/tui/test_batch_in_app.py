"""A batch in the whole app: opened from the prompt, gone on with in the conversation, ended with the app."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from score_local.runs import read_traces
from tests.tui.chat import PROBLEM, Chat, chat
from tui.screens.batch import BatchScreen
from tui.screens.table import LiteralTable


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps({"id": str(i), "question": f"{PROBLEM} ({i})", "answer": "84"}) for i in range(40))
    Path("eggs.jsonl").write_text("\n".join(lines))


async def opened(talking: Chat) -> None:
    """The problem file, by the command of the prompt."""
    talking.screen.query_one("Prompt").text = "/open eggs.jsonl"  # type: ignore[attr-defined]
    await talking.press("enter")
    await talking.until(lambda: isinstance(talking.app.screen, BatchScreen))
    await talking.until(lambda: talking.app.screen.query_one(LiteralTable).row_count == 40)


def test_a_file_is_opened_solved_and_a_problem_gone_on_with(tmp_path: Path) -> None:
    async def act(talking: Chat) -> None:
        await opened(talking)
        await talking.press("s")
        await talking.until(lambda: "Done: 40/40" in talking.text)
        await talking.press("enter")
        await talking.until(lambda: "Problem 0" in talking.text)
        await talking.press("o")
        await talking.until(lambda: talking.cards and talking.cards[-1].turn.question == f"{PROBLEM} (0)")
        await talking.idle()
        talking.cards[-1].focus()
        await talking.press("s")
        await talking.until(lambda: len(talking.cards) == 2)
        await talking.idle()

    chat(tmp_path, act)
    assert len(read_traces(Path("runs/eggs"))) == 40


def test_f6_opens_an_empty_batch_from_the_prompt(tmp_path: Path) -> None:
    async def act(talking: Chat) -> None:
        await talking.press("f6")
        await talking.until(lambda: isinstance(talking.app.screen, BatchScreen))
        assert talking.app.screen.query_one("#file", Input).value == ""
        await talking.press("f6", "escape")
        await talking.until(lambda: talking.app.screen is talking.screen)

    chat(tmp_path, act)


def test_an_app_that_quits_leaves_a_run_that_can_go_on(tmp_path: Path) -> None:
    async def act(talking: Chat) -> None:
        await opened(talking)
        await talking.press("s")
        await talking.until(lambda: len(read_traces(Path("runs/eggs"))) > 3)
        await talking.press("ctrl+q")

    chat(tmp_path, act, rate=60)
    traces = read_traces(Path("runs/eggs"))
    assert 3 < len(traces) < 40 and {trace.status for trace in traces} == {"solved"}
