"""The base model of a conversion: a Hugging Face folder, or a GGUF. Both are the same tensors under llama.cpp's names.

A folder's metadata (hyperparameters, tokenizer, chat template) come from a *donor*: a GGUF of the same base, whose
pairs are copied byte for byte; without one it is made from the folder's own files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from gguf import GGUFWriter

from convert.architectures import ARCHITECTURES, EMBEDDING, OUTPUT, Architecture, Layout, architecture_of
from convert.hyperparameters import extra_tensors, hyperparameters
from convert.safetensors import DTYPES, StoredTensor, open_folder
from convert.sources import Given, InGGUF, Source, Stored
from convert.vocabulary import read_vocabulary
from score_local.errors import ModelError
from score_local.gguf_file import GGUFHeader, read_header

ROTARY = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
FOUR_BIT = "Give the 16-bit weights that it was quantised from: an adapter merged into 4-bit weights is rounded away"


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A model to merge into. `tensors` are by llama.cpp's names; a tied model has no OUTPUT among them.

    `donor` is the GGUF that gives the metadata, None where they have yet to be made of `folder`.
    """

    path: Path
    layout: Layout
    tensors: dict[str, Source]
    donor: GGUFHeader | None
    config: dict[str, Any]

    @property
    def architecture(self) -> Architecture:
        return self.layout.architecture

    @property
    def tied(self) -> bool:
        return OUTPUT not in self.tensors

    @property
    def folder(self) -> Path | None:
        """The Hugging Face folder, None where the base is a GGUF."""
        return self.path if self.path.is_dir() else None

    @property
    def name(self) -> str:
        if self.folder is None and self.donor:
            return str(self.donor.metadata.get("general.name", self.path.stem))
        named = str(self.config.get("_name_or_path") or "")
        return named if "/" in named and not Path(named).is_absolute() else self.path.name

    def with_metadata(self, scratch: Path) -> GGUFHeader:
        """The donor, or one without tensors written to `scratch`. Raises ModelError where the tokenizer is unknown."""
        if self.donor:
            return self.donor
        write_donor(self, scratch)
        return read_header(scratch)


def open_base(path: Path, donor: Path | None = None) -> Base:
    """Opens a folder (with a donor, or without) or a GGUF, reading no weight.

    Raises ModelError: no model, an architecture that is not supported, 4-bit weights, tensors that are missing, one of
    several shards, a donor of another model or beside a GGUF.
    """
    if path.is_dir():
        return _open_folder(path, _whole(donor) if donor else None)
    if donor:
        raise ModelError("the base is a GGUF, which brings its own metadata", str(path), "Leave the donor out")
    return _open_gguf(_whole(path))


def _whole(path: Path) -> GGUFHeader:
    """The header of a GGUF that is in one piece. Raises ModelError."""
    header = read_header(path)
    shards = header.metadata.get("split.count", 1)
    if shards > 1:
        raise ModelError(f"is one of {shards} shards", str(path), "Join them: llama-gguf-split --merge FIRST JOINED")
    return header


def write_donor(base: Base, target: Path) -> None:
    """A GGUF with the metadata of a Hugging Face folder, and no tensor. Raises ModelError."""
    assert base.folder
    writer = GGUFWriter(str(target), base.architecture.name)
    try:
        writer.add_type("model")
        writer.add_name(base.path.name)
        for key, value in hyperparameters(base.config, base.architecture.name, str(base.path)).items():
            _add(writer, key, value)
        read_vocabulary(base.folder, base.tensors[EMBEDDING].shape[0]).write(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
    finally:
        writer.close()


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a folder. Raises ModelError."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("no model: it has no config.json", str(folder), "Give a folder, or a GGUF") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", str(path), "Copy it again") from error
    if not isinstance(config, dict):
        raise ModelError("not a table of settings", str(path), "Copy it again")
    return config


