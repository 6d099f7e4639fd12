"""What an adapter may ask for that no conversion here does: left out in silence, the file would load, and be wrong.

Its tensors do not show it; its settings and its tokenizer do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from convert.adapter import Adapter
from convert.base import Base
from convert.vocabulary import token_texts
from score_local.adapter_files import OTHER_BASE
from score_local.errors import ModelError

WEIGHTS_CHANGED = ("pissa", "olora", "corda", "loftq", "lora_ga")  # initialisations that also change the base weights
SETTINGS = ("layer_replication", "target_parameters", "trainable_token_indices", "fan_in_fan_out")


def require_supported(base: Base, adapter: Adapter) -> None:
    """Raises ModelError with the first thing that neither a merge nor a LoRA at run time would do."""
    for look in UNSUPPORTED.values():
        for error in look(base, adapter):
            raise error


def architecture(base: Base, adapter: Adapter) -> Iterator[ModelError]:
    """Two architectures may give tensors the same names and shapes, and still keep their rows in another order."""
    made_for, found = adapter.architecture, base.architecture.name
    if made_for and made_for != found:
        yield ModelError(f"it is for architecture {made_for}, and the base is {found}", str(adapter.path), OTHER_BASE)


def initialisation(base: Base, adapter: Adapter) -> Iterator[ModelError]:
    how = str(adapter.config.get("init_lora_weights", "")).lower()
    if how.startswith(WEIGHTS_CHANGED):
        what = f"it was initialised with {how}, which also changed the base's weights"
        remedy = "Save it with path_initial_model_for_weight_conversion, as PEFT's guide says"
        yield ModelError(what, str(adapter.path), remedy)


def settings(base: Base, adapter: Adapter) -> Iterator[ModelError]:
    for key in filter(adapter.config.get, SETTINGS):
        remedy = "Merge it with PEFT, save that, and convert it with llama.cpp's convert_hf_to_gguf.py"
        yield ModelError(f"{key} is not supported", str(adapter.path), remedy)
    if adapter.dora and any(change.embedding for change in adapter.changes.values()):
        remedy = "Train without the embedding, or without DoRA"
        yield ModelError("DoRA of an embedding is not supported", str(adapter.path), remedy)


def tokens(base: Base, adapter: Adapter) -> Iterator[ModelError]:
    """Tokens that were added in training stand in the adapter's folder, and the base's tokenizer lacks them."""
    path = adapter.path / "tokenizer.json"
    if base.folder is None or not path.is_file():
        return
    known = token_texts(base.folder / "tokenizer.json")
    new = sorted(token_texts(path) - known)
    if new and known:
        what = f"{len(new)} tokens were added in training, such as {new[0]!r}"
        remedy = "Resize and save the base with them, or train without: a GGUF's tokenizer is the base's"
        yield ModelError(what, str(adapter.path), remedy)


UNSUPPORTED: Mapping[str, Callable[[Base, Adapter], Iterator[ModelError]]] = {
    "made for": architecture,
    "initialisation": initialisation,
    "settings": settings,
    "added tokens": tokens,
}
"""By the names of the rules of `check`."""
