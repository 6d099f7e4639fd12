"""From training examples to token ids, exactly those that the engine will see at run time: rendered by the same code,
the model's own chat template, and every turn's text tokenised alike.

A sample is laid out as

    | worked examples, question, solution | the verify or refine turn, prefix | target, end of turn |
    0                                   begin                              target              len(tokens)

The loss is on what stands from `target` on. With an activated LoRA everything before `begin` is the base model's;
`begin` may also be the opening of the reply, some tokens before `target`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from score_local.collect.records import Example
from score_local.engine.chat import ChatTemplate
from score_local.engine.protocol import Message, Role
from score_local.engine.transformers_text import FolderText
from score_local.errors import EngineError, InputError
from score_local.roles import TO_THE_QUESTION
from score_local.train.recipe import Start

INVOCATION_WORDS = 4  # tokens of the turn's text that tell it from a question
LONGEST_OPENING = 16  # tokens that a template puts before a turn's text
TEMPLATE = "Was it collected with another base model? Choose that one, or one with a plain chat template"


@dataclass(frozen=True, slots=True)
class Sample:
    """The tokens of an example; `begin` and `target` are positions in them."""

    example: Example
    tokens: tuple[int, ...]
    begin: int
    target: int

    @property
    def before(self) -> tuple[int, ...]:
        return self.tokens[: self.begin]

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.tokens[: self.target]


class Encoder:
    """Makes samples for a base model. `text` is its tokenizer and template."""

    def __init__(self, text: FolderText, name: str, context: int) -> None:
        self._text, self._name, self._context = text, name, context
        self._template = ChatTemplate(text.chat_template, text.special_text, text.tokenize, name)

    def samples(self, examples: Iterable[Example], invocation: Sequence[int] = ()) -> list[Sample]:
        """Raises InputError naming the first example that cannot be trained on."""
        return [self._sample(example, tuple(invocation)) for example in examples]

    def invocation(self, example: Example, start: Start = "turn") -> list[int]:
        """The tokens that an activated LoRA starts at: those that open its turn, or those that open the reply to it.
        Raises InputError where the template puts no control token there."""
        tokens = self._prompt(example)
        if start == "reply":
            return tokens[self._last_control(tokens, len(tokens)) :]
        messages = _messages(example)
        before, _, _ = self._render(example, messages).rpartition(messages[-1].content.strip())
        text = _after(tokens, self._text.tokenize(before, True))
        # A question's turn begins like every other question: it has none of the text's tokens.
        words = 0 if example.role in TO_THE_QUESTION else INVOCATION_WORDS
        return tokens[self._last_control(tokens, text) : text + words]

    def _last_control(self, tokens: Sequence[int], end: int) -> int:
        """Where the last control token before `end` stands."""
        nearest = range(end - 1, max(end - 1 - LONGEST_OPENING, -1), -1)
        opening = next((at for at in nearest if self._text.piece(tokens[at]) == b""), None)
        if opening is None:
            what = "its template puts no control token before a turn, so an activated LoRA has nothing to start at"
            raise InputError(what, self._name, "Train a plain one: --kind lora")
        return opening

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return self._text.tokenize(text, False)

    def text(self, tokens: Iterable[int]) -> str:
        return b"".join(self._text.piece(token) for token in tokens).decode("utf-8", "replace")

    def ends_turn(self, token: int) -> bool:
        return self._text.ends_turn(token)

    def _sample(self, example: Example, invocation: tuple[int, ...]) -> Sample:
        prompt, target = [*self._prompt(example), *self.ids(example.prefix)], self.ids(example.target)
        if not target:
            what = "its target is empty, so there is nothing to learn"
            raise InputError(what, f"example {example.id}", "Export again")
        tokens = (*prompt, *target, self._end_of_turn(example))
        if len(tokens) > self._context:
            what = f"it has {len(tokens)} tokens ({len(target)} of them target), and {self._context} are allowed"
            raise InputError(what, f"example {example.id}", "Raise context in the recipe, or leave the example out")
        begin = _find_last(prompt, invocation) if invocation else 0
        if begin < 0:
            raise InputError("its last turn does not open as the others' do", f"example {example.id}", TEMPLATE)
        return Sample(example, tokens, begin, len(prompt))

    def _prompt(self, example: Example) -> list[int]:
        messages = _messages(example)
        self._require_kept(example, self._render(example, messages))
        tokens, opening = self._template.encode(messages), self._text.opening_token
        return tokens if opening is None or tokens[:1] == [opening] else [opening, *tokens]

    def _end_of_turn(self, example: Example) -> int:
        """The token that the template puts behind a reply."""
        said = (*_messages(example), Message("assistant", example.prefix + example.target))
        _, found, rest = self._render(example, said).rpartition(example.target.strip())
        tokens = self._text.tokenize(rest, True)
        if not found or not tokens or not self._text.ends_turn(tokens[0]):
            raise InputError(
                f"the chat template of {self._name} ends no reply with an end-of-turn token",
                f"example {example.id}",
                TEMPLATE,
            )
        return tokens[0]

    def _render(self, example: Example, messages: tuple[Message, ...]) -> str:
        try:
            return self._template.render(messages)
        except EngineError as error:
            raise InputError(str(error), f"example {example.id}", TEMPLATE) from error

    def _require_kept(self, example: Example, rendered: str) -> None:
        """Raises InputError where the template drops or rewrites a turn: the model would not see what was collected."""
        for turn in example.messages:
            if turn.content.strip() not in rendered:
                what = f"the chat template of {self._name} does not keep its {turn.role} turn"
                raise InputError(what, f"example {example.id}", TEMPLATE)


def shared_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all of the sequences begin with."""
    first, last = min(sequences), max(sequences)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _messages(example: Example) -> tuple[Message, ...]:
    return tuple(Message(cast(Role, turn.role), turn.content) for turn in example.messages)


def _after(tokens: Sequence[int], head: Sequence[int]) -> int:
    """Where `head`, which may lack an opening token, ends in `tokens`; 0 where it does not stand there."""
    for start in (0, 1):
        if list(tokens[start : start + len(head)]) == list(head):
            return start + len(head)
    return 0


def _find_last(tokens: Sequence[int], wanted: tuple[int, ...]) -> int:
    """Where `wanted` stands last in `tokens`; -1 where it does not."""
    starts = range(len(tokens) - len(wanted), -1, -1)
    return next((at for at in starts if tuple(tokens[at : at + len(wanted)]) == wanted), -1)
