"""The tokenizer of a Hugging Face folder, in the engine's words: ids of a text, bytes of a token, what ends a turn.

The ids are those of `tokenizer.json`, as it stands. Knows byte-level vocabularies and SentencePiece's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from score_local.engine.chat import SpecialText
from score_local.errors import ModelError

# llama.cpp takes these for ends of a turn in every model whose vocabulary has them; folders do not always list them.
ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class FolderText:
    """A folder's tokenizer and chat template. `ends`: the end tokens that the model's own files list."""

    def __init__(self, base: Path, ends: Iterable[int] = ()) -> None:
        self._plain, self._special = _tokenizer(base), _tokenizer(base)
        self._plain.encode_special_tokens = True
        dressed = _dressed(base)
        self.chat_template: str | None = dressed.chat_template
        self.special_text = SpecialText(dressed.bos_token or "", dressed.eos_token or "")
        self.opening_token = self._opening(dressed.bos_token_id)
        named = (self._special.token_to_id(name) for name in (*ENDS, dressed.eos_token or ""))
        self._ends = {*ends, *(token for token in named if token is not None)}
        self._pieces = _pieces(self._special)

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Token ids of `text`; with `special`, control tokens in it are read as such. Adds nothing at either end."""
        tokenizer = self._special if special else self._plain
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for: perhaps part of a character; nothing for a control token."""
        return self._pieces.get(token, b"")

    def ends_turn(self, token: int) -> bool:
        return token in self._ends

    def _opening(self, bos: int | None) -> int | None:
        """The beginning-of-sequence token, where the tokenizer puts it before every text."""
        return bos if bos is not None and self._special.encode("a").ids[:1] == [bos] else None


def _tokenizer(base: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(base / "tokenizer.json"))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(
            f"its tokenizer.json cannot be read: {error}", str(base), "Give a whole model folder"
        ) from error


def _dressed(base: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(base, local_files_only=True)
    except Exception as error:  # whatever a damaged tokenizer_config.json leads to
        raise ModelError(
            f"transformers cannot load its tokenizer: {error}", str(base), "Give a whole model folder"
        ) from error


def _pieces(tokenizer: Tokenizer) -> dict[int, bytes]:
    byte_level = '"ByteLevel"' in json.dumps(json.loads(tokenizer.to_str())["decoder"])
    known = {i: _bytes_of(token, byte_level) for token, i in tokenizer.get_vocab(with_added_tokens=False).items()}
    added = tokenizer.get_added_tokens_decoder().items()
    return known | {i: b"" if token.special else token.content.encode() for i, token in added}


def _bytes_of(token: str, byte_level: bool) -> bytes:
    if byte_level:
        return b"".join(_BYTE_OF.get(char, char.encode()) for char in token)
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, bytes]:
    """GPT-2's alphabet: bytes that print stand for themselves, the others for the characters from 256 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(b): bytes([b]) for b in printed} | {chr(256 + i): bytes([b]) for i, b in enumerate(others)}


_BYTE_OF = _byte_alphabet()
