"""The text side of a proof: tokenizer, opening token, chat template and the tokens that end a turn.

Two models' facts are collected on the same texts, then compared; to the comparison it does not matter where they come
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from convert.findings import Finding, unknown
from convert.logits import Vocabulary
from convert.texts import CONVERSATIONS, DECOMPOSED, TRICKY
from score_local.engine.chat import ChatTemplate
from score_local.engine.protocol import Message
from score_local.errors import EngineError, ModelError

OPENING_TEXT = "Hello, world!"


class TextFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model makes of our texts.

    `tokens` and `decomposed` are the ids of TRICKY and of DECOMPOSED. `opening` is what it puts before a text, None for
    nothing. `chats` are the rendered CONVERSATIONS, None for one that its template refuses; empty without a template.
    `end_tokens` end a turn. `forced` are texts that llama.cpp reads as control tokens whatever the file says.
    """

    source: str
    tokens: Sequence[Sequence[int]]
    decomposed: Sequence[Sequence[int]]
    opening: int | None
    chats: Mapping[str, str | None]
    end_tokens: set[int]
    forced: set[str] = set()


def facts_of_gguf(path: Path) -> TextFacts:
    """What llama.cpp makes of our texts with this file. Raises ModelError where it cannot read its vocabulary."""
    with Vocabulary(path) as vocabulary:
        return TextFacts(
            source=f"{path.name} through llama.cpp",
            tokens=[vocabulary.tokenize(text, True) for text in TRICKY],
            decomposed=[vocabulary.tokenize(text, True) for text in DECOMPOSED],
            opening=vocabulary.opening_token(),
            chats=_render(vocabulary),
            end_tokens=vocabulary.end_tokens(),
            forced=vocabulary.forced(),
        )


def text_findings(reference: TextFacts | None, output: TextFacts, file: str, why: str = "") -> Iterator[Finding]:
    """What an output has in common with its reference; without one everything is unknown, and `why` says the reason."""
    for name, check in _CHECKS.items():
        yield check(name, reference, output, file) if reference else unknown(name, file, why)


def chat_template(vocabulary: Vocabulary) -> ChatTemplate:
    """The model's chat template. Raises ModelError where it has none, or one that cannot be read."""
    return ChatTemplate(
        vocabulary.chat_template(), vocabulary.special_text(), vocabulary.tokenize, model=vocabulary.name
    )


def _render(vocabulary: Vocabulary) -> dict[str, str | None]:
    if vocabulary.chat_template() is None:
        return {}
    try:
        template = chat_template(vocabulary)
    except ModelError:
        return dict.fromkeys(CONVERSATIONS)
    return {name: _rendered(template, messages) for name, messages in CONVERSATIONS.items()}


def _rendered(template: ChatTemplate, messages: tuple[Message, ...]) -> str | None:
    try:
        return template.render(messages)
    except EngineError:
        return None


def _check_tokens(name: str, reference: TextFacts, output: TextFacts, file: str) -> Finding:
    texts = zip(TRICKY, reference.tokens, output.tokens, strict=True)
    differing = {text: (wanted, found) for text, wanted, found in texts if list(wanted) != list(found)}
    forced = sorted(mark for mark in output.forced - reference.forced if any(mark in text for text in differing))
    wrong = [text for text in differing if not any(mark in text for mark in forced)]
    remark = f"{len(TRICKY)} texts against {reference.source}"
    if wrong:
        remark = (
            f"{len(wrong)} of {remark} differ, first {wrong[0]!r} {_first_difference(*differing[wrong[0]], 'token')}"
        )
    if forced:
        remark += f"; llama.cpp reads {', '.join(forced)} as a control token by its name"
    if reference.decomposed != output.decomposed:
        remark += "; llama.cpp does not compose characters (NFC), as the reference does"
    return Finding(name=name, file=file, passed=not wrong, value=len(wrong), bound=0, remark=remark)


def _check_opening(name: str, reference: TextFacts, output: TextFacts, file: str) -> Finding:
    same = reference.opening == output.opening
    remark = f"{_token(output.opening)}" + ("" if same else f", and {reference.source} has {_token(reference.opening)}")
    return Finding(name=name, file=file, passed=same, remark=remark)


def _check_chats(name: str, reference: TextFacts, output: TextFacts, file: str) -> Finding:
    wanted = {title: text for title, text in reference.chats.items() if text is not None}
    if not wanted:
        return unknown(name, file, f"{reference.source} has no chat template that renders our conversations")
    differing = [title for title, text in wanted.items() if output.chats.get(title) != text]
    remark = f"{len(wanted)} conversations against {reference.source}"
    if not output.chats:
        remark = f"it has no chat template, and {reference.source} has one"
    elif differing:
        there, here = wanted[differing[0]], output.chats.get(differing[0])
        how = "is refused by its template" if here is None else _first_difference(there, here, "character")
        remark = f"{len(differing)} of {remark} differ, first ({differing[0]}) {how}"
    return Finding(name=name, file=file, passed=not differing, value=len(differing), bound=0, remark=remark)


def _check_end_tokens(name: str, reference: TextFacts, output: TextFacts, file: str) -> Finding:
    missing = sorted(reference.end_tokens - output.end_tokens)
    if not reference.end_tokens:
        return unknown(name, file, f"{reference.source} names no token that ends a turn")
    remark = f"{_list(reference.end_tokens)} of {reference.source} end a turn"
    if missing:
        remark = f"{_list(missing)} end a turn in {reference.source}, and not in llama.cpp"
    return Finding(name=name, file=file, passed=not missing, value=len(missing), bound=0, remark=remark)


_CHECKS: dict[str, Callable[[str, TextFacts, TextFacts, str], Finding]] = {
    "tokenizer": _check_tokens,
    "opening token": _check_opening,
    "chat template": _check_chats,
    "end tokens": _check_end_tokens,
}


def _token(token: int | None) -> str:
    return "no opening token" if token is None else f"token {token}"


def _list(tokens: set[int] | list[int]) -> str:
    return ", ".join(map(str, sorted(tokens)))


def _first_difference(wanted: Sequence[object], found: Sequence[object], unit: str) -> str:
    """Where two texts, or lists of tokens, part."""
    at = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found)))
    return f"at {unit} {at}: {found[at : at + 12]!r}, not {wanted[at : at + 12]!r}"
