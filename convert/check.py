"""Says in seconds what a conversion would stumble over, and what to do about it: headers and settings only.

Each rule looks at one thing. Where the conversion itself has a function that refuses, the rule calls it, so that
nothing is promised here that is refused there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from convert.adapter import Adapter
from convert.architectures import EMBEDDING
from convert.base import Base, open_base, read_config
from convert.hyperparameters import hyperparameters
from convert.lora import placed_changes
from convert.lora_gguf import open_adapter
from convert.merge import AHEAD, FILE_TYPES, PIECE, WORKERS, ends_touched, merged_sources, planned
from convert.supported import UNSUPPORTED
from convert.vocabulary import read_vocabulary, token_texts
from score_local.adapter_files import CARD
from score_local.errors import ModelError
from score_local.gguf_check import file_sha256
from score_local.gguf_writer import size_of

Way = Literal["merge", "lora"]
WAYS: tuple[Way, ...] = ("merge", "lora")
FLOATS_A_VALUE = 4  # of a piece in the making: read, product, sum, encoded


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule found. `stops` names the ways that would fail; `doubt` is a thing to look at that stops nothing."""

    name: str
    what: str
    remedy: str = ""
    stops: tuple[Way, ...] = ()
    doubt: bool = False


class Job(msgspec.Struct, frozen=True):
    """What is to be converted, and where to."""

    adapter: Adapter
    base: Base
    out: Path


def check(adapter: Path, base: Path, donor: Path | None = None, out: Path = Path()) -> list[Rule]:
    """Every rule's finding; where the adapter or the base cannot be read at all, that alone."""
    rules = list[Rule]()
    read = _read("adapter", lambda: open_adapter(adapter), rules)
    opened = _read("base", lambda: open_base(base, donor), rules)
    if read is None or opened is None:
        return rules
    job = Job(read, opened, out)
    return [rule for look in LOOKS for rule in look(job)]


def _read(name: str, read: Callable[[], Any], rules: list[Rule]) -> Any:
    try:
        return read()
    except ModelError as error:
        rules.append(_refused(name, error, WAYS))
        return None


def _refused(name: str, error: ModelError, stops: tuple[Way, ...]) -> Rule:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return Rule(name=name, what=what, remedy=error.next, stops=stops)


def _tried(name: str, attempt: Callable[[], object], good: str, *stops: Way) -> Iterable[Rule]:
    """A rule that is what the conversion itself says."""
    try:
        attempt()
    except ModelError as error:
        yield _refused(name, error, stops)
    else:
        yield Rule(name=name, what=good)


def architecture(job: Job) -> Iterable[Rule]:
    yield Rule(name="architecture", what=f"{job.base.architecture.name}, {job.base.layout.layers} layers")


def base_model(job: Job) -> Iterable[Rule]:
    trained, given = job.adapter.base, job.base.name
    stated, sha256 = (_stated(job.adapter.path, key) for key in ("base", "base_sha256"))
    if sha256 and job.base.folder is None and sha256 == file_sha256(job.base.path):
        yield Rule(name="base model", what=f"{given}, the very file that it was trained on")
    elif not trained and not stated:
        yield Rule(name="base model", what="the adapter does not say what it was trained on", doubt=True)
    elif given and _plain(given) not in {_plain(trained), _plain(stated)}:
        what = f"the adapter was trained on {trained or stated}, and the base is {given}"
        yield Rule(name="base model", what=what, remedy="Give that base, unless the two are one", doubt=True)
    else:
        yield Rule(name="base model", what=given)


def base_weights(job: Job) -> Iterable[Rule]:
    """A quantised GGUF can be merged into: its weights are dequantised, and what rounding took from them stays lost."""
    if job.base.folder or job.base.donor is None:
        return
    kind = job.base.donor.quantisation
    if kind not in ("F32", "F16", "BF16"):
        what = f"the base is {kind}: the adapter is merged into its dequantised weights, rounding errors and all"
        remedy = "Give the 16-bit weights where you have them; a LoRA at run time loses nothing"
        yield Rule(name="base weights", what=what, remedy=remedy, doubt=True)


