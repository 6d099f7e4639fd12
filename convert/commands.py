"""The commands of `score-convert`. Each takes the parsed options, returns an exit code, and prints paths to stdout."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.adapter import Adapter, adapter_name
from convert.base import Base, open_base
from convert.check import Rule
from convert.check import check as check_rules
from convert.llama_cpp_checkout import make_donor
from convert.lora import write_lora
from convert.lora_gguf import open_adapter
from convert.merge import FILE_TYPES, merged_sources
from convert.merge import merge as merge_into
from convert.partial import move_files, refuse_existing, scratch_folder
from convert.progress import progress
from score_local.catalog import resolve_base
from score_local.errors import ModelError

if TYPE_CHECKING:
    from convert.imatrix import ImportanceMatrix
    from convert.proof import Proof


def check(options: argparse.Namespace) -> int:
    """0 where the adapter can be merged or loaded at run time; 1 where it can be neither."""
    with _donor(options) as donor:
        rules = check_rules(options.adapter, resolve_base(options.base, fetch=options.fetch), donor)
    _print_rules(rules)
    stopped = {way for rule in rules for way in rule.stops}
    return int(stopped == {"merge", "lora"})


def merge(options: argparse.Namespace) -> int:
    type = _type_to_merge_into(options.type)
    target = options.out or Path(f"{adapter_name(options.adapter)}-{type}.gguf")
    with _opened(options) as (base, adapter):
        _merge_as(base, adapter, target, type)
    print(target)
    return 0


def lora(options: argparse.Namespace) -> int:
    target = options.out or Path(f"{adapter_name(options.adapter)}-lora.gguf")
    with _opened(options) as (base, adapter):
        kept = write_lora(base, adapter, target, options.type, options.rank)
    if options.rank:
        print(f"rank {options.rank} at most keeps {kept:.1%} of the changes' squared norm", file=sys.stderr)
    print(target)
    return 0


def quantize(options: argparse.Namespace) -> int:
    from convert.imatrix import required_matrix

    if options.to == "list":
        return _list_types()
    if options.file is None:
        raise ModelError("no file is given", "quantize", "Give an F16, BF16 or F32 GGUF")
    types = [_fastest(options)] if options.for_cpu else _types(options.to)
    targets = [options.out / f"{_without_type(options.file)}-{name}.gguf" for name in types]
    for target in targets:
        refuse_existing(target)
    required_matrix(types, options.imatrix, str(options.file))
    for name, target in zip(types, targets, strict=True):
        how = {"imatrix": options.imatrix, "threads": options.threads, "requantise": options.requantise}
        _quantize(options.file, target, name, **how)
        print(target)
    return 0


def imatrix(options: argparse.Namespace) -> int:
    from convert.imatrix import compute_imatrix

    target = options.out or options.file.with_suffix(".imatrix.gguf")
    with progress(f"importance matrix of {options.file.name}", "chunks") as tell:
        compute_imatrix(
            options.file, options.text, target, chunks=options.chunks, threads=options.threads, progress=tell
        )
    print(target)
    return 0


def verify(options: argparse.Namespace) -> int:
    _require_places(options.files)
    proof = _prove(
        options.files,
        base=resolve_base(options.base, fetch=options.fetch),
        merged=options.merged,
        adapter=options.adapter,
        base_gguf=options.base_gguf,
        text=options.text,
    )
    _keep_proof(proof, options.files)
    _print_proofs(options.files)
    return int(not proof.passed)


def all(options: argparse.Namespace) -> int:
    """check, merge, quantize, verify, register; stops at the first that fails. No file has its final name before it is
    proved, so whatever goes wrong on the way blocks no second try."""
    types, stem = _types(options.to), adapter_name(options.adapter)
    kept = [f"{stem}-{type}.gguf" for type in dict.fromkeys([*types, *(["f16"] if options.keep_f16 else [])])]
    targets = [options.out / name for name in kept]
    matrix = _require_usable(options, types, targets)
    with _opened(options) as (base, adapter):
        rules = check_rules(options.adapter, base.path, base.donor.path if base.donor else None, options.out)
        _print_rules(rules)
        if any("merge" in rule.stops for rule in rules):
            return 1
        if matrix:
            matrix.require_fits(_shapes(base, adapter), str(options.imatrix))
        with scratch_folder(options.out / stem) as folder:
            exact = folder / f"{stem}-f16.gguf"
            made = _make(base, adapter, folder / stem, types, imatrix=options.imatrix, threads=options.threads)
            proof = _prove(made, base=base.path, merged=exact, adapter=options.adapter, text=options.text)
            _keep_proof(proof, [folder / name for name in kept])
            if exact.name not in kept:
                exact.unlink()
            move_files(folder, options.out)
    _print_proofs(targets)
    _register([path for path in targets[: len(types)] if path.exists()], base, adapter, options.licence)
    return int(not proof.passed)


def bench(options: argparse.Namespace) -> int:
    from convert.bench import run

    return run(options.dir, options.layers)


# -- inside ---------------------------------------------------------------------------------------------------------


@contextmanager
def _donor(options: argparse.Namespace) -> Iterator[Path | None]:
    """The donor that was given, or one that a llama.cpp checkout makes for as long as it is needed."""
    if options.donor or not options.llama_cpp:
        yield options.donor
        return
    with tempfile.TemporaryDirectory(prefix="score-convert-") as folder:
        base = resolve_base(options.base, fetch=options.fetch)
        yield make_donor(options.llama_cpp, base, Path(folder) / "donor.gguf")


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[tuple[Base, Adapter]]:
    adapter = open_adapter(options.adapter)
    with _donor(options) as donor:
        yield open_base(resolve_base(options.base, fetch=options.fetch), donor), adapter


def _merge_as(base: Base, adapter: Adapter, target: Path, type: str) -> None:
    """Merges into a type without loss, or into one beside the target that is then quantised."""
    if type in FILE_TYPES:
        with progress(f"merging into {target.name}", "bytes") as tell:
            merge_into(base, adapter, target, type, tell)
        return
    refuse_existing(target)
    with scratch_folder(target) as folder:
        exact = folder / "merged-f16.gguf"
        _merge_as(base, adapter, exact, "f16")
        _quantize(exact, target, type)


def _make(base: Base, adapter: Adapter, stem: Path, types: list[str], **how: Any) -> list[Path]:
    """Merges into `<stem>-f16.gguf`, and quantises that into `<stem>-<type>.gguf`; all the files."""
    made = {type: stem.with_name(f"{stem.name}-{type}.gguf") for type in ("f16", *types)}
    _merge_as(base, adapter, made["f16"], "f16")
    for type in (type for type in types if type != "f16"):
        _quantize(made["f16"], made[type], type, **how)
    return [*made.values()]


def _shapes(base: Base, adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Of the merged model's tensors, the width first."""
    return {name: tuple(reversed(source.shape)) for name, source in merged_sources(base, adapter).items()}


