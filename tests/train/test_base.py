"""A GGUF as the base: a folder with its weights, and a tokenizer that gives llama.cpp's ids."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM

from convert.base import open_base as open_convert_base
from convert.merge import merge
from score_local import catalog
from score_local.engine.llama import LlamaBackend
from score_local.engine.transformers_text import FolderText
from score_local.errors import ModelError
from score_local.gguf_check import file_sha256
from score_local.train.base import open_base
from tests.train.conftest import MakeBase


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize("kind", ["qwen2", "smollm2"])
def test_a_gguf_becomes_a_folder_once(make_base: MakeBase, tmp_path: Path, kind: str) -> None:
    folder, file = make_base(kind), tmp_path / "tiny.gguf"
    merge(open_convert_base(folder), None, file, "bf16")
    base = open_base(str(file))
    assert (base.name, base.sha256) == ("tiny.gguf", file_sha256(file))
    assert open_base(str(file)).folder == base.folder
    assert [path.name for path in base.folder.parent.glob("[!.]*")] == [base.folder.name], "no half of one"

    tokens = torch.arange(3, 60)[None]
    ours, theirs = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (base.folder, folder))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens).logits, theirs(tokens).logits, rtol=0.05, atol=0.05)  # bfloat16 weights
    text = "Step 1: Tom has 1234 apples, 56.7% of them red."
    assert FolderText(base.folder).tokenize(text, True) == FolderText(folder).tokenize(text, True)


def test_a_folder_is_taken_as_it_is(base: Path) -> None:
    opened = open_base(str(base))
    assert (opened.folder, opened.sha256, opened.name) == (base, None, base.name)


def test_a_gguf_that_transformers_cannot_read_leaves_nothing_behind(tmp_path: Path, make_base: MakeBase) -> None:
    file = tmp_path / "tiny.gguf"
    merge(open_convert_base(make_base("qwen2")), None, file, "bf16")
    content = bytearray(file.read_bytes())
    at = content.find(b"general.architecture") + len(b"general.architecture") + 12
    content[at : at + 5] = b"qwenX"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="transformers cannot make a folder of it"):
        open_base(str(file))
    assert list((tmp_path / "models" / "dequantised").glob("[!.]*")) == []


@pytest.fixture(scope="module")
def embedded() -> Path:
    try:
        return catalog.resolve("smollm2-135m")
    except ModelError:
        pytest.skip("the embedded model is not installed")


@pytest.fixture(scope="module")
def backend(embedded: Path) -> Iterator[LlamaBackend]:
    opened = LlamaBackend(embedded, streams=1, context=64, threads=1)
    yield opened
    opened.close()


@pytest.mark.model
def test_the_embedded_models_tokenizer_gives_llama_cpps_ids(embedded: Path, backend: LlamaBackend) -> None:
    """Its digits are split one by one, which transformers leaves out as it reads the GGUF."""
    text = FolderText(open_base(str(embedded)).folder)
    for line in _texts(400):
        assert text.tokenize(line, True) == backend.tokenize(line, True), line
    assert len(text.tokenize("1234567", True)) == 7


def _texts(count: int) -> list[str]:
    """Numbers, words, code, formulas and scripts, mixed."""
    chance = random.Random(0)
    words = ["Tom", "has", "apples", "costs", "def", "f(x):", "naïve", "数学", "한국어", "🙂"]
    numbers = ["12", "3456.78", "50%", "1,200", "3/4", "$", "x^2", "\\frac{1}{2}", "\\boxed{7}"]
    gaps = [" ", "  ", "\n", "\n\n", "\t", ", ", ""]
    return ["".join(chance.choice(words + numbers) + chance.choice(gaps) for _ in range(20)) for _ in range(count)]
