"""The flags of `score-local collect`. Imports nothing heavy: `--help` is instant."""

from __future__ import annotations

import argparse

STAGES = ("sample", "label", "pair", "critique", "rules", "prompt", "export")
ENGINES = ("llama", "transformers", "openai")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is not given is None: `Settings` and `ExportSettings` hold the defaults."""
    command.add_argument("questions", metavar="QUESTIONS", help="a problem file with gold answers; - reads stdin")
    command.add_argument("--out", required=True, metavar="DIR", help="the collection's folder")
    command.add_argument("--resume", action="store_true", help="go on where it stopped; begins it if there is none")
    command.add_argument("--stage", choices=STAGES, help="only this stage (default: all, in this order)")
    command.add_argument("--limit", type=_positive, metavar="N", help="only the first N questions")
    _add_settings(command.add_argument_group("what is collected"))
    _add_engine(command.add_argument_group("model and engine"))


def _add_settings(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--samples", type=int, metavar="N", help="solutions a question (10)")
    group.add_argument("--pairs", type=int, metavar="N", help="pairs of a wrong and a right solution a question (4)")
    group.add_argument(
        "--feedback-on",
        choices=["first", "every"],
        help="the first wrong step, named to the model (default: small models need it), or every step, as SCORE has it",
    )
    group.add_argument("--temperature", type=float, metavar="T", help="of the samples (0.7)")
    group.add_argument("--max-tokens", type=int, metavar="T", help="longest sample (512)")
    group.add_argument("--seed", type=int, metavar="N", help="seed of all sampling (0)")
    group.add_argument("--dev-share", type=float, metavar="P", help="share of the questions in the dev split (0.1)")
    group.add_argument("--solutions", type=int, metavar="N", help="examples for the solver a question (4)")


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", choices=ENGINES, default="llama", help="what computes (llama: llama.cpp, here)")
    group.add_argument("--model", metavar="M", help="a catalogue name or a file; with openai, the name it is served by")
    group.add_argument("--parallel", type=_positive, default=16, metavar="N", help="requests side by side (16)")
    group.add_argument("--context", type=_positive, default=3072, metavar="T", help="tokens a sequence can hold (3072)")
    group.add_argument("--threads", type=_positive, metavar="N", help="llama: default: the physical cores")
    group.add_argument("--url", metavar="URL", help="openai: where the server is, for example http://127.0.0.1:8080/v1")
    group.add_argument(
        "--key-variable",
        default="SCORE_LOCAL_API_KEY",
        metavar="NAME",
        help="openai: the environment variable that holds the key (SCORE_LOCAL_API_KEY)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
