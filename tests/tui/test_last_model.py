"""Which model an app begins with: the one that was asked for, else the one used last, else the embedded one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.screen import Screen

from score_local import catalog
from score_local.commands import setup
from tests.tui.chat import Chat, chat
from tui.history import History
from tui.screens.models import ModelChoice


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in for the embedded model."""
    file, resolve = tmp_path / "embedded.gguf", catalog.resolve
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(catalog, "resolve", lambda name: file if name == catalog.DEFAULT_MODEL else resolve(name))
    return file


def begin(folder: Path, *, model: Path | None = None) -> tuple[Path | None, str]:
    """Opens the app and waits for its model; which one that is, and what it shows."""
    seen: list[tuple[Path | None, str]] = []

    async def act(app: Chat) -> None:
        await app.until(app.app.services.engine)
        await app.idle()
        await app.until(lambda: app.app.services.history.last_model() == app.app.services.model)
        seen.append((app.app.services.model, " ".join(app.text.split())))

    chat(folder, act, loaded=False, model=str(model) if model else None, size=(140, 45))
    return seen[0]


def adapters_of(folder: Path, *, model: Path | None = None, keys: Sequence[str] = ()) -> dict[str, str]:
    """The adapters that the app has loaded at its start, or after `keys`."""
    seen: list[dict[str, str]] = []

    async def act(app: Chat) -> None:
        await app.until(app.app.services.engine)
        await app.idle()
        await app.press(*keys)
        await app.idle()
        seen.append({str(role): path for role, path in app.app.services.policy.adapters.items()})

    chat(folder, act, loaded=False, model=str(model) if model else None)
    return seen[0]


def test_the_model_used_last_is_used_again(tmp_path: Path, embedded: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    assert begin(tmp_path)[0] == embedded, "none was used"
    assert begin(tmp_path, model=other)[0] == other
    model, text = begin(tmp_path)
    assert model == other and "not there" not in text
    assert begin(tmp_path, model=embedded)[0] == embedded, "what is asked for comes first"
    assert begin(tmp_path)[0] == embedded


def test_one_that_is_gone_is_told_and_the_embedded_one_used(tmp_path: Path, embedded: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    begin(tmp_path, model=other)
    other.unlink()
    model, text = begin(tmp_path)
    assert model == embedded and "The model used last is not there any more" in text
    assert "not there" not in begin(tmp_path)[1]


def test_a_history_of_before_learns_of_models(tmp_path: Path) -> None:
    History(tmp_path / "history.db").close()
    with sqlite3.connect(tmp_path / "history.db") as file:
        file.execute("DROP TABLE used")
    file.close()
    history = History(tmp_path / "history.db")
    assert not history.notice and history.last_model() is None
    history.keep_model(Path("b\udcffd.gguf"))
    assert history.last_model() == Path("b\udcffd.gguf").absolute(), "a name may be any bytes"
    history.close()


def test_adapters_that_were_chosen_are_chosen_again(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "adapters_of", lambda policy, model: {})  # they fit
    solver, history = embedded, History(tmp_path / "history.db")
    for chosen in (None, {}, {"solver": solver}):
        history.keep_model(embedded, chosen)
        assert history.last_adapters() == chosen
    history.close()
    assert adapters_of(tmp_path) == {"solver": str(solver)}
    assert adapters_of(tmp_path) == {"solver": str(solver)}, "and after that"
    assert adapters_of(tmp_path, keys=["f5"]) == {"solver": str(solver)}, "loaded again"
    assert adapters_of(tmp_path, model=embedded) == {}, "a model that is asked for comes as it ships"
    assert adapters_of(tmp_path) == {}


def test_all_adapters_are_off_where_the_loaded_model_is_chosen_without_under_another_spelling(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "adapters_of", lambda policy, model: {})
    monkeypatch.chdir(tmp_path)

    class Chosen(Screen[ModelChoice]):
        def on_screen_resume(self) -> None:
            self.dismiss(ModelChoice(Path(embedded.name), {}))

    async def act(app: Chat) -> None:
        assert app.app.services.policy.adapters
        app.app.run_worker(app.app._choose(Chosen()))
        await app.until(lambda: not app.app.services.policy.adapters)
        await app.until(lambda: app.app.services.history.last_adapters() == {})

    policy = f'[adapters]\nsolver = "{embedded}"\n'
    chat(tmp_path, act, model=str(embedded), policy_text=policy)


def test_adapters_are_those_of_their_own_model_only(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of a model that is gone, nor of one that another app has chosen meanwhile."""
    monkeypatch.setattr(setup, "adapters_of", lambda policy, model: {})
    other, history = tmp_path / "other.gguf", History(tmp_path / "history.db")
    history.keep_model(other, {"solver": embedded})
    assert adapters_of(tmp_path) == {}, "the embedded one takes the place of a model that is gone"
    other.write_bytes(b"GGUF")

    async def act(app: Chat) -> None:
        await app.until(app.app.services.engine)
        await app.idle()
        history.keep_model(other, {"solver": embedded})
        await app.press("f5")
        await app.idle()
        assert app.app.services.policy.adapters == {}

    chat(tmp_path, act, loaded=False, model=str(embedded))
    history.close()


def test_an_adapter_that_is_gone_is_told(tmp_path: Path, embedded: Path) -> None:
    history = History(tmp_path / "history.db")
    history.keep_model(embedded, {"solver": tmp_path / "gone"})
    history.close()
    model, text = begin(tmp_path)
    assert model == embedded and "The adapter used last is not there any more" in text
