"""The proof that converted files are right: all findings, what they were found with, and the file it is kept in.

A finding that could not be made is unknown, never passed. What `prove` does not know: whether an adapter is any good.
"""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import msgspec

import score_local
from convert import verify
from convert.bounds import is_quantised
from convert.comparison import Comparison
from convert.findings import Finding, unknown
from convert.held_back import LENGTH, held_back_sequences
from convert.logit_findings import PER_OUTPUT
from convert.logit_proof import Case, LogitProof, Progress, prove_logits
from convert.logits import Vocabulary
from convert.partial import SUFFIX
from convert.text_proof import TextFacts, facts_of_gguf, text_findings
from score_local.catalog_entries import same_file
from score_local.errors import ModelError
from score_local.gguf_check import file_sha256
from score_local.gguf_file import read_header

KIND = "score-convert proof 1"
PROOF, FAILED = ".proof.json", ".failed.gguf"
SAYING = (".safetensors", ".gguf", ".json")  # endings of a folder's files that say what a model is
_RESULTS = {True: "passed", False: "FAILED", None: "unknown"}


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which file it was. `kept_as` is the name under which a file that failed is kept."""

    name: str
    bytes: int
    sha256: str
    kept_as: str | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at, with which files and software. `reference` is what logits were compared with."""

    kind: str = KIND
    began: str
    seconds: float
    command: list[str] = []
    reference: str
    findings: list[Finding]
    comparisons: dict[str, Comparison]
    inputs: list[FileRecord]
    outputs: list[FileRecord]
    software: dict[str, str]

    @property
    def passed(self) -> bool:
        """Nothing failed; something may be unknown."""
        return all(finding.passed is not False for finding in self.findings)

    def failed(self, file: str) -> bool:
        """Whether a finding about an output failed, or one about the adapter, which concerns all of them."""
        return any(finding.passed is False and finding.file in (file, "") for finding in self.findings)


def prove(
    *,
    outputs: Sequence[Path],
    base: Path,
    merged: Path | None = None,
    adapter: Path | None = None,
    base_gguf: Path | None = None,
    text: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress = lambda what, done, total: None,
) -> Proof:
    """Looks at every output, a merged GGUF or a LoRA GGUF.

    `base` is a Hugging Face folder or a GGUF, `adapter` a PEFT folder or a GGUF; `base_gguf` the base as a GGUF, which
    a LoRA runs on. `merged`, without it the first output that is not quantised, is the reference where transformers
    cannot be. `text` is a held-back text of the adapter's task, ours without it.

    Raises ModelError where an output or an input is not there.
    """
    began, clock = datetime.now(timezone.utc), time.perf_counter()
    case = _case(outputs, base, merged, adapter, base_gguf)
    inputs = [record for path in dict.fromkeys((base, adapter, base_gguf, text)) for record in _records(path)]
    records = [record for output in outputs for record in _records(output)]
    findings = list(_text_findings(case))
    logits = _logits(case, text, progress)
    names = ["", *(output.name for output in outputs)]
    return Proof(
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - clock, 1),
        command=list(command),
        reference=logits.reference,
        findings=sorted(findings + logits.findings, key=lambda finding: names.index(finding.file)),
        comparisons=logits.comparisons,
        inputs=inputs,
        outputs=records,
        software=_software(),
    )


def keep_failed(path: Path) -> Path:
    """Renames a file that failed to `<name>.failed.gguf`, in place of an earlier one of that name."""
    kept = path.with_name(path.name.removesuffix(".gguf") + FAILED)
    os.replace(path, kept)
    return kept


def set_aside(proof: Proof, outputs: Iterable[Path]) -> Proof:
    """Renames the outputs that failed; the proof that comes back says how they are called now."""
    kept = {path.name: keep_failed(path).name for path in outputs if proof.failed(path.name)}
    records = [msgspec.structs.replace(record, kept_as=kept.get(record.name)) for record in proof.outputs]
    return msgspec.structs.replace(proof, outputs=records)


def proof_path(output: Path) -> Path:
    """Where the proof of an output is kept: beside it, under a name that neither another output nor a run has."""
    return output.with_name(output.name.removesuffix(".gguf") + PROOF)


def require_place(path: Path) -> None:
    """Raises ModelError where a proof cannot be written: another kind of file has that name, or the folder is closed to
    us. A folder that is not there yet is no trouble."""
    try:
        if path.exists() and json.loads(path.read_bytes()).get("kind") != KIND:
            raise ValueError("something else has that name")
        if path.parent.exists() and not os.access(path.parent, os.W_OK):
            raise ValueError("its folder is read-only")
    except (OSError, ValueError, AttributeError) as error:
        what = f"the proof cannot be written there: {error}"
        raise ModelError(what, str(path), "Move what has that name, or the model") from error


