"""Against llama.cpp's own converter, bit for bit. LLAMA_CPP_DIR names a checkout that has it (its source distribution
carries one); without it these tests are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.base import open_base
from convert.lora import write_lora
from convert.merge import merge
from convert.peft_adapter import read_peft
from score_local.gguf_file import read_header
from tests.convert.conftest import TinyBase
from tests.convert.test_merge import targets, tensors_of

pytest.importorskip("torch")
pytest.importorskip("peft")

from tests.convert.tiny import ARCHITECTURES, tiny_adapter

# Its converter knows a tokenizer by the hash of what it makes of a text, so none of ours: the vocabulary is left out.
RUN = """
import runpy, sys
from importlib import import_module
for family in ("gemma", "llama", "phi", "qwen"):
    import_module(f"conversion.{family}")
from conversion.base import ModelBase
def leave_out(classes):
    for model in classes:
        model.set_vocab = lambda self: None
        leave_out(model.__subclasses__())
leave_out([ModelBase])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
CHECKOUT = os.environ.get("LLAMA_CPP_DIR", "")
pytestmark = pytest.mark.skipif(not Path(CHECKOUT, "convert_hf_to_gguf.py").is_file(), reason="LLAMA_CPP_DIR not set")


def theirs(script: str, *arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{Path(CHECKOUT, 'gguf-py')}{os.pathsep}{CHECKOUT}"}
    command = [sys.executable, "-c", RUN, str(Path(CHECKOUT, script)), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr[-2000:]


def assert_same(ours: Path, other: Path) -> None:
    left, right = tensors_of(ours), tensors_of(other)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert np.array_equal(left[name].view(np.uint8), right[name].view(np.uint8)), name


@pytest.mark.parametrize("type", ["f16", "bf16"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_tensors_are_the_same(kind: str, type: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base(kind)
    theirs("convert_hf_to_gguf.py", base, "--outfile", tmp_path / "theirs.gguf", "--outtype", type)
    merge(open_base(base), None, tmp_path / "ours.gguf", type)
    assert_same(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")
    assert hyperparameters(tmp_path / "ours.gguf") == hyperparameters(tmp_path / "theirs.gguf")


def hyperparameters(path: Path) -> dict[str, object]:
    found = read_header(path).metadata
    return {key: value for key, value in found.items() if not key.startswith(("general.", "tokenizer."))}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_adapters_are_the_same(kind: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base(kind)
    adapter = tiny_adapter(base, tmp_path / "adapter", target_modules=targets(kind))
    theirs("convert_lora_to_gguf.py", adapter, "--base", base, "--outfile", tmp_path / "theirs.gguf")
    write_lora(open_base(base), read_peft(adapter), tmp_path / "ours.gguf", "f32")
    assert_same(tmp_path / "ours.gguf", tmp_path / "theirs.gguf")
