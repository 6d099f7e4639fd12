"""A Hugging Face tokenizer in llama.cpp's words.

llama.cpp knows two kinds that matter here: byte-level BPE ("gpt2"), whose text is first split by one of a list of named
patterns, and SentencePiece's BPE ("llama"), which merges by the score of the piece that comes out. The pattern is
recognised by the structure of tokenizer.json: a wrong one still gives tokens, only not those of the training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from gguf import GGUFWriter, TokenType

from score_local.errors import ModelError

Table = Mapping[str, Any]
DONOR = "Give a GGUF of the same base with --donor, or a llama.cpp checkout with --llama-cpp"
SPACE = "▁"

# The patterns by which the tokenizers of these families split a text, as their tokenizer.json files state them.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
)
_CASED_REST = _REST.replace(r"[\r\n]*", r"[\r\n/]*", 1)
PATTERNS = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}": "qwen2",
    rf"{_CASED % ('', '')}|\p{{N}}|{_CASED_REST}": "tekken",
    rf"{_CASED % (_CONTRACTIONS + '?', _CONTRACTIONS + '?')}|\p{{N}}{{1,3}}|{_CASED_REST}": "gpt-4o",
}


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer as a GGUF keeps it; `tokens`, `types` and `scores` have an item for each row of the embedding."""

    model: Literal["gpt2", "llama"]
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]
    special: dict[str, int]  # "bos", "eos", "unk", "pad", "eot": where there is one
    add_bos: bool
    add_eos: bool
    space_prefix: bool
    chat_template: str | None

    def write(self, writer: GGUFWriter) -> None:
        """Adds its key-value pairs."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.model == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.space_prefix)
        for name, token in self.special.items():
            getattr(writer, f"add_{name}_token_id")(token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Reads the tokenizer of a folder for an embedding of `size` rows; rows without a token are named [PADi].

    Raises ModelError: no tokenizer.json, a kind of tokenizer or a pattern that is not known, more tokens than rows.
    """
    table, settings = _table(folder / "tokenizer.json", folder), _optional(folder / "tokenizer_config.json")
    model: Table = table.get("model") or {}
    if model.get("type") != "BPE":
        raise ModelError(f"a tokenizer of kind {model.get('type')} is not known", str(folder), DONOR)
    pieces = bool(model.get("byte_fallback"))
    tokens, types = _tokens(table, size, pieces, folder)
    merges = [_merge(merge) for merge in model.get("merges", [])]
    begins, ends = _added_around(table.get("post_processor"))
    return Vocabulary(
        model="llama" if pieces else "gpt2",
        pre="default" if pieces else pre_tokenizer(table, folder),
        tokens=tokens,
        types=types,
        merges=merges,
        scores=_scores(tokens, merges) if pieces else [],
        special=_special(tokens, settings, folder),
        add_bos=begins,
        add_eos=ends,
        space_prefix=pieces and _prefixes_space(table),
        chat_template=_chat_template(folder, settings),
    )


def token_texts(path: Path) -> set[str]:
    """The tokens that a tokenizer.json names; none where it cannot be read."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return set(table["model"]["vocab"]) | {token["content"] for token in table.get("added_tokens", [])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def pre_tokenizer(table: Table, folder: Path) -> str:
    """llama.cpp's name of the way in which a byte-level tokenizer splits its text. Raises ModelError."""
    steps = list(_steps(table.get("pre_tokenizer")))
    kinds = [step["type"] for step in steps]
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        name = PATTERNS.get(steps[0]["pattern"].get("Regex", ""))
        if name and steps[0].get("behavior") == "Isolated" and not steps[0].get("invert"):
            return name
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not steps[0].get("add_prefix_space"):
        return "gpt-2"
    raise ModelError("it splits text in a way that has no name here (its pre-tokenizer)", str(folder), DONOR)


def _steps(stage: Table | None) -> Iterator[Table]:
    """The steps of a normaliser, a pre-tokenizer or a post-processor: a sequence of them, or one."""
    if not stage:
        return
    for key in ("pretokenizers", "normalizers", "processors"):
        if key in stage:
            for step in stage[key]:
                yield from _steps(step)
            return
    yield stage


