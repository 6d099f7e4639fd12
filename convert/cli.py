"""`score-convert`: parses, then hands over to one function of `convert.commands`. stdout is data, stderr is talk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from score_local import __version__
from score_local.errors import EngineError, UserError
from score_local.flags import positive
from score_local.talk import exit_code_of

EPILOG = """a whole conversion:
  score-convert check adapters/refiner --base Qwen2.5-0.5B-Instruct
  score-convert all adapters/refiner --base Qwen2.5-0.5B-Instruct --to q4_k_m,q8_0 --out converted
  score-local solve --model refiner-q4_k_m "A box holds 12 eggs. How many eggs do 7 boxes hold?"

step by step:
  score-convert merge    adapters/refiner --base Qwen2.5-0.5B-Instruct --out refiner-f16.gguf
  score-convert imatrix  refiner-f16.gguf text.txt --out refiner.imatrix.gguf
  score-convert quantize refiner-f16.gguf --to q4_k_m --imatrix refiner.imatrix.gguf
  score-convert verify   refiner-q4_k_m.gguf --merged refiner-f16.gguf --adapter adapters/refiner \\
                         --base Qwen2.5-0.5B-Instruct

for run time, a file of some MB beside the base's GGUF:
  score-convert lora     adapters/refiner --base qwen2.5-0.5b-instruct-q4_k_m.gguf --out refiner-lora.gguf

BASE is a Hugging Face folder, a GGUF, a name of `score-local models list`, or a hub id (with --fetch).
"""


def main(arguments: Sequence[str] | None = None, prog: str = "score-convert") -> int:
    """Runs one command; its exit code: 0 done, 1 a check or a proof failed, 2 a mistake to mend, 130 interrupted."""
    return exit_code_of(lambda: _run(arguments, prog))


def _run(arguments: Sequence[str] | None, prog: str) -> int:
    parser = build_parser(prog)
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return 2
    from convert import commands

    try:
        return int(getattr(commands, options.command)(options))
    except (UserError, EngineError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; nothing half-written was kept", file=sys.stderr)
        return 130


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Makes GGUF files of a PEFT adapter and its base model, and proves that they are right. Offline.",
        epilog=EPILOG.replace("score-convert", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_check(commands)
    _add_merge(commands)
    _add_lora(commands)
    _add_quantize(commands)
    _add_imatrix(commands)
    _add_verify(commands)
    _add_all(commands)
    _add_bench(commands)
    return parser


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "check", "say in seconds what would fail, and what to do about it")
    _add_adapter(command)


def _add_merge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "merge", "adapter and base into one GGUF")
    _add_adapter(command)
    command.add_argument(
        "--type", default="f16", metavar="T", help="f16, bf16, f32, or any that needs no importance matrix (f16)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="default: <adapter>-<type>.gguf")


def _add_lora(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "lora", "adapter into a LoRA GGUF that llama.cpp loads beside the base")
    _add_adapter(command)
    command.add_argument("--type", default="f16", choices=["f16", "bf16", "f32", "q8_0"], help="of the factors (f16)")
    command.add_argument("--rank", type=positive, metavar="R", help="cut higher ranks: a smaller file")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: <adapter>-lora.gguf")


def _add_quantize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "quantize", "a GGUF into smaller types")
    command.add_argument("file", type=Path, nargs="?", help="an F16, BF16 or F32 GGUF")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--to", metavar="A,B", help="types, such as q4_k_m,q8_0; `--to list` alone shows all")
    which.add_argument("--for-cpu", action="store_true", help="the type that decodes fastest here, by a measurement")
    command.add_argument("--imatrix", type=Path, metavar="FILE", help="an importance matrix")
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="default: this folder")
    command.add_argument("--requantise", action="store_true", help="also from a quantised file, losing twice")
    _add_threads(command)


def _add_imatrix(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "imatrix", "compute an importance matrix from a text")
    command.add_argument("file", type=Path, help="the GGUF to run")
    command.add_argument("text", type=Path, help="a text like that which the model will read and write")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: <file>.imatrix.gguf")
    command.add_argument("--chunks", type=positive, metavar="N", help="only the first N chunks of 512 tokens")
    _add_threads(command)


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "verify", "prove that converted files are right")
    command.add_argument("files", type=Path, nargs="+", help="merged or LoRA GGUFs")
    command.add_argument("--base", required=True, metavar="BASE", help="the base model")
    command.add_argument("--adapter", type=Path, metavar="ADAPTER", help="the adapter that is in them")
    command.add_argument("--merged", type=Path, metavar="FILE", help="the most exact merged file (default: the first)")
    command.add_argument("--base-gguf", type=Path, metavar="FILE", help="the GGUF that a LoRA GGUF runs on")
    command.add_argument("--text", type=Path, metavar="FILE", help="a held-back text of the adapter's task")
    command.add_argument("--fetch", action="store_true", help="fetch BASE from the hub where it is not here")


def _add_all(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "all", "check, merge, quantize, verify, and register for `score-local models list`")
    _add_adapter(command)
    command.add_argument("--to", default="q4_k_m", metavar="A,B", help="types (q4_k_m)")
    command.add_argument("--out", type=Path, default=Path("converted"), metavar="DIR", help="default: converted")
    command.add_argument("--imatrix", type=Path, metavar="FILE", help="an importance matrix")
    command.add_argument("--text", type=Path, metavar="FILE", help="a held-back text of the adapter's task")
    command.add_argument("--licence", default="unknown", help="of the result, for the catalogue")
    command.add_argument("--keep-f16", action="store_true", help="keep the merged F16 file too")
    _add_threads(command)


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "bench", "memory and speed of merging a 7B-shaped model of random weights")
    command.add_argument("--dir", type=Path, metavar="DIR", help="where 32 GB are free (default: the temporary folder)")
    command.add_argument("--layers", type=positive, default=28, metavar="N", help="fewer make it smaller (28)")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.set_defaults(command=name)
    return command


def _add_adapter(command: argparse.ArgumentParser) -> None:
    command.add_argument("adapter", type=Path, help="the folder that PEFT saved, or a LoRA GGUF")
    command.add_argument("--base", required=True, metavar="BASE", help="the base model")
    command.add_argument("--donor", type=Path, metavar="GGUF", help="a GGUF of BASE: its metadata are copied")
    command.add_argument("--llama-cpp", type=Path, metavar="DIR", help="a checkout whose converter makes the donor")
    command.add_argument("--fetch", action="store_true", help="fetch BASE from the hub where it is not here")


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=positive, metavar="N", help="default: the physical cores")


if __name__ == "__main__":
    sys.exit(main())
