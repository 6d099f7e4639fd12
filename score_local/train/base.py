"""The frozen base model of a training run: a Hugging Face folder, a hub id, or a GGUF.

A GGUF is dequantised once, to bfloat16, into a folder in the cache that is named by the file's SHA-256. Its tokenizer
is compared with llama.cpp's before the folder gets its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import tokenizers
import torch
from filelock import FileLock
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from score_local import prompts
from score_local.catalog import models_dir, read_header, resolve_base
from score_local.engine.transformers_text import FolderText
from score_local.errors import ModelError
from score_local.gguf_check import file_sha256, weights_sha256

CACHE = "dequantised"
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
# How a byte-level tokenizer splits text before it merges, where transformers leaves it out as it reads a GGUF.
SPLITTERS = {"smollm": lambda: [pre_tokenizers.Digits(individual_digits=True)]}


class Base(msgspec.Struct, frozen=True):
    """`folder` holds the weights and the tokenizer; `sha256` is that of the GGUF it was made of, None where there was
    none, and then `weights_sha256` is over the folder's; `name` is what an adapter's card calls it."""

    name: str
    folder: Path
    sha256: str | None
    weights_sha256: str | None = None


def open_base(name_or_path: str, *, fetch: bool = False, say: Callable[[str], None] = lambda line: None) -> Base:
    """Finds a base model, and dequantises it where it is a GGUF, which it `say`s. Raises ModelError."""
    found = resolve_base(name_or_path, fetch=fetch)
    name = Path(name_or_path).name if os.path.exists(os.path.expanduser(name_or_path)) else name_or_path
    if found.is_dir():
        return Base(name, found, None, weights_sha256(found))
    sha256 = file_sha256(found)
    folder = models_dir() / CACHE / f"{found.stem}-{sha256[:16]}"
    if not folder.is_dir():
        say(f"dequantising {found.name} into {folder.parent}, once")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():  # another process may have been faster
                _dequantise(found, folder)
    return Base(name, folder, sha256)


def _dequantise(file: Path, folder: Path) -> None:
    """Writes the folder beside its final place, and gives it its name when it is whole. Raises ModelError."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        draft.mkdir()
        _save_tokenizer(file, draft)
        _save_weights(file, draft)
        _require_same_ids(file, draft)
        draft.replace(folder)
    except ModelError:
        raise
    except LOAD_ERRORS as error:
        what = f"transformers cannot make a folder of it: {' '.join(str(error).split())}"
        raise ModelError(what, str(file), "Give the Hugging Face folder of the same model, or make room") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _save_tokenizer(file: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    splitters = SPLITTERS.get(read_header(file).metadata.get("tokenizer.ggml.pre", ""))
    if splitters:
        backend: tokenizers.Tokenizer = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence([*splitters(), backend.pre_tokenizer])
    tokenizer.save_pretrained(folder)


def _save_weights(file: Path, folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(folder)


def _require_same_ids(file: Path, folder: Path) -> None:
    """Raises ModelError where the folder's tokenizer reads a text in another way than llama.cpp does the GGUF's."""
    from score_local.engine.llama import LlamaBackend

    ours, theirs = FolderText(folder), LlamaBackend(file, streams=1, context=64, threads=1)
    try:
        for text in _texts():
            if ours.tokenize(text, True) != theirs.tokenize(text, True):
                what = f"transformers and llama.cpp disagree on the tokens of {text[:40]!r}"
                raise ModelError(what, str(file), "Give the Hugging Face folder of the same model")
    finally:
        theirs.close()


def _texts() -> list[str]:
    """What the model will read: the prompts and the worked examples, and characters of many kinds."""
    worked = [example for kind in prompts.examples().values() for example in kind]
    read = [text for example in worked for text in (example.question, example.solution)]
    tricky = ["1234567.89 + 10^-3 = 42%", "  a\n\n\tb  ", "It's 7½ naïve 数学 한국어 🙂", "$1,200/3 = \\frac{400}{1}"]
    return [*read, *map(prompts.text, ("system", "verify", "refine")), *tricky]
