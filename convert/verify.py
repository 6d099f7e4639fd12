"""The reference: what transformers and PEFT make of the Hugging Face base and the adapter, in float32 on the CPU.

The only door to torch, transformers, peft and tokenizers; they are imported when something is asked of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from convert.check import read_generation_ends
from convert.comparison import Logits
from convert.safetensors import open_folder
from convert.text_proof import OPENING_TEXT, TextFacts
from convert.texts import CONVERSATIONS, DECOMPOSED, TRICKY
from score_local.engine.protocol import Message
from score_local.errors import MemoryLimit, ModelError

PACKAGES = ("torch", "transformers", "peft", "tokenizers")
INSTALL = "Install them: pip install 'score-local[train]'"


def require_packages() -> None:
    """Raises ModelError with those that are not installed."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise ModelError(f"{', '.join(absent)} not installed", "", INSTALL)


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    return {name: metadata.version(name) for name in PACKAGES if find_spec(name) is not None}


# -- logits ---------------------------------------------------------------------------------------------------------


def reference_logits(base: Path, adapter: Path | None, sequences: Sequence[Sequence[int]]) -> Iterator[Logits]:
    """Logits of each sequence, shape (tokens, vocabulary), of the base folder with the adapter merged in float32; those
    of the base itself without one. An activated LoRA is not merged: PEFT switches it on at its invocation.

    Raises ModelError where the packages are missing or cannot load a folder, MemoryLimit where float32 does not fit.
    """
    require_packages()
    _require_memory(base)
    model = _load(base, adapter)
    import torch

    for tokens in sequences:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([list(tokens)])).logits[0]
        yield np.asarray(logits.float().numpy(), dtype=np.float32)


def _load(base: Path, adapter: Path | None) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # "eager" is the definition; other implementations leave out what some architectures cap or scale.
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        return (_adapt(model, adapter) if adapter else model).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        what = f"transformers and PEFT cannot load it: {error}"
        raise ModelError(what, str(adapter or base), "Check the folder: score-convert check") from error


def _adapt(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu").float()
    missing = [str(warning.message) for warning in caught if "missing adapter keys" in str(warning.message)]
    if missing:
        raise ValueError(missing[0])
    activated = getattr(adapted.active_peft_config, "alora_invocation_tokens", None)
    return adapted if activated or _tied_tensor_changed(adapted) else adapted.merge_and_unload(safe_merge=True)


def _tied_tensor_changed(adapted: Any) -> bool:
    """Whether a change of the embedding or of the output, merged, would change the other too: they were trained
    apart, so such an adapter is not merged."""
    changed = (".embed_tokens.lora_", ".lm_head.lora_")
    names = (name for name, _ in adapted.named_parameters())
    return adapted.config.tie_word_embeddings and any(part in name for name in names for part in changed)


def _require_memory(base: Path) -> None:
    need = 4 * sum(tensor.rows * tensor.columns for tensor in open_folder(base).values())
    free = psutil.virtual_memory().available
    if need > free:
        what = f"the reference in float32 needs {need / 2**20:,.0f} MB, {free / 2**20:,.0f} MB are free"
        raise MemoryLimit(what, str(base), "Close other programs, or verify on a larger machine")


# -- text -----------------------------------------------------------------------------------------------------------


def facts_of_folder(base: Path) -> TextFacts:
    """What the base folder's own tokenizer makes of our texts. Raises ModelError: no packages, no tokenizer.json."""
    require_packages()
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    path = base / "tokenizer.json"
    if not path.is_file():
        raise ModelError("has no tokenizer.json", str(base), "Give a donor GGUF: --donor")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        dressed = AutoTokenizer.from_pretrained(base, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(f"transformers cannot load its tokenizer: {error}", str(base), "Give a donor GGUF") from error
    return TextFacts(
        source="tokenizer.json",
        tokens=[tokenizer.encode(text, add_special_tokens=False).ids for text in TRICKY],
        decomposed=[tokenizer.encode(text, add_special_tokens=False).ids for text in DECOMPOSED],
        opening=_opening(dressed),
        chats={name: _chat(dressed, turns) for name, turns in CONVERSATIONS.items()} if dressed.chat_template else {},
        end_tokens=read_generation_ends(base),
    )


def _opening(tokenizer: Any) -> int | None:
    bare = tokenizer.encode(OPENING_TEXT, add_special_tokens=False)
    whole = tokenizer.encode(OPENING_TEXT, add_special_tokens=True)
    return None if whole[: len(bare)] == bare else int(whole[0])


def _chat(tokenizer: Any, messages: Sequence[Message]) -> str | None:
    """The rendered conversation; None where the template refuses it, as some do a system turn."""
    from jinja2 import TemplateError

    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        )
    except TemplateError:
        return None