def _stated(adapter: Path, key: str) -> str:
    """What the card says, where there is one."""
    card = (adapter if adapter.is_dir() else adapter.parent) / CARD
    try:
        found = re.search(rf'^{key}\s*=\s*"(.*)"', card.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def _plain(name: str) -> str:
    """A model's name without its owner, its path, and the endings that name a file's type."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower()
    return re.sub(r"[\W_]+", "", re.sub(r"([-.](gguf|b?f16|f32|i?q\d\w*))+$", "", last))


def shapes(job: Job) -> Iterable[Rule]:
    count = len(job.adapter.changes) + len(job.adapter.replaced)
    yield from _tried("merge", lambda: merged_sources(job.base, job.adapter), f"{count} tensors fit", "merge")
    yield from _tried("run time", lambda: placed_changes(job.base, job.adapter), f"{count} tensors fit", "lora")


def unsupported(job: Job) -> Iterable[Rule]:
    for name, look in UNSUPPORTED.items():
        for error in look(job.base, job.adapter):
            yield _refused(name, error, WAYS)


def scale(job: Job) -> Iterable[Rule]:
    config, scales = job.adapter.config, sorted({round(c.scale, 6) for c in job.adapter.changes.values()})
    how = "alpha / sqrt(rank), rsLoRA" if config.get("use_rslora") else "alpha / rank"
    patterns = [name for name in ("rank_pattern", "alpha_pattern") if config.get(name)]
    also = f", with {' and '.join(patterns)}" if patterns else ""
    yield Rule(name="scale", what=f"{', '.join(f'{s:g}' for s in scales) or 'none'} ({how}{also})")


def kind(job: Job) -> Iterable[Rule]:
    if job.adapter.invocation_tokens:
        tokens = ", ".join(map(str, job.adapter.invocation_tokens))
        yield Rule(name="kind", what=f"aLoRA, invoked by tokens {tokens}")
    else:
        yield Rule(name="kind", what="DoRA" if job.adapter.dora else "LoRA")


def embeddings(job: Job) -> Iterable[Rule]:
    touched = ends_touched(job.base, job.adapter)
    if touched and job.base.tied and not job.adapter.tied:
        what = f"it changes {', '.join(touched)}, and the base's embedding and output are one tensor"
        remedy = "The merged file holds both, and is larger by one of them"
        yield Rule(name="tied embeddings", what=what, remedy=remedy, doubt=True)


def configuration(job: Job) -> Iterable[Rule]:
    """Whether llama.cpp's architecture has what the configuration asks for; a donor brings its own."""
    base = job.base
    if base.donor is None:
        wanted = partial(hyperparameters, base.config, base.architecture.name, str(base.path))
        yield from _tried("configuration", wanted, "llama.cpp has all of it", "merge")


def tokenizer(job: Job) -> Iterable[Rule]:
    if job.base.donor:
        name = job.base.donor.path.name
        yield Rule(name="tokenizer", what=f"copied from {name}")
        yield from _template(job.base.donor.chat_template)
        yield from _ends(job, {job.base.donor.metadata.get("tokenizer.ggml.eos_token_id")})
        return
    assert job.base.folder
    try:
        rows = job.base.tensors[EMBEDDING].shape[0]
        vocabulary = read_vocabulary(job.base.folder, rows)
    except ModelError as error:
        yield _refused("tokenizer", error, ("merge",))
        return
    yield Rule(name="tokenizer", what=f"{vocabulary.model}, pre-tokenizer {vocabulary.pre}")
    yield from _padding(job.base.folder, rows)
    yield from _template(vocabulary.chat_template)


def _padding(folder: Path, rows: int) -> Iterable[Rule]:
    used = len(token_texts(folder / "tokenizer.json"))
    if used < rows:
        what = f"{rows - used} of {rows} embedding rows have no token"
        yield Rule(name="vocabulary padding", what=what, remedy="They are kept, named [PAD...]")


def _template(template: str | None) -> Iterable[Rule]:
    if template:
        yield Rule(name="chat template", what=f"{len(template):,} characters")
    else:
        remedy = "Without one the model cannot chat: give a donor GGUF that has it"
        yield Rule(name="chat template", what="there is none", remedy=remedy, doubt=True)


def _ends(job: Job, known: set[Any]) -> Iterable[Rule]:
    if job.base.folder is None:
        return
    try:
        wanted = read_generation_ends(job.base.folder)
    except ModelError:
        return
    if wanted and not (wanted & known):
        what = f"generation ends at {sorted(wanted)}, and the donor says {sorted(known, key=str)}"
        remedy = "Take another donor: with this one a reply may never end"
        yield Rule(name="end of sequence", what=what, remedy=remedy, doubt=True)


def read_generation_ends(folder: Path) -> set[int]:
    """The ids of `eos_token_id` in generation_config.json, or in config.json. Raises ModelError."""
    path = folder / "generation_config.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else read_config(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", str(path), "Copy it again") from error
    ends = table.get("eos_token_id")
    return {int(end) for end in (ends if isinstance(ends, list) else [ends]) if end is not None}


def resources(job: Job) -> Iterable[Rule]:
    from concurrent.futures import ThreadPoolExecutor

    try:
        sources = merged_sources(job.base, job.adapter)
    except ModelError:
        return  # another rule tells
    with ThreadPoolExecutor(1) as pool:
        size = size_of(planned(n, s, FILE_TYPES["f16"], job.base.path, pool) for n, s in sources.items())
    pieces = (AHEAD + 1 + WORKERS) * PIECE * 4 * FLOATS_A_VALUE
    free = shutil.disk_usage(_existing(job.out)).free
    disk, memory = f"{size / 1e9:.2f} GB of disk ({free / 1e9:.1f} free)", f"about {pieces / 1e9:.1f} GB of memory"
    what = f"merging into F16 takes {disk} and {memory}"
    full = free < size
    yield Rule(name="room", what=what, remedy="Make room" if full else "", stops=("merge",) if full else ())


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())


LOOKS: tuple[Callable[[Job], Iterable[Rule]], ...] = (
    architecture,
    base_model,
    base_weights,
    kind,
    scale,
    unsupported,
    shapes,
    embeddings,
    configuration,
    tokenizer,
    resources,
)
