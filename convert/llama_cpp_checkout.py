"""Lets a user's own llama.cpp checkout make the metadata of tokenizers that are not known here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from score_local.errors import ModelError

SCRIPT = "convert_hf_to_gguf.py"


def make_donor(checkout: Path, folder: Path, target: Path) -> Path:
    """Writes `target`, a GGUF with the metadata of a Hugging Face folder and no tensor. Raises ModelError with the last
    line of what the converter said."""
    script = checkout / SCRIPT
    if not script.is_file():
        raise ModelError(f"has no {SCRIPT}", str(checkout), "Give a checkout of llama.cpp")
    environment = {**os.environ, "PYTHONPATH": str(checkout / "gguf-py")}  # its gguf, which is newer than the index's
    command = [sys.executable, str(script), str(folder), "--vocab-only", "--outfile", str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise ModelError(f"its converter failed: {said}", str(script), "Install what it needs beside score-local")
    return target