def _open_folder(folder: Path, donor: GGUFHeader | None) -> Base:
    config = read_config(folder)
    architecture = architecture_of(config, str(folder))
    _refuse_quantised(config, folder)
    layout = _layout(architecture, config, folder)
    tensors: dict[str, Source] = {name: source for name, source in _stored(folder, layout)}
    if architecture.always_tied or config.get("tie_word_embeddings", _tied_by_default(architecture)):
        tensors.pop(OUTPUT, None)
    if donor is None:
        tensors.update({name: Given(values) for name, values in extra_tensors(config, architecture.name).items()})
    else:
        _require_same_model(tensors, donor, architecture, folder)
        tensors.update({name: InGGUF(donor, name, donor.tensors[name]) for name in ROTARY if name in donor.tensors})
    if EMBEDDING not in tensors:
        raise ModelError("has no token embedding", str(folder), "Is a shard missing? Copy it again")
    return Base(path=folder, layout=layout, tensors=tensors, donor=donor, config=config)


def _open_gguf(header: GGUFHeader) -> Base:
    architecture = ARCHITECTURES.get(header.architecture)
    if architecture is None:
        known = ", ".join(ARCHITECTURES)
        what = f"architecture {header.architecture or 'unknown'} is not supported"
        raise ModelError(what, str(header.path), f"Supported: {known}")
    prefix, found = architecture.name, header.metadata
    try:
        heads = int(found[f"{prefix}.attention.head_count"])
        layout = Layout(
            architecture,
            int(found[f"{prefix}.block_count"]),
            heads,
            int(found.get(f"{prefix}.attention.head_count_kv", heads)),
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"its metadata lack {error}", str(header.path), "Is it a model?") from error
    tensors: dict[str, Source] = {name: InGGUF(header, name, tensor) for name, tensor in header.tensors.items()}
    return Base(path=header.path, layout=layout, tensors=tensors, donor=header, config={})


def _stored(folder: Path, layout: Layout) -> list[tuple[str, Stored]]:
    found = []
    for name, tensor in open_folder(folder).items():
        if name.endswith("rotary_emb.inv_freq"):  # old checkpoints keep what is computed from the configuration
            continue
        ours = layout.gguf_name(name)
        if ours is None:
            raise ModelError(f"tensor {name} has no place in {layout.architecture.name}", str(folder), _remedy(name))
        if tensor.dtype not in DTYPES:
            raise ModelError(f"tensor {name} holds {tensor.dtype}, no 16 or 32-bit floats", str(folder), FOUR_BIT)
        found.append((ours, stored(ours, tensor, layout)))
    return found


def stored(name: str, tensor: StoredTensor, layout: Layout) -> Stored:
    """A checkpoint's tensor as llama.cpp's `name` wants it."""
    return Stored(tensor, layout.order(name, tensor.rows), layout.offset(name))


def _remedy(name: str) -> str:
    quantised = any(part in name for part in (".absmax", ".quant_", "qweight", "qzeros", "weight_scale"))
    return FOUR_BIT if quantised else "Only text models are converted"


def _refuse_quantised(config: dict[str, Any], folder: Path) -> None:
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method:
        raise ModelError(f"its weights are quantised ({method})", str(folder), FOUR_BIT)


def _layout(architecture: Architecture, config: dict[str, Any], folder: Path) -> Layout:
    try:
        heads = int(config["num_attention_heads"])
        return Layout(
            architecture, int(config["num_hidden_layers"]), heads, int(config.get("num_key_value_heads") or heads)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"its config.json lacks {error}", str(folder), "Copy it again") from error


def _tied_by_default(architecture: Architecture) -> bool:
    """What transformers takes `tie_word_embeddings` for where config.json does not say."""
    return architecture.name in ("gemma2", "gemma3", "smollm3")


def _require_same_model(
    tensors: dict[str, Source], donor: GGUFHeader, architecture: Architecture, folder: Path
) -> None:
    """Raises ModelError where the donor's tensors are not those of the folder, by name and shape."""
    where, remedy = str(donor.path), "Give a GGUF of the very base model"
    if donor.architecture != architecture.name:
        what = f"the donor is {donor.architecture!r}, and {folder.name} is {architecture.name!r}"
        raise ModelError(what, where, remedy)
    if not donor.tensors:  # metadata alone
        return
    theirs = {name: tuple(reversed(tensor.shape)) for name, tensor in donor.tensors.items() if name not in ROTARY}
    ours = {name: source.shape for name, source in tensors.items()}
    if OUTPUT not in ours:
        theirs.pop(OUTPUT, None)
    for name in sorted(theirs.keys() | ours.keys()):
        left, right = theirs.get(name, "absent"), ours.get(name, "absent")
        if left != right:
            raise ModelError(f"the donor's {name} is {left}, that of {folder.name} {right}", where, remedy)
