"""Tokenizers in llama.cpp's words: the ids that come out are those of the `tokenizers` library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convert.vocabulary import pre_tokenizer, read_vocabulary, token_texts
from score_local.errors import ModelError

pytest.importorskip("torch")
pytest.importorskip("peft")

from gguf import TokenType
from tokenizers import Tokenizer

from convert.base import open_base, write_donor
from convert.logits import Vocabulary
from convert.texts import TRICKY
from tests.convert.conftest import TinyBase
from tests.convert.tiny import ARCHITECTURES, QWEN2


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_llama_cpp_gives_the_same_ids(kind: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base(kind)
    write_donor(open_base(base), tmp_path / "vocabulary.gguf")
    theirs = Tokenizer.from_file(str(base / "tokenizer.json"))
    with Vocabulary(tmp_path / "vocabulary.gguf") as ours:
        for text in TRICKY:
            assert ours.tokenize(text, True) == theirs.encode(text, add_special_tokens=False).ids, text


def test_the_texts_of_the_tokens(tmp_path: Path) -> None:
    table = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "<new>", "id": 1}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(table))
    assert token_texts(tmp_path / "tokenizer.json") == {"a", "<new>"}
    assert token_texts(tmp_path / "none.json") == set()


def table(**stages: Any) -> dict[str, Any]:
    return {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, **stages}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
BYTES_REGEX = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
QWEN = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
DIGITS = {"type": "Digits", "individual_digits": True}

PRE = [
    (sequence(QWEN, BYTES), "qwen2", "its pattern, then bytes"),
    (sequence(sequence(QWEN), BYTES), "qwen2", "sequences may be nested"),
    (sequence(DIGITS, BYTES_REGEX), "smollm", "digit by digit, then GPT-2's pattern"),
    (BYTES_REGEX, "gpt-2", "GPT-2's pattern alone"),
    (sequence(QWEN, BYTES_REGEX), None, "split twice: nobody's way"),
    (sequence({**QWEN, "behavior": "Removed"}, BYTES), None, "what is between is thrown away"),
    (sequence({**QWEN, "invert": True}, BYTES), None, "the other way round"),
    (sequence({**QWEN, "pattern": {"Regex": QWEN2 + "|x"}}, BYTES), None, "a pattern that is almost the same"),
    (sequence({**DIGITS, "individual_digits": False}, BYTES_REGEX), None, "numbers whole"),
    ({**BYTES_REGEX, "add_prefix_space": True}, None, "a space is put before"),
    (None, None, "not split at all"),
]


@pytest.mark.parametrize(("stage", "name", "why"), PRE)
def test_the_pattern_is_known_by_its_structure(stage: Any, name: str | None, why: str) -> None:
    if name:
        assert pre_tokenizer(table(pre_tokenizer=stage), Path("base")) == name, why
    else:
        with pytest.raises(ModelError, match=r"base: it splits text in a way that has no name here .*--donor"):
            pre_tokenizer(table(pre_tokenizer=stage), Path("base"))


def folder(path: Path, tokenizer: dict[str, Any], **files: Any) -> Path:
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


SMALL: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    "pre_tokenizer": BYTES_REGEX,
    "added_tokens": [
        {"id": 3, "content": "<end>", "special": True},
        {"id": 4, "content": "<tool>", "special": False},
        {"id": 5, "content": "<turn>", "special": True},
    ],
}


def test_types_padding_and_special_tokens(tmp_path: Path) -> None:
    read = read_vocabulary(
        folder(
            tmp_path,
            SMALL,
            tokenizer_config={"eos_token": {"content": "<end>"}, "chat_template": "template"},
            generation_config={"eos_token_id": [3, 5]},
            config={"pad_token_id": 3},
        ),
        8,
    )
    assert read.tokens == ["a", "b", "ab", "<end>", "<tool>", "<turn>", "[PAD6]", "[PAD7]"]
    control, defined, unused = TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNUSED
    assert read.types == [TokenType.NORMAL] * 3 + [control, defined, control, unused, unused]
    assert read.special == {"eos": 3, "pad": 3, "eot": 5}
    assert (read.merges, read.chat_template, read.add_bos) == (["a b"], "template", False)


def test_the_template_of_its_own_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("from the file")
    read = read_vocabulary(folder(tmp_path, SMALL, tokenizer_config={"chat_template": "old"}), 6)
    assert read.chat_template == "from the file"


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    read = read_vocabulary(folder(tmp_path, SMALL, tokenizer_config={"chat_template": named}), 6)
    assert read.chat_template == "plain"


def test_scores_fall_with_the_rank_of_the_merge(tmp_path: Path) -> None:
    model = {
        "type": "BPE",
        "byte_fallback": True,
        "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "<0x41>": 1, "a": 2, "b": 3, "ab": 4, "abb": 5},
        "merges": ["a b", "ab b", "a bb"],
    }
    read = read_vocabulary(folder(tmp_path, {"model": model}), 6)
    assert read.scores == [0, 0, 0, 0, 0, -1]
    assert read.types[:3] == [TokenType.UNKNOWN, TokenType.BYTE, TokenType.NORMAL]
    assert (read.model, read.space_prefix) == ("llama", False)


@pytest.mark.parametrize(
    ("tokenizer", "size", "told"),
    [
        (SMALL, 5, "its tokenizer has 6 tokens, and the embedding 5 rows"),
        ({"model": {"type": "Unigram"}}, 5, "a tokenizer of kind Unigram is not known"),
        (None, 5, "has no tokenizer.json"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, tokenizer: Any, size: int, told: str) -> None:
    if tokenizer:
        folder(tmp_path, tokenizer)
    with pytest.raises(ModelError) as caught:
        read_vocabulary(tmp_path, size)
    assert told in str(caught.value)


def test_an_old_tokenizer_has_its_own_remedy(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(ModelError, match="Load it with transformers and save it again"):
        read_vocabulary(tmp_path, 5)