def _types(text: str, flag: str = "--to") -> list[str]:
    """Names of types, split by commas, each once. Raises ModelError where one is not known, and where none is."""
    from convert.quantize_types import TYPES

    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names or [text]:
        if name not in TYPES:
            raise ModelError(f"no such type: {name}", flag, "See: score-convert quantize --to list")
    return names


def _type_to_merge_into(text: str) -> str:
    """Raises ModelError where it is not one type, or one that a merge alone cannot be made into."""
    from convert.imatrix import required_matrix

    type, *more = _types(text, "--type")
    if more:
        raise ModelError("a merge makes one file", "--type", "Merge into f16, then quantize that with --to")
    required_matrix([type], None, "--type", "Merge into f16, then quantize that with --imatrix")
    return type


def _require_usable(options: argparse.Namespace, types: list[str], targets: list[Path]) -> ImportanceMatrix | None:
    """Raises ModelError for what would end a conversion only after gigabytes; the importance matrix that was given.
    The first of the targets, one a type, are to be registered."""
    from convert.held_back import read_text
    from convert.imatrix import required_matrix
    from score_local.own_models import free_name

    for target in targets:
        refuse_existing(target)
    _require_places(targets)
    for target in targets[: len(types)]:
        free_name(target)
    if options.text:
        read_text(options.text)
    remedy = "Compute one (score-convert imatrix, from a GGUF of the base) and give it with --imatrix"
    return required_matrix(types, options.imatrix, "--to", remedy)


