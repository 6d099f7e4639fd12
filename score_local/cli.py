"""The command line: parses, then hands over to one function of `score_local.commands`.

Nothing heavy is imported before the command is known, so that `--help` is instant. stdout is data, stderr is talk.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from score_local import __version__
from score_local.errors import UserError
from score_local.flags import add_selection, natural, positive, probability
from score_local.talk import exit_code_of

EPILOG = """examples:
  score-local solve "A box holds 12 eggs. How many eggs do 7 boxes hold?"
  score-local batch problems.jsonl --run runs/first --output answers.csv
  score-local batch problems.jsonl --run runs/first --resume
  score-local rethreshold runs/first --threshold 0.7
"""
OWN_FLAGS = ("-h", "--help", "--version")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code: 0 done, 1 some problems failed, 2 a mistake to mend, 130 interrupted."""
    return exit_code_of(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["convert"]:
        from convert import cli

        return cli.main(arguments[1:], "score-local convert")
    if _for_the_app(arguments):
        arguments = ["chat", *arguments]
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return 2
    module, function = options.command.split(":")
    try:
        return int(getattr(importlib.import_module(f"score_local.commands.{module}"), function)(options))
    except UserError as error:
        print(f"score-local: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("score-local: interrupted", file=sys.stderr)
        return 130


def _for_the_app(arguments: Sequence[str]) -> bool:
    """Whether no command is named: flags of `chat`, or nothing at all, in a terminal."""
    if arguments:
        return arguments[0].startswith("-") and arguments[0] not in OWN_FLAGS
    return sys.stdin.isatty() and sys.stdout.isatty()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="score-local",
        description="A small local model solves a problem, a verifier doubts it, a refiner repairs it. Offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"score-local {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_chat(commands)
    _add_solve(commands)
    _add_batch(commands)
    _add_show(commands)
    _add_rethreshold(commands)
    _add_calibrate(commands)
    _add_eval(commands)
    _add_collect(commands)
    _add_train(commands)
    _add_models(commands)
    _add_doctor(commands)
    _add_bench(commands)
    commands.add_parser("convert", help="an adapter into a proven GGUF (also: score-convert)")
    return parser


def _add_chat(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("chat", help="the terminal app (what `score-local` alone opens, with the same flags)")
    command.set_defaults(command="chat:run")
    command.add_argument("--policy", metavar="FILE", help="a TOML file; the app's settings are written into it")
    command.add_argument("--history", metavar="FILE", help="where conversations are kept")
    command.add_argument("--ascii", action="store_true", help="only ASCII characters in the app's own lines and signs")
    _add_engine(command, parallel=8, adapters=False, model="the one used last, else the embedded one")


def _add_solve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("solve", help="solve one problem, streaming")
    command.set_defaults(command="solve:run")
    command.add_argument("question", help="the problem; - reads it from stdin")
    command.add_argument("--choice", action="append", default=[], metavar="TEXT", help="a choice (A, B, ... in order)")
    command.add_argument("--answer", metavar="GOLD", help="the gold answer, for the oracle verifier")
    command.add_argument("--kind", choices=["number", "choice", "expression"], help="how the answer is read")
    command.add_argument("--json", action="store_true", help="print the whole trace as JSON")
    _add_engine(command, parallel=8)
    _add_policy(command)


def _add_batch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("batch", help="solve a file of problems into a run folder")
    command.set_defaults(command="batch:run")
    command.add_argument("file", help="JSONL, CSV, TXT or OpenAI batch file; - reads stdin")
    command.add_argument("--run", metavar="DIR", help="the run folder (default: runs/<name of the file>)")
    command.add_argument(
        "--resume", action="store_true", help="go on where the run stopped; begins it if there is none"
    )
    command.add_argument(
        "--accept-changes", action="store_true", help="resume although model, prompts or policy changed"
    )
    command.add_argument("--output", metavar="FILE", help="answers, a row a problem: .jsonl or .csv, - for stdout")
    add_selection(command)
    _add_engine(command, parallel=16)
    _add_policy(command)


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("show", help="show a run, or one problem of it")
    command.set_defaults(command="show:run")
    command.add_argument("run", metavar="RUN", help="the run folder")
    command.add_argument("id", nargs="?", metavar="ID", help="a problem's id")
    command.add_argument("--json", action="store_true", help="print traces as JSON lines")


def _add_rethreshold(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("rethreshold", help="decide a run again with another threshold, without the model")
    command.set_defaults(command="rethreshold:run")
    command.add_argument("run", metavar="RUN", help="the run folder")
    command.add_argument(
        "--threshold", type=probability, required=True, metavar="P", help="refine from this P(incorrect) on"
    )
    command.add_argument("--verifiers", metavar="A,B", help="count only these of the verifiers that spoke")
    command.add_argument(
        "--output", metavar="FILE", help="the answers under this threshold: .jsonl or .csv, - for stdout"
    )
    command.add_argument("--markdown", action="store_true", help="print the summary as a Markdown table")


def _add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from score_local.commands import calibrate

    command = commands.add_parser("calibrate", help="learn from a run how far each verifier can be trusted")
    command.set_defaults(command="calibrate:run")
    calibrate.add_arguments(command)


def _add_eval(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from score_local.commands import eval_options

    command = commands.add_parser("eval", help="policies side by side on the same problems, and a report")
    command.set_defaults(command="eval:run")
    eval_options.add_arguments(command)


def _add_collect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from score_local.collect import options

    command = commands.add_parser("collect", help="make training data for adapters")
    command.set_defaults(command="collect:run")
    options.add_arguments(command)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from score_local.train import options

    command = commands.add_parser("train", help="fine-tune an adapter on collected examples")
    command.set_defaults(command="train:run")
    options.add_arguments(command)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser("models", help="list, pull, find and check models")
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("list", help="what is known, and where it is").set_defaults(command="models:run_list")
    for name, what in (("pull", "fetch from the hub"), ("path", "print the file's path"), ("check", "check a file")):
        action = actions.add_parser(name, help=what)
        action.set_defaults(command=f"models:run_{name}")
        action.add_argument(
            "model", metavar="MODEL", help="a name of the catalogue" + ("" if name == "pull" else ", or a path")
        )


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("doctor", help="what is installed, what works, what to mend")
    command.set_defaults(command="doctor:run")
    command.add_argument("--model", metavar="M", help="the model to time (default: the first that is here)")


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("bench", help="tokens/s by sequences, and against the single-sequence loop")
    command.set_defaults(command="bench:run")
    command.add_argument("--model", metavar="M", help="a catalogue name or a GGUF")
    command.add_argument(
        "--problems", metavar="FILE", help="problems for the comparison (default: the shipped samples)"
    )
    command.add_argument("--limit", type=positive, default=60, metavar="N", help="at most N of them (default 60)")
    command.add_argument("--parallel", type=positive, default=16, metavar="N", help="sequences in the comparison (16)")
    command.add_argument("--context", type=positive, default=1024, metavar="T", help="tokens a sequence (1024)")
    command.add_argument("--threads", type=positive, metavar="N", help="default: the physical cores")
    command.add_argument("--skip-sweep", action="store_true", help="no tokens/s at 1, 4, 8, 16 and 32 sequences")
    command.add_argument("--skip-loop", action="store_true", help="no comparison with the single-sequence loop")
    command.add_argument(
        "--neighbour", action="store_true", help="also decode beside a process that keeps one core busy"
    )
    command.add_argument("--json", metavar="FILE", help="write all figures there")


def _add_engine(
    command: argparse.ArgumentParser, parallel: int, *, adapters: bool = True, model: str = "the embedded one"
) -> None:
    group = command.add_argument_group("model and engine")
    group.add_argument("--model", metavar="M", help=f"a catalogue name or a GGUF (default: {model})")
    group.add_argument(
        "--parallel", type=positive, default=parallel, metavar="N", help=f"sequences side by side ({parallel})"
    )
    group.add_argument("--context", type=positive, default=2048, metavar="T", help="tokens a sequence can hold (2048)")
    group.add_argument("--threads", type=positive, metavar="N", help="default: the physical cores")
    if adapters:
        group.add_argument(
            "--adapter",
            action="append",
            default=[],
            metavar="ROLE=PATH",
            help="a LoRA for solver, verifier, refiner or programmer",
        )


def _add_policy(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("policy (a flag overrides the file)")
    group.add_argument("--policy", metavar="FILE", help="a TOML file")
    group.add_argument(
        "--method", metavar="M", help="refine, majority, weighted-vote, best-of-n, refine-then-vote, budget"
    )
    group.add_argument(
        "--verifiers", metavar="A,B", help="self, arithmetic, program, consistency, model (a judge), oracle"
    )
    group.add_argument("--threshold", type=probability, metavar="P", help="refine from this P(incorrect) on")
    group.add_argument("--refine", choices=["gated", "always", "never"], help="when a refinement is written")
    group.add_argument("--rounds", type=positive, metavar="N", help="rounds of refinement")
    group.add_argument("--samples", type=positive, metavar="K", help="samples of the consistency verifier")
    group.add_argument("--max-tokens", type=positive, metavar="T", help="longest solution")
    group.add_argument("--seed", type=natural, metavar="N", help="seed of all sampling")


if __name__ == "__main__":
    sys.exit(main())
