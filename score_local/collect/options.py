"""The flags of `score-local collect`. Imports nothing heavy: `--help` is instant."""

from __future__ import annotations

import argparse

from score_local.flags import add_selection, natural, positive

STAGES = ("sample", "label", "pair", "critique", "rules", "prompt", "program", "export")
ENGINES = ("llama", "transformers", "openai")
DESCRIPTION = """Makes training data for adapters from questions with gold answers (SCORE, stage 1, and programs):

  sample    --samples solutions a question
  label     each compared with the gold answer
  pair      a wrong and a right solution of one question
  critique  the model says what is wrong, with the right solution as the hint
  rules     critiques that break a rule are rejected
  prompt    the model solves the question again with the critique and without the hint: is it right now?
  program   --programs Python programs a question, each run in the sandbox
  export    examples in DIR/dataset, which `score-local train` reads

Each stage writes its file in DIR; whatever interrupts it, the same command with --resume goes on. A funnel on stdout
(and in DIR/funnel.json) counts what was left after each stage, and why the rest was rejected."""
EXAMPLES = """examples:
  score-local collect train.jsonl --model qwen2.5-coder-0.5b --out runs/collect --samples 4 --limit 60
  score-local collect train.jsonl --engine transformers --model Qwen/Qwen2.5-1.5B-Instruct --precision nf4 --out big
  score-local collect train.jsonl --engine openai --url http://127.0.0.1:8080/v1 --model served --out served
  score-local collect train.jsonl --model qwen2.5-coder-0.5b --out runs/collect --resume --stage export
  score-local collect train.jsonl --model qwen2.5-coder-0.5b --out runs/programs --programs 4 --stage program"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is not given is None: `Settings` and `ExportSettings` hold the defaults."""
    command.description, command.epilog = DESCRIPTION, EXAMPLES
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("questions", metavar="QUESTIONS", help="a problem file with gold answers; - reads stdin")
    command.add_argument("--out", required=True, metavar="DIR", help="the collection's folder")
    command.add_argument("--resume", action="store_true", help="go on where it stopped; begins it if there is none")
    command.add_argument("--stage", choices=STAGES, help="only this stage (default: all, in this order)")
    add_selection(command, "questions")
    _add_settings(command.add_argument_group("what is collected"))
    _add_engine(command.add_argument_group("model and engine"))


def _add_settings(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--samples", type=positive, metavar="N", help="solutions a question (10)")
    group.add_argument("--pairs", type=positive, metavar="N", help="pairs of a wrong and a right one a question (4)")
    group.add_argument("--programs", type=natural, metavar="N", help="Python programs a question (0)")
    group.add_argument(
        "--feedback-on",
        choices=["first", "every"],
        help="the first wrong step, named to the model (default: small models need it), or every step, as SCORE has it",
    )
    group.add_argument("--temperature", type=float, metavar="T", help="of the samples (0.7)")
    group.add_argument("--max-tokens", type=positive, metavar="T", help="longest sample (512)")
    group.add_argument("--seed", type=natural, metavar="N", help="seed of all sampling (0)")
    group.add_argument("--dev-share", type=float, metavar="P", help="share of the questions in the dev split (0.1)")
    group.add_argument(
        "--solutions", type=positive, metavar="N", help="examples for solver and programmer a question (4)"
    )
    group.add_argument(
        "--corrections",
        choices=["prompted", "paired"],
        help="what a refiner learns after a critique: what the model wrote with it in view, where right (default); "
        "paired: where that is not right, the pair's right solution",
    )


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", choices=ENGINES, default="llama", help="what computes (llama: llama.cpp, here)")
    group.add_argument(
        "--model",
        metavar="M",
        help="a catalogue name or a GGUF; with transformers also a folder or a hub id; with openai, its name there",
    )
    group.add_argument("--solver", metavar="ADAPTER", help="llama: a LoRA that solves, so that its errors are learned")
    group.add_argument("--parallel", type=positive, default=16, metavar="N", help="requests side by side (16)")
    group.add_argument("--context", type=positive, default=3072, metavar="T", help="tokens a sequence can hold (3072)")
    group.add_argument("--threads", type=positive, metavar="N", help="llama: default: the physical cores")
    group.add_argument(
        "--precision",
        choices=["fp32", "bf16", "nf4"],
        help="transformers: of the weights (bf16 on a CUDA GPU, fp32 on the CPU)",
    )
    group.add_argument(
        "--fetch", action="store_true", help="transformers: fetch a hub id's files where they are not here"
    )
    group.add_argument("--url", metavar="URL", help="openai: where the server is, for example http://127.0.0.1:8080/v1")
    group.add_argument(
        "--key-variable",
        default="SCORE_LOCAL_API_KEY",
        metavar="NAME",
        help="openai: the environment variable that holds the key (SCORE_LOCAL_API_KEY)",
    )