def _list_types() -> int:
    from convert.quantize_types import TYPES

    for name, type in TYPES.items():
        print(name, "needs an importance matrix" if type.needs_imatrix else "", sep="\t")
    return 0


def _fastest(options: argparse.Namespace) -> str:
    from convert.for_cpu import fastest_type

    with progress(f"measuring types of {options.file.name}", "steps") as tell:
        measured = fastest_type(options.file, threads=options.threads, requantise=options.requantise, progress=tell)
    for row in measured:
        rate = f"{row.tokens_per_second:7.1f} tokens/s {row.bytes / 1e6:9,.0f} MB"
        print(f"{row.type:8} {row.trouble or rate}", file=sys.stderr)
    return str(measured[0].type)


def _quantize(source: Path, target: Path, name: str, **how: Any) -> None:
    from convert.quantize import quantize as quantize_file

    with progress(f"quantising into {target.name}", "tensors") as tell:
        made = quantize_file(source, target, name, progress=tell, **how)
    if made.fallbacks:
        print(f"{target.name}: {made.summary}", file=sys.stderr)


def _prove(files: list[Path], **what: Any) -> Proof:
    """The proof, shown before anything is done about it."""
    from convert.proof import prove, table

    with progress("proving", "texts") as tell:
        proof = prove(
            outputs=files,
            command=["score-convert", *sys.argv[1:]],
            progress=lambda title, done, total: tell(done, total),
            **what,
        )
    print(table(proof))
    return proof


def _keep_proof(proof: Proof, files: list[Path]) -> None:
    """Gives the files that failed another name, and writes the proof beside each."""
    from convert.proof import proof_path, set_aside, write_proof

    proof = set_aside(proof, files)
    for record in proof.outputs:
        if record.kept_as:
            print(f"score-convert: {record.name} failed, and is kept as {record.kept_as}", file=sys.stderr)
    for file in files:
        write_proof(proof_path(file), proof)


def _print_proofs(files: list[Path]) -> None:
    from convert.proof import proof_path

    for file in files:
        print(proof_path(file))


def _require_places(files: Iterable[Path]) -> None:
    """Raises ModelError where the proof of one of the files could not be written."""
    from convert.proof import proof_path, require_place

    for file in files:
        require_place(proof_path(file))


def _register(files: list[Path], base: Base, adapter: Adapter, licence: str) -> None:
    from convert.proof import proof_path
    from score_local.own_models import register

    for file in files:
        title = f"{base.name} with {adapter.name}, {file.stem.rsplit('-', 1)[-1].upper()}"
        notes = f"made by score-convert; see {proof_path(file).name} beside it"
        name = register(file, title=title, licence=licence, notes=notes)
        print(f'registered: score-local solve --model {name} "..."', file=sys.stderr)


def _print_rules(rules: list[Rule]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table("rule", "finding", "what is found", "what to do", box=SIMPLE, pad_edge=False)
    for rule in rules:
        word, style = _verdict(rule)
        grid.add_row(Text(rule.name), Text(word, style), Text(rule.what), Text(rule.remedy))
    Console(width=None if sys.stdout.isatty() else 160).print(grid)


def _verdict(rule: Rule) -> tuple[str, str]:
    if rule.stops:
        return f"stops {' and '.join(rule.stops)}", "bold red"
    return ("look", "yellow") if rule.doubt else ("good", "green")


def _without_type(file: Path) -> str:
    return re.sub(r"-(f16|bf16|f32)$", "", file.stem)
