"""The flags of `score-local eval`. Imports nothing heavy: `--help` is instant."""

from __future__ import annotations

import argparse

from score_local.flags import add_selection, natural, positive

ON_HUB = ("gsm8k", "math", "svamp", "mawps", "commonsense_qa", "riddle_sense", "qasc")
FIT_ON = ("half", "other-half")
EPILOG = """examples:
  score-local eval dev.jsonl --model qwen2.5-coder-0.5b --out evals/dev
  score-local eval dev.jsonl --model qwen2.5-coder-0.5b --out evals/dev --resume
  score-local eval dev.jsonl --out evals/vote --policies solve,majority-*,mine.toml --limit 100
  score-local eval --compare evals/dev evals/adapter
every reply is kept in DIR/replies.jsonl: other policies, and a report written again, cost only what was never asked
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.description = "Runs policies side by side on the same problems and writes a report folder."
    command.epilog, command.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="a file or folder of problems with gold answers, as published; - "
        f"for stdin; or one of the hub: {', '.join(ON_HUB)}",
    )
    command.add_argument("--pull", action="store_true", help="fetch a data set of the hub that is not here yet")
    command.add_argument("--out", metavar="DIR", help="the report's folder")
    command.add_argument(
        "--policies",
        metavar="A,B",
        help="policy files (.toml) and names, as majority-* (default: all that are shipped)",
    )
    add_selection(command)
    command.add_argument(
        "--fit-on",
        choices=FIT_ON,
        default="half",
        help="the problems that calibrations are fitted on; the others are reported on (half)",
    )
    command.add_argument("--seed", type=natural, metavar="N", help="seed of all sampling, in every policy")
    command.add_argument("--resume", action="store_true", help="go on from the replies that DIR holds")
    command.add_argument("--compare", nargs=2, metavar=("A", "B"), help="set two reports side by side")
    group = command.add_argument_group("model and engine")
    group.add_argument("--model", metavar="M", help="a catalogue name or a GGUF (default: the embedded one)")
    group.add_argument("--parallel", type=positive, default=16, metavar="N", help="sequences side by side (16)")
    group.add_argument("--context", type=positive, default=2048, metavar="T", help="tokens a sequence can hold (2048)")
    group.add_argument("--threads", type=positive, metavar="N", help="default: the physical cores")
