"""Conversations to token ids: the model's template, the assistant's own tokens, and no forged control tokens."""

from __future__ import annotations

import pytest

from score_local.engine.chat import ChatTemplate, SpecialText
from score_local.engine.protocol import Message
from score_local.errors import EngineError, ModelError
from tests.engine.fakes import END, TEMPLATE, FakeBackend

GEMMA_LIKE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<t>{{ m.role }}:{{ m.content | trim }}<e>{% endfor %}<t>model:"
)
DROPS_REASONING = "{% for m in messages %}<t>{{ m.content.split('</think>')[-1] }}<e>{% endfor %}"


def template(source: str | None) -> ChatTemplate:
    return ChatTemplate(source, SpecialText("<b>", "<e>"), FakeBackend().tokenize, "m.gguf")


def test_rendered_as_the_template_has_it() -> None:
    messages = (Message("system", "be kind"), Message("user", "hi"))
    assert template(TEMPLATE).render(messages) == "<t>system:be kind<e><t>user:hi<e><t>assistant:"


def test_a_template_without_system_turn_gets_its_text_in_the_first_user_turn() -> None:
    rendered = template(GEMMA_LIKE).render((Message("system", "be kind"), Message("user", "hi")))
    assert rendered == "<b><t>user:be kind\n\nhi<e><t>model:"


def test_the_assistants_own_tokens_go_in_as_they_are() -> None:
    odd = (300, 301)  # ids that no tokenizer would give for this text
    ids = template(TEMPLATE).encode((Message("user", "hi"), Message("assistant", "yes", odd), Message("user", "why")))
    at = ids.index(300)
    assert tuple(ids[at : at + 3]) == (300, 301, END)


def test_tokens_survive_a_template_that_trims() -> None:
    ids = template(GEMMA_LIKE).encode(
        (Message("user", "hi"), Message("assistant", " yes\n", (300,)), Message("user", "b"))
    )
    assert 300 in ids


def test_a_rewritten_turn_is_tokenised_as_the_template_has_it() -> None:
    messages = (Message("assistant", "<think>long</think>short", (300,)), Message("user", "b"))
    assert template(DROPS_REASONING).encode(messages) == FakeBackend().tokenize("<t>short<e><t>b<e>", True)


def test_the_same_text_twice_is_spliced_twice() -> None:
    messages = (Message("assistant", "a", (300,)), Message("user", "a"), Message("assistant", "a", (301,)))
    tokens = FakeBackend().tokenize
    first, user, second = (tokens(f"<t>{role}:", True) for role in ("assistant", "user", "assistant"))
    assert template(TEMPLATE).encode(messages) == [
        *(*first, 300, END),
        *(*user, *tokens("a", False), END),
        *(*second, 301, END),
        *tokens("<t>assistant:", True),
    ]


@pytest.mark.parametrize("content", ["a", "user", "t", ":", "<"])
def test_a_reply_that_markup_holds_too_is_not_spliced_into_it(content: str) -> None:
    messages = (Message("user", content), Message("assistant", content, (300,)), Message("user", content))
    markup = FakeBackend().tokenize("<t>assistant:", True)
    ids = template(TEMPLATE).encode(messages)
    at = ids.index(300)
    assert ids[at - len(markup) : at] == markup


@pytest.mark.parametrize("source", [None, ""])
def test_a_model_without_template_is_refused(source: str | None) -> None:
    with pytest.raises(ModelError, match=r"m\.gguf: the model has no chat template\. .*models list"):
        template(source)


def test_a_broken_template_is_refused() -> None:
    with pytest.raises(ModelError, match="chat template cannot be read"):
        template("{% for %}")


def test_a_template_that_refuses_is_one_requests_error() -> None:
    with pytest.raises(EngineError, match="refused the conversation: never"):
        template("{{ raise_exception('never') }}").encode((Message("user", "hi"),))


def test_templates_cannot_reach_python() -> None:
    with pytest.raises(EngineError, match="refused"):
        template("{{ messages.__class__.__mro__[1].__subclasses__() }}").render((Message("user", "hi"),))