def write_proof(path: Path, proof: Proof) -> None:
    """Writes the proof, in place of an earlier one. Raises ModelError: what `require_place` raises, or a full disk."""
    require_place(path)
    part = path.with_name(path.name + SUFFIX)
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"cannot be written: {error.strerror or error}", str(path), "Make room") from error


def table(proof: Proof, width: int = 120) -> str:
    """Every finding in a row, then how many passed, failed and are unknown."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table("file", "finding", "result", "value", "bound", "remark", box=SIMPLE, pad_edge=False)
    for finding in proof.findings:
        numbers = (_number(finding.value), _number(finding.bound))
        cells = (finding.file or "adapter", finding.name, _RESULTS[finding.passed], *numbers, finding.remark)
        grid.add_row(*map(Text, cells))
    page = io.StringIO()
    Console(file=page, width=width).print(grid)
    return page.getvalue() + summary(proof)


def summary(proof: Proof) -> str:
    """One line."""
    counts = {word: sum(f.passed is passed for f in proof.findings) for passed, word in _RESULTS.items()}
    return f"{', '.join(f'{count} {word}' for word, count in counts.items())}; logits against {proof.reference}"


# -- inside ---------------------------------------------------------------------------------------------------------


def _case(
    outputs: Sequence[Path], base: Path, merged: Path | None, adapter: Path | None, base_gguf: Path | None
) -> Case:
    if len({path.name for path in outputs}) < len(outputs):
        raise ModelError("two of the files have the same name", str(outputs[0].parent), "Verify them one at a time")
    headers = {path: read_header(path) for path in outputs}
    loras = tuple(path for path, header in headers.items() if header.metadata.get("general.type") == "adapter")
    models = tuple(path for path in outputs if path not in loras)
    merged = next((path for path in models if same_file(path, merged)), merged)  # it may be spelled in another way
    return Case(
        models=models,
        loras=loras,
        merged=merged or next((path for path in models if not is_quantised(headers[path].quantisation)), None),
        folder=base if base.is_dir() else None,
        base_gguf=base_gguf if base.is_dir() else base_gguf or base,
        adapter=adapter,
    )


def _text_findings(case: Case) -> Iterator[Finding]:
    reference, why = _text_reference(case)
    for path in case.models:
        try:
            yield from text_findings(reference, facts_of_gguf(path), path.name, why)
        except ModelError as error:
            yield Finding(name="loads", file=path.name, passed=False, remark=str(error))


def _text_reference(case: Case) -> tuple[TextFacts | None, str]:
    """The facts to compare with, and why there are none."""
    why = []
    for read, path in ((verify.facts_of_folder, case.folder), (facts_of_gguf, case.base_gguf)):
        if path is not None:
            try:
                return read(path), ""
            except ModelError as error:
                why.append(str(error))
    return None, "; ".join(why)


def _logits(case: Case, text: Path | None, progress: Progress) -> LogitProof:
    """The logits side, on sequences of the first vocabulary that llama.cpp can read, no longer than its model takes."""
    for model in (*case.models, *([case.base_gguf] if case.base_gguf else [])):
        try:
            vocabulary = Vocabulary(model)
        except ModelError:
            continue  # told by its own finding
        longest = min(LENGTH, read_header(model).context_length or LENGTH)
        with vocabulary:
            sequences = held_back_sequences(vocabulary, text=text, longest=longest, invocation=_invocation(case))
        return prove_logits(case, sequences, progress)
    why = "there is no model to take the vocabulary from"
    findings = [unknown(name, output.name, why) for output in case.outputs for name in PER_OUTPUT]
    return LogitProof(reference="none", findings=findings, comparisons={})


def _invocation(case: Case) -> Sequence[int]:
    """The tokens that switch the activated LoRA on; none for a plain one."""
    found = (read_header(lora).metadata.get("adapter.alora.invocation_tokens", ()) for lora in case.loras)
    return next(filter(None, found), ())


def _records(path: Path | None) -> list[FileRecord]:
    """A file, or those of a folder: weights, configuration, tokenizer."""
    if path is None:
        return []
    files = sorted(f for f in path.iterdir() if f.suffix in SAYING) if path.is_dir() else [path]
    names = [f"{path.name}/{file.name}" if path.is_dir() else file.name for file in files]
    try:
        return [
            FileRecord(name=name, bytes=file.stat().st_size, sha256=file_sha256(file))
            for name, file in zip(names, files, strict=True)
        ]
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}", str(path), "Check the path") from error


def _software() -> dict[str, str]:
    ours = {
        "score-local": score_local.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    packages = {name: metadata.version(name) for name in ("gguf", "llama-cpp-python", "numpy")}
    return {**ours, **packages, **verify.versions()}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if isinstance(value, float) else str(value)
