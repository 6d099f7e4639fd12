"""The arrows of the design point down, and each third-party giant has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Lower number: nearer the ground. A module may import its own layer and those below it.
LAYERS = [
    ("score_local.errors", 0),
    ("score_local.append_only", 1),
    ("score_local.flags", 1),
    ("score_local.talk", 1),
    ("score_local.openmp", 1),
    ("score_local.engine.protocol", 1),
    ("score_local.problem", 1),
    ("score_local.toml_text", 1),
    ("score_local.trace", 2),
    ("score_local.prompts", 2),
    ("score_local.answers", 2),
    ("score_local.roles", 1),
    ("score_local.samples", 1),
    ("score_local.sandbox", 2),
    ("score_local.gguf_types", 1),
    ("score_local.gguf_file", 1),
    ("score_local.gguf_writer", 1),
    ("score_local.problem_records", 2),
    ("score_local.problem_formats", 2),
    ("score_local.problem_files", 2),
    ("score_local.engine", 2),
    ("score_local.attempts", 3),
    ("score_local.votes", 3),
    ("score_local.helpers", 4),
    ("score_local.policy", 3),
    ("score_local.verifiers", 3),
    ("score_local.loop", 3),
    ("score_local.methods", 3),
    ("score_local.schedule", 4),
    ("score_local.catalog_entries", 4),
    ("score_local.gguf_check", 4),
    ("score_local.adapter_files", 4),
    ("score_local.catalog", 4),
    ("score_local.own_models", 5),
    ("score_local.collect", 5),
    ("score_local.train", 5),
    ("score_local.evaluate", 5),
    ("score_local.runs", 5),
    ("score_local.answer_files", 5),
    ("score_local.bench", 5),
    ("score_local.commands", 6),
    ("score_local.cli", 7),
    ("score_local.__main__", 8),
    ("convert", 6),
    ("tui", 6),
]

NETWORK = ["score_local/catalog.py", "score_local/engine/openai.py"]
DOORS = {
    "llama_cpp": ["score_local/engine/llama.py", "score_local/bench.py", "convert/"],
    "torch": ["score_local/train/", "score_local/engine/transformers", "convert/verify.py"],
    "transformers": ["score_local/train/", "score_local/engine/transformers", "convert/verify.py"],
    "peft": ["score_local/train/", "score_local/engine/transformers", "convert/verify.py"],
    "bitsandbytes": ["score_local/train/", "score_local/engine/transformers", "convert/verify.py"],
    "textual": ["tui/"],
    "huggingface_hub": ["score_local/catalog.py"],
    "datasets": ["score_local/catalog.py"],
    "math_verify": ["score_local/answers/expression.py"],
    "gguf": ["score_local/gguf_file.py", "convert/"],
    **{name: NETWORK for name in ("socket", "http", "urllib", "requests", "httpx")},
}


def modules() -> list[Path]:
    return [path for top in ("score_local", "convert", "tui") for path in sorted((ROOT / top).rglob("*.py"))]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> int | None:
    """The layer of the longest listed prefix of a module's name; None for what is not ours (or the bare package)."""
    found = [(len(prefix), level) for prefix, level in LAYERS if name == prefix or name.startswith(prefix + ".")]
    return max(found)[1] if found else None


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_arrows_point_down(path: Path) -> None:
    own = layer(name_of(path))
    if own is None:
        assert name_of(path) == "score_local", f"{path} has no place in LAYERS"
        return
    for imported in imports(path):
        target = layer(imported)
        assert target is None or target <= own, f"{name_of(path)} (layer {own}) imports {imported} (layer {target})"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_each_giant_has_one_door(path: Path) -> None:
    here = path.relative_to(ROOT).as_posix()
    for imported in imports(path):
        doors = DOORS.get(imported.split(".")[0])
        assert doors is None or any(here.startswith(door) for door in doors), f"{here} imports {imported}"


def test_every_layer_names_a_module_that_exists() -> None:
    names = {name_of(path) for path in modules()}
    for prefix, _ in LAYERS:
        assert any(name == prefix or name.startswith(prefix + ".") for name in names), prefix
