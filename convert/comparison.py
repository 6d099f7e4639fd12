"""How near a model's logits are to another's: one pass that holds a few rows of logits in float64 at a time.

Knows arrays only; where they come from is logits.py's and verify.py's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Floats = NDArray[np.float64]
ROWS = 16  # rows in float64 at a time: 20 MB an array for a vocabulary of 152,000


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number and its standard error."""

    value: float
    error: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A model against its reference. KL(reference || model) and `nll`, the model's loss, are in nats per token.

    `vocabulary` is the smaller of the two, and `left_out` what the other one has more: padding. `adapter_kept` is the
    part of the adapter's change of the log-probabilities that is there in the model too (1: all of it, 0: none).
    """

    tokens: int
    vocabulary: int
    left_out: int
    mean_kl: float
    max_kl: float
    top1_agreement: float
    nll: float
    adapter_kept: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass gives, a value a position: `kl` and `agrees` (of the likeliest token) of shape (tokens,); `nll` and
    `reference_nll`, the losses of the two, of every token but the first of each sequence. `effect`, shape (tokens, 2),
    is the model's change from the base along the adapter's, and the adapter's squared; zeros without a base.
    """

    vocabulary: int
    left_out: int
    kl: Floats
    agrees: NDArray[np.bool_]
    nll: Floats
    reference_nll: Floats
    effect: Floats

    def adapter_kept(self) -> Estimate | None:
        """The part of the adapter's change that the model has, by least squares; None where it changes nothing."""
        along, squared = self.effect.T
        if not squared.sum() > 0:
            return None
        kept = along.sum() / squared.sum()
        error = np.linalg.norm(along - kept * squared) / squared.sum()
        return Estimate(value=float(kept), error=float(error))

    def summary(self) -> Comparison:
        kept = self.adapter_kept()
        return Comparison(
            tokens=len(self.kl),
            vocabulary=self.vocabulary,
            left_out=self.left_out,
            mean_kl=float(self.kl.mean()),
            max_kl=float(self.kl.max()),
            top1_agreement=float(self.agrees.mean()),
            nll=float(self.nll.mean()),
            adapter_kept=kept.value if kept else None,
        )


def compare(
    sequences: Sequence[Sequence[int]],
    reference: Iterable[Logits],
    model: Iterable[Logits],
    base: Iterable[Logits] | None = None,
) -> Measured:
    """Compares logits of shape (tokens, vocabulary), one array a sequence; with `base`, the model without its adapter,
    also how much of the adapter's effect is kept."""
    models = [reference, model, *([base] if base is not None else [])]
    blocks = [
        _measure_block(*block)
        for tokens, *logits in zip(sequences, *models, strict=True)
        for block in _blocks(tokens, logits)
    ]
    joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _PER_POSITION}
    return Measured(vocabulary=blocks[0].vocabulary, left_out=blocks[0].left_out, **joined)


def log_softmax(logits: Logits) -> Floats:
    """Log-probabilities in float64, of the last axis."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


_PER_POSITION = ("kl", "agrees", "nll", "reference_nll", "effect")


def _blocks(tokens: Sequence[int], logits: list[Logits]) -> Iterator[tuple[NDArray[np.intp], list[Floats], int]]:
    """A few rows of each model's log-probabilities, with the tokens that follow them (the last row has none), and how
    much of the larger vocabulary they leave out."""
    widths = [array.shape[1] for array in logits]
    for start in range(0, len(tokens), ROWS):
        following = np.asarray(tokens[start + 1 : start + ROWS + 1], dtype=np.intp)
        rows = [log_softmax(array[start : start + ROWS, : min(widths)]) for array in logits]
        yield following, rows, max(widths) - min(widths)


def _measure_block(following: NDArray[np.intp], models: list[Floats], left_out: int) -> Measured:
    reference, model, *base = models
    p, rows = np.exp(reference), np.arange(len(following))
    return Measured(
        vocabulary=model.shape[1],
        left_out=left_out,
        kl=(p * (reference - model)).sum(axis=-1),
        agrees=reference.argmax(axis=-1) == model.argmax(axis=-1),
        nll=-model[rows, following],
        reference_nll=-reference[rows, following],
        effect=_effect(p, reference - base[0], model - base[0]) if base else np.zeros((len(p), 2)),
    )


def _effect(p: Floats, adapter: Floats, model: Floats) -> Floats:
    """Covariance under `p` of the model's change with the adapter's, both from the base, and the adapter's variance."""
    centred = adapter - (p * adapter).sum(axis=-1, keepdims=True)
    return np.stack([(p * centred * model).sum(axis=-1), (p * centred * centred).sum(axis=-1)], axis=-1)
