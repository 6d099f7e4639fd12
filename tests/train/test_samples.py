"""Token ids of training are those of run time, and what cannot be trained on is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("transformers")

from convert.base import open_base
from convert.merge import merge
from score_local.engine.chat import ChatTemplate
from score_local.engine.jobs import prompt_cells
from score_local.engine.llama import LlamaBackend
from score_local.engine.protocol import Message
from score_local.engine.transformers_text import FolderText
from score_local.errors import InputError
from score_local.train.recipe import Start
from score_local.train.samples import Encoder, shared_length
from tests.train.conftest import MakeBase
from tests.train.examples import examples


def encoder(base: Path, context: int = 4096) -> Encoder:
    return Encoder(FolderText(base), "tiny", context)


@pytest.fixture(scope="module", params=["qwen2", "llama", "smollm2", "gemma2"])
def engines(
    request: pytest.FixtureRequest, make_base: MakeBase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Encoder, LlamaBackend]]:
    base, file = make_base(request.param), tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    merge(open_base(base), None, file, "f32")
    backend = LlamaBackend(file, streams=1, context=64, threads=1)
    yield encoder(base), backend
    backend.close()


@pytest.mark.parametrize("start", ["turn", "reply"])
@pytest.mark.parametrize("role", ["verifier", "refiner", "solver", "programmer"])
def test_a_prompt_has_the_ids_and_the_activation_of_run_time(
    engines: tuple[Encoder, LlamaBackend], role: str, start: Start
) -> None:
    ours, backend = engines
    example = examples(role, 1, 0)[0]  # type: ignore[arg-type]
    invocation = ours.invocation(example, start)
    (sample,) = ours.samples([example], invocation)

    template = ChatTemplate(backend.chat_template(), backend.special_text(), backend.tokenize, "tiny")
    opening = backend.opening_token()
    tokens = template.encode(tuple(Message(turn.role, turn.content) for turn in example.messages))  # type: ignore[arg-type]
    tokens = tokens if opening is None or tokens[:1] == [opening] else [opening, *tokens]
    tokens += backend.tokenize(example.prefix, False)
    assert list(sample.prompt) == tokens
    assert list(sample.tokens[sample.target : -1]) == backend.tokenize(example.target, False)
    assert backend.ends_turn(sample.tokens[-1])
    cells = prompt_cells(tokens, role, tuple(invocation))
    assert next(i for i, cell in enumerate(cells) if cell.weights == role) == sample.begin
    asked = len(backend.tokenize(example.messages[-1].content + example.prefix, False))
    assert (sample.target - sample.begin > asked) == (start == "turn"), "of the reply: nothing of what is asked"


def test_what_is_learned_is_the_target_and_the_end_of_turn(base: Path) -> None:
    """Also where the pad token *is* the end of turn, which libraries that mask by pad token take away."""
    example, text = examples("solver", 1, 0)[0], FolderText(base)
    (sample,) = encoder(base).samples([example])
    learned = sample.tokens[sample.target :]
    assert encoder(base).text(learned) == example.target, "the end of turn prints nothing"
    assert learned[-1] == text.tokenize("<|im_end|>", True)[0]


@pytest.mark.parametrize(
    ("change", "context", "told"),
    [
        ({"target": ""}, 4096, "example p0/0: its target is empty"),
        ({}, 500, r"example p0/0: it has \d+ tokens \(\d+ of them target\), and 500 are allowed"),
    ],
)
def test_an_example_that_cannot_be_learned_is_named(
    base: Path, change: dict[str, str], context: int, told: str
) -> None:
    example = msgspec.structs.replace(examples("refiner", 1, 0)[0], **change)
    with pytest.raises(InputError, match=told):
        encoder(base, context).samples([example])


PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
REFUSES = "{% if m.role == 'ROLE' %}{{ raise_exception('no such turn') }}{% endif %}"
TEMPLATES = [
    ("{{ messages[-1]['content'] }}<|im_end|>", "does not keep its system turn"),
    (f"{{% for m in messages %}}{REFUSES.replace('ROLE', 'assistant')}{{% endfor %}}", "refused the conversation"),
    (PLAIN, "ends no reply with an end-of-turn"),
]


@pytest.mark.parametrize(("template", "told"), TEMPLATES)
def test_a_base_whose_template_does_not_fit_is_refused(base: Path, tmp_path: Path, template: str, told: str) -> None:
    other = with_template(base, tmp_path / "other", template)
    with pytest.raises(InputError, match=told):
        encoder(other).samples(examples("verifier", 1, 0))


def test_an_activated_lora_needs_a_control_token_to_start_at(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--kind lora"):
        encoder(with_template(base, tmp_path / "plain", PLAIN)).invocation(examples("verifier", 1, 0)[0])


def test_the_last_turn_has_to_open_as_the_invocation(base: Path) -> None:
    ours = encoder(base)
    verify, refine = (examples(role, 1, 0)[0] for role in ("verifier", "refiner"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not open as the others"):
        ours.samples([refine], ours.invocation(verify))


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [([(1, 2, 3), (1, 2, 4)], 2), ([(1, 2), (1, 2, 3)], 2), ([(1,), (2,)], 0), ([(), (1,)], 0), ([(5, 6)], 2)],
)
def test_shared_length(sequences: list[tuple[int, ...]], expected: int) -> None:
    assert shared_length(sequences) == expected


def with_template(base: Path, folder: Path, template: str) -> Path:
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").write_text(template)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
