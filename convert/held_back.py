"""The token sequences on which logits are compared: our held-back text, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from convert.logits import Vocabulary
from convert.text_proof import chat_template
from convert.texts import PASSAGES, SOLUTIONS
from score_local.errors import EngineError, ModelError

LONGER = "Give a text of a few hundred words"
LENGTH = 256  # tokens of a sequence at most
SEQUENCES = 16  # of the user's text at most: with LENGTH, minutes for a 7B model on a few cores


def held_back_sequences(
    vocabulary: Vocabulary, *, text: Path | None = None, longest: int = LENGTH, invocation: Sequence[int] = ()
) -> list[list[int]]:
    """Sequences of at most `longest` tokens.

    `text` is a text file to take instead of ours: the beginning of it, cut into sequences. `invocation`, the tokens
    that switch an activated LoRA on, stands in the middle of each. Raises ModelError: no such text, or too short.
    """
    whole = _cut(vocabulary, text, longest - len(invocation)) if text else _ours(vocabulary)
    sequences = [_invoke(tokens[: longest - len(invocation)], invocation) for tokens in whole if len(tokens) > 1]
    if not sequences:
        raise ModelError("holds no text to compare logits on", str(text), LONGER)
    return sequences


def read_text(path: Path) -> str:
    """Raises ModelError where it is no text in UTF-8, or holds none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"not a text in UTF-8: {error}", str(path), "Give a text file") from error
    if not text.strip():
        raise ModelError("holds no text to compare logits on", str(path), LONGER)
    return text


def _ours(vocabulary: Vocabulary) -> Iterator[list[int]]:
    yield from map(vocabulary.prompt, PASSAGES)
    try:
        template = chat_template(vocabulary)
        yield from map(template.encode, SOLUTIONS)
    except (ModelError, EngineError):  # a base model without a chat template, or one that wants other turns
        return


def _cut(vocabulary: Vocabulary, text: Path, length: int) -> Iterator[list[int]]:
    tokens = vocabulary.prompt(read_text(text))
    for start in range(0, min(len(tokens), SEQUENCES * length), length):
        yield tokens[start : start + length]


def _invoke(tokens: list[int], invocation: Sequence[int]) -> list[int]:
    middle = len(tokens) // 2
    return [*tokens[:middle], *invocation, *tokens[middle:]]
