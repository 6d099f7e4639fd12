"""What stands in a merge's way is told in one line, and leaves nothing behind that looks finished."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import merge, partial
from convert.base import Base, open_base
from convert.safetensors import Array
from score_local import gguf_writer
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from tests.convert.files import write_safetensors
from tests.convert.tiny_gguf import NARROW, write_model

ROWS, COLUMNS = 64, 32


def gguf_base(folder: Path) -> Base:
    return open_base(write_model(folder / "base.gguf", NARROW))


def spoiled(base: Base, name: str, value: float) -> Base:
    """The base with one bad weight."""
    whole = base.tensors[name]

    class Spoiled:
        shape = whole.shape

        def read(self, start: int, stop: int) -> Array:
            values = whole.read(start, stop).copy()
            values.flat[-1] = value
            return values

    base.tensors[name] = Spoiled()
    return base


@pytest.mark.parametrize(
    ("value", "type", "told"),
    [
        (np.nan, "f32", "a value that is not finite"),
        (np.inf, "f16", "a value that is not finite"),
        (-np.inf, "bf16", "a value that is not finite"),
        (70_000.0, "f16", "more than float16 can. Convert to bf16 or f32 instead"),
        (-65_505.0, "f16", "more than float16 can"),
    ],
)
def test_a_bad_weight_is_named(tmp_path: Path, value: float, type: str, told: str) -> None:
    base = spoiled(gguf_base(tmp_path), "blk.1.ffn_up.weight", value)
    with pytest.raises(ModelError, match=told) as caught:
        merge.merge(base, None, tmp_path / "out.gguf", type)
    assert "blk.1.ffn_up.weight" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.gguf"]


@pytest.mark.parametrize("type", ["bf16", "f32"])
def test_a_large_weight_is_no_trouble_elsewhere(tmp_path: Path, type: str) -> None:
    merge.merge(spoiled(gguf_base(tmp_path), "blk.1.ffn_up.weight", 70_000.0), None, tmp_path / "out.gguf", type)
    read_header(tmp_path / "out.gguf")


def test_a_target_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.gguf").write_text("precious")
    with pytest.raises(ModelError, match="exists already"):
        merge.merge(gguf_base(tmp_path), None, tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_text() == "precious"


def test_a_place_that_can_be_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for target in (tmp_path / "file" / "merged.gguf", tmp_path / ("a" * 250)):
        with pytest.raises(ModelError, match="cannot be written"), partial.whole_file(target):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_too_small_a_disk_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = gguf_base(tmp_path)
    monkeypatch.setattr(partial.shutil, "disk_usage", lambda path: os.terminal_size((0, 0)) and _Usage(free=1000))
    with pytest.raises(ModelError, match=r"needs [\d,]+ bytes, and 1,000 are free"):
        merge.merge(base, None, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out*"))


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = gguf_base(tmp_path)

    def pad(file: Any, alignment: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf_writer, "_pad", pad)
    with pytest.raises(ModelError, match=r"the disk is full\. Make room"):
        merge.merge(base, None, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full(tmp_path: Path) -> None:
    base = gguf_base(tmp_path)
    (tmp_path / "out.gguf.part").symlink_to("/dev/full")
    header = read_header(base.path)
    with pytest.raises(OSError, match="No space left"):
        gguf_writer.write_gguf(tmp_path / "out.gguf.part", header, {}, [])


KILLED = """
import sys, time
from pathlib import Path
from convert import merge
from convert.base import open_base
encode = merge.FILE_TYPES["f32"].encode
def slowly(done, total):
    print("writing", flush=True)
    time.sleep(30)
merge.merge(open_base(Path(sys.argv[1])), None, Path(sys.argv[2]), "f16", slowly)
"""


def test_a_killed_merge_never_looks_finished(tmp_path: Path) -> None:
    base, out = write_model(tmp_path / "base.gguf", NARROW), tmp_path / "out.gguf"
    command = [sys.executable, "-c", KILLED, str(base), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists() and (tmp_path / "out.gguf.part").exists()
    merge.merge(open_base(base), None, out)
    assert not (tmp_path / "out.gguf.part").exists()
    read_header(out)


WORKING = """
import sys, time
from pathlib import Path
from convert.partial import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "sub").mkdir()
    (folder / "half.gguf").write_text("x")
    print("working", flush=True)
    time.sleep(30)
"""


def test_what_a_killed_conversion_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target, left = tmp_path / "out", tmp_path / "out.parts"
    with subprocess.Popen([sys.executable, "-c", WORKING, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "working\n"
        with pytest.raises(ModelError, match="out: another process is making it"), partial.scratch_folder(target):
            raise AssertionError("two in one folder")
        assert (left / "half.gguf").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (left / "half.gguf").exists()
    with partial.scratch_folder(target) as folder:
        assert folder == left and {path.name for path in folder.iterdir()} <= {partial.LOCK}
        (folder / "made.gguf").write_text("y")
        partial.move_files(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]


def test_a_folder_that_somebody_removed_hides_no_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="what went wrong"), partial.scratch_folder(tmp_path / "out") as folder:
        shutil.rmtree(folder)
        raise ModelError("what went wrong")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_merge_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge.merge(gguf_base(tmp_path), None, tmp_path / "out.gguf", "f16", interrupt)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "its weights are quantised (bitsandbytes)"),
        ({"architectures": ["MambaForCausalLM"]}, "architecture MambaForCausalLM is not supported"),
        ({"num_hidden_layers": None}, "its config.json lacks"),
    ],
)
def test_a_base_that_cannot_be_used(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    import json

    whole = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 1, **config}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    write_safetensors(tmp_path / "model.safetensors", {"model.embed_tokens.weight": np.ones((4, 4), np.float32)})
    with pytest.raises(ModelError) as caught:
        open_base(tmp_path)
    assert told in str(caught.value)


def test_a_base_of_packed_weights_is_refused(tmp_path: Path) -> None:
    import json

    whole = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    packed = {"model.layers.0.mlp.up_proj.weight": np.ones((8, 1), np.uint8)}
    write_safetensors(tmp_path / "model.safetensors", packed)
    with pytest.raises(ModelError, match="Give the 16-bit weights"):
        open_base(tmp_path)


def test_pieces_come_in_order_whoever_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def task(i: int) -> np.ndarray[Any, Any]:
        time.sleep(0.02 if i % 2 == 0 else 0.0)
        return np.array([i])

    with ThreadPoolExecutor(4) as pool:
        found = [int(piece[0]) for piece in merge._ahead(pool, ((lambda i=i: task(i)) for i in range(12)))]
    assert found == list(range(12))
