"""The app with the embedded model: from a question to a verdict, nothing scripted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from score_local import catalog
from score_local.engine.protocol import Engine
from score_local.errors import ModelError
from tests.tui import host
from tests.tui.chat import Chat, chat

pytestmark = pytest.mark.model


@pytest.fixture
def model() -> Path:
    try:
        return catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))


def test_a_problem_is_solved_and_doubted_and_nothing_of_llama_cpp_is_on_the_screen(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PATIENCE", 240.0)

    def open_engine(path: Path, adapters: Mapping[str, Path]) -> Engine:
        from score_local.engine.llama import open_engine

        return open_engine(path, streams=2, context=1024, threads=1, adapters=adapters)

    policy = '[solve]\nmax_tokens = 64\n[verify]\nverifiers = ["self"]\n[refine]\nwhen = "never"\n'

    async def act(app: Chat) -> None:
        await app.until(app.app.services.engine)
        await app.idle()
        card = await app.ask("A box holds 12 eggs. How many eggs do 7 boxes hold?")
        assert card.turn.state == "done" and card.turn.trace and card.turn.trace.rounds[0].p_incorrect is not None
        assert "P(incorrect)" in app.text and "self" in app.text
        assert "llama_" not in app.text and "ggml" not in app.text
        reply = await app.ask("/chat Say hello.")
        assert reply.turn.state == "done" and reply.turn.reply

    chat(tmp_path, act, open_engine=open_engine, model=str(model), policy_text=policy, size=(100, 40))
