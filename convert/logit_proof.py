"""The logits side of a proof: every output against the reference, against the model without the adapter, and on the
held-back text.

The reference is transformers and PEFT in float32 where a Hugging Face base and the packages are there; otherwise the
merged file in llama.cpp, which cannot prove that the merge itself is right. Both sets of logits lie on disk, so that
one model is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Union

import msgspec

from convert import verify
from convert.bounds import noise
from convert.comparison import Comparison, Logits, Measured, compare
from convert.findings import Finding, not_computed, unknown
from convert.logit_findings import PER_OUTPUT, active_finding, output_findings
from convert.logits import SavedLogits, llama_logits
from convert.peft_adapter import CONFIG
from score_local.errors import EngineError, MemoryLimit, ModelError
from score_local.gguf_file import read_header

Progress = Callable[[str, int, int], None]
"""Is told (what is computed, sequences done, sequences in all)."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be proved of: `models` and `loras` are GGUF outputs; `merged` the most exact merged one of `models`.

    `folder` is the Hugging Face base, `base_gguf` the base as a GGUF, on which `loras` run; `adapter` a PEFT folder or
    a GGUF.
    """

    models: tuple[Path, ...] = ()
    loras: tuple[Path, ...] = ()
    merged: Path | None = None
    folder: Path | None = None
    base_gguf: Path | None = None
    adapter: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        return (*self.models, *self.loras)

    def model_of(self, output: Path) -> Path | None:
        """The model that runs for an output: itself, or for a LoRA the base GGUF."""
        return self.base_gguf if output in self.loras else output


class LogitProof(msgspec.Struct, frozen=True, kw_only=True):
    """What the logits say; `comparisons` by the file's name, that of the model without the adapter by "base"."""

    reference: str
    findings: list[Finding]
    comparisons: dict[str, Comparison]


class _Yardstick(msgspec.Struct, frozen=True, kw_only=True):
    """What outputs are held against. `itself` is the output that the reference was computed with; `noise` the KL
    divergence that equal models may show here."""

    source: str
    logits: SavedLogits
    base: SavedLogits | None
    itself: Path | None = None
    noise: float = noise("F32")


def prove_logits(
    case: Case, sequences: Sequence[Sequence[int]], progress: Progress = lambda what, done, total: None
) -> LogitProof:
    """Compares every output's logits on `sequences`. What cannot be computed becomes an unknown finding."""
    with ExitStack() as stack:
        try:
            yardstick = _Work(case, sequences, stack, progress).yardstick()
        except (ModelError, MemoryLimit, EngineError) as error:
            findings = [unknown(name, output.name, str(error)) for output in case.outputs for name in PER_OUTPUT]
            return LogitProof(reference="none", findings=findings, comparisons={})
        base = compare(sequences, yardstick.logits, yardstick.base) if yardstick.base else None
        measured = {output: _measure(case, output, sequences, yardstick, progress) for output in case.outputs}
    complete = {output: result for output, result in measured.items() if isinstance(result, Measured)}
    active = active_finding(base, yardstick.noise)
    findings = [active, *(result for result in measured.values() if isinstance(result, Finding))]
    for output, result in complete.items():
        quantisation = read_header(case.model_of(output) or output).quantisation
        findings += output_findings(output.name, result, base, quantisation=quantisation, active=active.passed)
    comparisons = {output.name: result.summary() for output, result in complete.items()}
    if base:
        comparisons["base"] = base.summary()
    return LogitProof(reference=yardstick.source, findings=findings, comparisons=comparisons)


# -- measuring ------------------------------------------------------------------------------------------------------


class _Work:
    """Computes the yardstick and keeps it on disk until `stack` is unwound."""

    def __init__(self, case: Case, sequences: Sequence[Sequence[int]], stack: ExitStack, progress: Progress) -> None:
        self._case, self._sequences, self._stack, self._progress = case, sequences, stack, progress
        self._scratch = case.outputs[0].parent

    def yardstick(self) -> _Yardstick:
        """Raises ModelError, MemoryLimit or EngineError where there is none."""
        try:
            return self._through_transformers()
        except (ModelError, MemoryLimit, EngineError) as error:
            return self._through_llama_cpp(str(error))

    def _through_transformers(self) -> _Yardstick:
        case = self._case
        if case.folder is None:
            raise ModelError("no Hugging Face folder of the base was given")
        if case.adapter and not (case.adapter / CONFIG).is_file():
            raise ModelError("PEFT cannot read an adapter that is a GGUF")
        logits = self._keep("reference", verify.reference_logits(case.folder, case.adapter, self._sequences))
        base = None
        if case.adapter:
            base = self._keep("base model", verify.reference_logits(case.folder, None, self._sequences))
        return _Yardstick(source="transformers and PEFT in float32", logits=logits, base=base)

    def _through_llama_cpp(self, why: str) -> _Yardstick:
        """The merged file takes the reference's place, for the reason `why`."""
        case = self._case
        if case.merged is None:
            raise ModelError(f"there is no merged file to compare with, and {why}")
        logits = self._keep("reference", llama_logits(case.merged, self._sequences))
        base = case.base_gguf
        types = [read_header(path).quantisation for path in (case.merged, base) if path]
        return _Yardstick(
            source=f"{case.merged.name} in llama.cpp, which does not prove that the merge itself is right: {why}",
            logits=logits,
            base=self._keep("base model", llama_logits(base, self._sequences)) if base else None,
            itself=case.merged,
            noise=max(map(noise, types)),
        )

    def _keep(self, what: str, logits: Iterator[Logits]) -> SavedLogits:
        told = _told(what, logits, len(self._sequences), self._progress)
        return self._stack.enter_context(SavedLogits(told, self._scratch))


def _told(what: str, logits: Iterable[Logits], total: int, progress: Progress) -> Iterator[Logits]:
    for done, array in enumerate(logits, 1):
        yield array
        progress(what, done, total)


def _measure(
    case: Case, output: Path, sequences: Sequence[Sequence[int]], yardstick: _Yardstick, progress: Progress
) -> Union[Measured, Finding]:
    """What was measured of an output, or the finding that takes its place."""
    model = case.model_of(output)
    if output == yardstick.itself:
        return unknown("logits", output.name, "the others are compared with it, and it with nothing")
    if model is None:
        return unknown("logits", output.name, "no GGUF of the base model was given to run it on")
    try:
        logits = llama_logits(model, sequences, lora=output if output in case.loras else None)
        told = _told(output.name, logits, len(sequences), progress)
        return compare(sequences, yardstick.logits, told, yardstick.base)
    except (ModelError, MemoryLimit, EngineError) as error:
        return not_computed("logits", output.name, error)
