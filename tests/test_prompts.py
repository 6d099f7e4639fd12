"""The prompts' hashes: what a run must not be resumed without."""

from __future__ import annotations

from pathlib import Path

from score_local import prompts
from score_local.verifiers import prompts_fingerprint


def test_any_change_of_a_prompt_file_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Solve it.")
    (tmp_path / "examples.toml").write_text("")
    hashes = [prompts.hash_of(tmp_path)]
    (tmp_path / "system.txt").write_text("Solve this.")
    hashes.append(prompts.hash_of(tmp_path))
    (tmp_path / "system.txt").rename(tmp_path / "other.txt")
    hashes.append(prompts.hash_of(tmp_path))
    (tmp_path / "__init__.py").write_text("no prompt")
    assert len(set(hashes)) == 3 and prompts.hash_of(tmp_path) == hashes[-1]


def test_a_run_is_of_the_verifiers_prompts_too() -> None:
    assert len({prompts_fingerprint(), prompts.fingerprint()}) == 2
