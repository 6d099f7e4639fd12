"""The rules of `check`: each would-be failure is named with its remedy, and good conversions pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from convert.check import Rule, _plain, check
from convert.cli import main
from score_local.gguf_check import file_sha256
from tests.convert.conftest import TinyBase
from tests.convert.files import write_adapter
from tests.convert.tiny_gguf import NARROW, write_model

Q = "model.layers.0.self_attn.q_proj"


def pair(rows: int = 64, columns: int = 64, module: str = Q) -> dict[str, Any]:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, columns)), random.normal(size=(rows, 2))
    return {f"{module}.lora_A.weight": a.astype(np.float32), f"{module}.lora_B.weight": b.astype(np.float32)}


def found(folder: Path, tensors: dict[str, Any], **config: Any) -> dict[str, Rule]:
    base = write_model(folder / "base.gguf", NARROW)
    adapter = write_adapter(folder / "adapter", tensors, **config)
    return {rule.name: rule for rule in check(adapter, base, out=folder)}


def test_a_good_adapter_is_stopped_by_nothing(tmp_path: Path) -> None:
    rules = found(tmp_path, pair())
    assert not [rule for rule in rules.values() if rule.stops]
    assert {"architecture", "base model", "kind", "scale", "merge", "run time", "tokenizer", "room"} <= rules.keys()


class Case(NamedTuple):
    what: str
    tensors: dict[str, Any]
    config: dict[str, Any]
    rule: str
    remedy: str
    stops: tuple[str, ...]


MAGNITUDE = {f"{Q}.lora_magnitude_vector": np.ones(64, np.float32)}
NORM, BIAS = {"model.norm.weight": np.ones(64, np.float32)}, {f"{Q}.lora_B.bias": np.ones(64, np.float32)}
EMBEDDING_DORA = {
    "model.embed_tokens.lora_embedding_A": np.ones((2, 300), np.float32),
    "model.embed_tokens.lora_embedding_B": np.ones((64, 2), np.float32),
    "model.embed_tokens.lora_magnitude_vector": np.ones(64, np.float32),
}
BOTH = ("merge", "lora")
CASES = [
    Case("shapes", pair(rows=72), {}, "merge", "Was it trained on another base", ("merge",)),
    Case("a layer too many", pair(module=Q.replace(".0.", ".9.")), {}, "run time", "another base model", ("lora",)),
    Case("an aLoRA", pair(), {"alora_invocation_tokens": [1, 2]}, "merge", "score-convert lora", ("merge",)),
    Case("DoRA", {**pair(), **MAGNITUDE}, {"use_dora": True}, "run time", "score-convert merge", ("lora",)),
    Case("a saved norm", {**pair(), **NORM}, {}, "run time", "score-convert merge", ("lora",)),
    Case("PiSSA", pair(), {"init_lora_weights": "pissa_niter_4"}, "initialisation", "path_initial_model", BOTH),
    Case("LoftQ", pair(), {"init_lora_weights": "loftq"}, "initialisation", "path_initial_model", BOTH),
    Case("Conv1D's layout", pair(), {"fan_in_fan_out": True}, "settings", "Merge it with PEFT", BOTH),
    Case("an embedding's DoRA", EMBEDDING_DORA, {"use_dora": True}, "settings", "without the embedding", BOTH),
    Case("a bias of B", {**pair(), **BIAS}, {"lora_bias": True}, "merge", "score-convert check", ("merge",)),
    Case("layer replication", pair(), {"layer_replication": [[0, 2]]}, "settings", "Merge it with PEFT", BOTH),
    Case("another kind", pair(), {"peft_type": "IA3"}, "adapter", "Give a LoRA adapter", BOTH),
]


def name_of(value: Any) -> str:
    return value.what if isinstance(value, Case) else str(value)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_would_fail_is_named(tmp_path: Path, case: Case) -> None:
    told = found(tmp_path, case.tensors, **case.config)[case.rule]
    assert told.stops == case.stops and case.remedy in told.remedy


@pytest.mark.parametrize(("case", "way"), [(case, way) for case in CASES for way in case.stops], ids=name_of)
def test_what_is_stopped_is_not_made(
    tmp_path: Path, case: Case, way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "base.gguf", NARROW)
    write_adapter(tmp_path / "adapter", case.tensors, **case.config)
    assert main([way, "adapter", "--base", "base.gguf"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("score-convert: adapter: ") and case.remedy in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base.gguf"]


def test_another_base_is_doubted(tmp_path: Path) -> None:
    rules = found(tmp_path, pair(), base_model_name_or_path="owner/other-7b")
    assert rules["base model"].doubt and "owner/other-7b" in rules["base model"].what


def test_a_card_that_knows_the_base_by_its_sum_leaves_no_doubt(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base.gguf", NARROW)
    adapter = write_adapter(tmp_path / "adapter", pair(), base_model_name_or_path="owner/other")
    for sha256, doubt in ((file_sha256(base), False), ("0" * 64, True)):
        (adapter / "adapter.toml").write_text(f'base = "another name"\nbase_sha256 = "{sha256}"\n')
        (rule,) = (rule for rule in check(adapter, base, out=tmp_path) if rule.name == "base model")
        assert rule.doubt is doubt


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "/data/qwen2.5-0.5b-instruct", True),
        ("Qwen2.5 0.5B Instruct", "Qwen/Qwen2.5-0.5B-Instruct", True),
        ("owner/model-Q4_K_M.gguf", "owner/model", True),
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct", False),
        ("owner/model-1b", "owner/model-7b", False),
    ],
)
def test_when_two_names_are_one_model(left: str, right: str, same: bool) -> None:
    assert (_plain(left) == _plain(right)) is same


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "adapter" / "adapter_model.safetensors").write_bytes(b"\0" * 9), "cut short"),
        (lambda f: (f / "adapter" / "adapter_config.json").unlink(), "no adapter_config.json"),
        (lambda f: (f / "base.gguf").write_bytes((f / "base.gguf").read_bytes()[:-99]), "cut short"),
        (lambda f: (f / "base.gguf").write_bytes(b"no model"), "not a GGUF file"),
    ],
)
def test_damage_is_a_finding(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    base = write_model(tmp_path / "base.gguf", NARROW)
    adapter = write_adapter(tmp_path / "adapter", pair())
    spoil(tmp_path)
    (rule,) = check(adapter, base)
    assert told in rule.what and rule.stops == ("merge", "lora")


def test_a_template_that_is_missing_is_doubted(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base.gguf", NARROW)
    rules = {rule.name: rule for rule in check(write_adapter(tmp_path / "adapter", pair()), base)}
    assert rules["chat template"].doubt


@pytest.mark.parametrize(("type", "doubt"), [(GGMLQuantizationType.F16, False), (GGMLQuantizationType.Q8_0, True)])
def test_a_quantised_base_is_told(tmp_path: Path, type: GGMLQuantizationType, doubt: bool) -> None:
    base = write_model(tmp_path / "base.gguf", NARROW, type=type)
    rules = {rule.name: rule for rule in check(write_adapter(tmp_path / "adapter", pair()), base)}
    assert ("base weights" in rules) is doubt
    assert not any(rule.stops for rule in rules.values())


def test_a_configuration_that_llama_cpp_has_not_is_found_before_the_merge(tiny_base: TinyBase, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base("qwen2"), tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    (base / "config.json").write_text(json.dumps(config))
    rules = {rule.name: rule for rule in check(write_adapter(tmp_path / "adapter", pair()), base, out=tmp_path)}
    assert rules["configuration"].stops == ("merge",) and "'dynamic'" in rules["configuration"].what
