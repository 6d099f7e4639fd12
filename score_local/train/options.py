"""The flags of `score-local train`. Imports nothing heavy: `--help` is instant."""

from __future__ import annotations

import argparse

from score_local.flags import natural, positive
from score_local.roles import ROLES


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is not given is None: the recipe holds the defaults."""
    command.add_argument("role", choices=ROLES, help="what to train")
    command.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="collections, their datasets, files of examples; for solver and programmer problems with rationales too",
    )
    command.add_argument("--base", required=True, metavar="B", help="a folder, a GGUF, a catalogue name or a hub id")
    command.add_argument("--out", metavar="DIR", help="the adapter's folder (default: adapters/ROLE)")
    command.add_argument("--resume", action="store_true", help="go on where it stopped; begins it if there is none")
    command.add_argument("--fetch", action="store_true", help="fetch the base from the hub where it is not here")
    command.add_argument("--threads", type=positive, metavar="N", help="of the CPU (default: torch's)")
    group = command.add_argument_group("recipe (a flag overrides the file)")
    group.add_argument("--recipe", metavar="FILE", help="a TOML file (default: the one that ships for the role)")
    group.add_argument("--kind", choices=["lora", "alora"], help="what kind of adapter (alora)")
    group.add_argument("--epochs", type=positive, metavar="N", help="how often every example is seen")
    group.add_argument("--limit", type=positive, metavar="N", help="only N of the training examples")
    group.add_argument("--seed", type=natural, metavar="N", help="of the order of the examples, and of all chance")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key, such as optimiser.learning_rate=2e-4"
    )
