"""The adapters in `models/adapters`: each is whole, fits a model of the catalogue, and has a card with its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_local.adapter_files import read_adapter
from score_local.catalog import load_catalog

FOLDER = Path(__file__).parent.parent / "models" / "adapters"
ADAPTERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_an_adapter_fits_a_model_of_the_catalogue(folder: Path) -> None:
    adapter = read_adapter(folder)
    assert load_catalog()[adapter.card.base].sha256 == adapter.card.base_sha256
    assert folder.name == f"{adapter.card.base}-{adapter.card.role}{'-lora' if adapter.kind == 'lora' else ''}"


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_its_card_tells_what_it_is_worth(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    for told in ("Recipe", "Data funnel", "Hardware", "seed", "95%", "Bad at", "Licence", "score-local train"):
        assert told in card, told


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.gguf")) <= 40e6
