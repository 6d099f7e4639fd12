"""Renders a conversation with the model's own chat template and turns it into token ids.

What the assistant generated goes in as the very ids it was generated with, so that a later turn begins with the tokens
that are already in the KV cache. Text that people or models wrote is never read as control tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from score_local.engine.protocol import Message
from score_local.errors import EngineError, ModelError

Tokenize = Callable[[str, bool], list[int]]
MARK = "\ue000"  # of the private use area: no template prints it


@dataclass(frozen=True, slots=True)
class SpecialText:
    """What a template may print for the model's special tokens."""

    bos: str = ""
    eos: str = ""


class ChatTemplate:
    """The Jinja template of a GGUF.

    `tokenize(text, special)` gives the ids of a text; with `special`, control tokens in it are read as such.
    """

    def __init__(self, source: str | None, special: SpecialText, tokenize: Tokenize, model: str) -> None:
        if not source:
            raise ModelError(
                "the model has no chat template", model, "Choose an instruction-tuned GGUF: score-local models list"
            )
        self._special, self._tokenize, self._model = special, tokenize, model
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise ModelError(f"its chat template cannot be read: {error}", model, "Use another GGUF of it") from error

    def render(self, messages: tuple[Message, ...], thinking: bool = False) -> str:
        """The whole prompt, ending where the assistant's next turn begins."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._render(turns, thinking)
        except jinja2.TemplateError as error:
            if turns[0]["role"] != "system" or len(turns) < 2:
                raise EngineError(f"{self._model}: its chat template refused the conversation: {error}") from error
        # Some templates (gemma) know no system turn: its text then opens the first user turn.
        first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        try:
            return self._render([first, *turns[2:]], thinking)
        except jinja2.TemplateError as error:
            raise EngineError(f"{self._model}: its chat template refused the conversation: {error}") from error

    def encode(self, messages: tuple[Message, ...], thinking: bool = False) -> list[int]:
        """Token ids of the conversation, up to where the assistant's next turn begins."""
        text, ids, cursor = self.render(messages, thinking), [], 0
        for start, end, content_ids in self._spliced(messages, text):
            ids += self._tokenize(text[cursor:start], True) + content_ids
            cursor = end
        return ids + self._tokenize(text[cursor:], True)

    def _render(self, turns: list[dict[str, str]], thinking: bool) -> str:
        return self._template.render(
            messages=turns,
            add_generation_prompt=True,
            enable_thinking=thinking,
            bos_token=self._special.bos,
            eos_token=self._special.eos,
            raise_exception=_raise,
            strftime_now=lambda fmt: datetime.now().strftime(fmt),
        )

    def _spliced(self, messages: tuple[Message, ...], text: str) -> Iterator[tuple[int, int, list[int]]]:
        """(start, end, ids) of each content in `text` whose ids must not come from tokenising the whole."""
        cursor = 0
        for message, before in zip(messages, self._markup(messages), strict=True):
            start, end = _place(text, cursor, before, message.content)
            if start == end:  # the template rewrote this turn: it is tokenised as the template has it
                continue
            cursor = end
            ids = list(message.tokens) or self._opaque(text[start:end])
            if ids:
                yield start, end, ids

    def _markup(self, messages: tuple[Message, ...]) -> list[str]:
        """What the template prints before each content: a short content ("a") stands in markup too. Nothing is known of
        a template that drops a turn or repeats one."""
        marked = tuple(Message(message.role, MARK) for message in messages)
        *before, _ = self.render(marked).split(MARK)
        return before if len(before) == len(messages) else [""] * len(messages)

    def _opaque(self, content: str) -> list[int]:
        """The ids of `content` as plain text, where reading it otherwise would let it forge control tokens; else []."""
        plain = self._tokenize(content, False)
        return plain if plain != self._tokenize(content, True) else []


def _place(text: str, start: int, before: str, content: str) -> tuple[int, int]:
    """Where `content`, trimmed if need be, stands in `text` from `start` on: behind `before` if that is there. (0, 0)
    where it does not stand there."""
    for markup in (before, ""):
        for printed in (content, content.strip()):
            at = text.find(markup + printed, start)
            if at >= 0:
                return at + len(markup), at + len(markup) + len(printed)
    return 0, 0


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    return environment


def _raise(message: Any) -> NoReturn:
    raise jinja2.TemplateError(str(message))
