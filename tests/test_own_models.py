"""Files of the user's own get a name in the user's catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_local.catalog import load_catalog, resolve
from score_local.errors import ModelError
from score_local.own_models import register


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_registered_file_is_found_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "My Refiner-Q4_K_M.gguf"
    file.write_bytes(b"x")
    name = register(file, title='A "quoted" title, 한국어 😀', licence="apache-2.0", notes="line\nbreak")
    assert name == "my-refiner-q4_k_m"
    assert load_catalog()[name].title == 'A "quoted" title, 한국어 😀'
    assert resolve(name) == file


def test_what_stood_in_the_catalogue_stays(tmp_path: Path, folder: Path) -> None:
    folder.mkdir()
    mine = '# mine\n[models.mine]\ntitle = "Mine"\nfile = "mine.gguf"\n'
    (folder / "catalog.toml").write_text(mine)
    register(tmp_path / "a.gguf", title="A", licence="mit")
    register(tmp_path / "b.gguf", title="B", licence="mit")
    assert (folder / "catalog.toml").read_text().startswith(mine)
    assert {"mine", "a", "b"} <= load_catalog().keys()


def test_the_same_file_again_changes_nothing(tmp_path: Path, folder: Path) -> None:
    register(tmp_path / "a.gguf", title="A", licence="mit")
    before = (folder / "catalog.toml").read_bytes()
    register(tmp_path / "a.gguf", title="Another title", licence="mit")
    assert (folder / "catalog.toml").read_bytes() == before


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    register(tmp_path / "a.gguf", title="A", licence="mit")
    with pytest.raises(ModelError, match="the name a is taken by"):
        register(tmp_path / "other" / "a.gguf", title="B", licence="mit")


def test_a_broken_catalogue_is_not_overwritten(tmp_path: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.toml").write_text("[broken")
    with pytest.raises(ModelError, match="not a catalogue"):
        register(tmp_path / "a.gguf", title="A", licence="mit")
    assert (folder / "catalog.toml").read_text() == "[broken"