def _tokens(table: Table, size: int, pieces: bool, folder: Path) -> tuple[list[str], list[int]]:
    tokens, types = [f"[PAD{i}]" for i in range(size)], [int(TokenType.UNUSED)] * size
    known = dict[int, tuple[str, TokenType]]()
    for token, i in table["model"]["vocab"].items():
        known[i] = (token, _type(token, pieces, table["model"].get("unk_token")))
    for added in table.get("added_tokens", []):
        kind = TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED
        is_unknown = known.get(added["id"], ("", None))[1] == TokenType.UNKNOWN
        known[added["id"]] = (added["content"], TokenType.UNKNOWN if is_unknown else kind)
    if known and max(known) >= size:
        what = f"its tokenizer has {max(known) + 1} tokens, and the embedding {size} rows"
        raise ModelError(what, str(folder), "Were tokens added in training? Resize the base's embedding and save it")
    for i, (token, kind) in known.items():
        tokens[i], types[i] = token, int(kind)
    return tokens, types


def _type(token: str, pieces: bool, unknown: str | None) -> TokenType:
    if pieces and token == unknown:
        return TokenType.UNKNOWN
    if pieces and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return TokenType.BYTE
    return TokenType.NORMAL


def _merge(merge: str | Sequence[str]) -> str:
    # A space within a half would look like the one between them; llama.cpp reads U+0120 for it.
    return merge if isinstance(merge, str) else " ".join(half.replace(" ", "\u0120") for half in merge)


def _scores(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """SentencePiece merges what has the highest score first: the earlier a merge stands, the higher its piece's."""
    ranks = dict[str, int]()
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    return [float(-ranks.get(token, 0)) for token in tokens]


def _added_around(processor: Table | None) -> tuple[bool, bool]:
    """Whether a token is put before a text, and after it."""
    for step in _steps(processor):
        if step["type"] == "TemplateProcessing":
            kinds = ["Sequence" in part for part in step["single"]]
            return not kinds[0], not kinds[-1]
    return False, False


def _prefixes_space(table: Table) -> bool:
    """Whether a space is put before a text, as SentencePiece's models mostly have it."""
    if any(step["type"] == "Prepend" and step.get("prepend") == SPACE for step in _steps(table.get("normalizer"))):
        return True
    spaces = [step for step in _steps(table.get("pre_tokenizer")) if step["type"] == "Metaspace"]
    return any(step.get("prepend_scheme", "always") != "never" for step in spaces)


def _special(tokens: Sequence[str], settings: Table, folder: Path) -> dict[str, int]:
    generation, config = _optional(folder / "generation_config.json"), _optional(folder / "config.json")
    ids = {token: i for i, token in enumerate(tokens)}
    found = dict[str, int]()
    for name in ("bos", "eos", "unk", "pad"):
        stated = settings.get(f"{name}_token")
        text = stated.get("content") if isinstance(stated, dict) else stated
        fallback = _ids(config.get(f"{name}_token_id"))
        if text in ids:
            found[name] = ids[text]
        elif fallback and fallback[0] < len(tokens) and name != "bos":
            found[name] = fallback[0]
    ends = [end for end in _ids(generation.get("eos_token_id")) if end < len(tokens)]
    if ends and "eos" not in found:
        found["eos"] = ends[0]
    other = [end for end in ends if end != found.get("eos")]
    return {**found, "eot": other[0]} if other else found


def _ids(stated: Any) -> list[int]:
    return [i for i in (stated if isinstance(stated, list) else [stated]) if isinstance(i, int)]


def _chat_template(folder: Path, settings: Table) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot be read: {error}", str(path), "Copy it again") from error
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {entry["name"]: str(entry["template"]) for entry in template}
        return named.get("default")
    return template


def _table(path: Path, folder: Path) -> Table:
    if not path.is_file():
        old = (folder / "tokenizer.model").is_file()
        remedy = "Load it with transformers and save it again, which writes one" if old else DONOR
        raise ModelError(f"has no {path.name}", str(folder), remedy)
    return _optional(path)


def _optional(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", str(path), "Copy it again") from error
    return table if isinstance(table, dict) else {}
