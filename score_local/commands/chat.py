"""`score-local chat`: the terminal app. Only cheap things happen before its first screen; a model is loaded behind."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs

from score_local.engine.protocol import Engine
from score_local.errors import InputError
from score_local.policy import load_policy

APP = "score-local"
LOG_BYTES = 2**20


def run(options: argparse.Namespace) -> int:
    """Raises InputError without a terminal, PolicyError or HistoryError for a file that cannot be used."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "the app needs a terminal", "chat", 'In a pipe: score-local solve "..." or score-local batch FILE'
        )
    from tui import app
    from tui.history import History

    policy_path = Path(options.policy) if options.policy else platformdirs.user_config_path(APP) / "policy.toml"
    policy = load_policy(policy_path if options.policy or policy_path.exists() else None)
    history = Path(options.history) if options.history else platformdirs.user_data_path(APP) / "history.db"
    _log_to(platformdirs.user_log_path(APP) / "chat.log")

    def open_engine(model: Path, adapters: Mapping[str, Path]) -> Engine:
        from score_local.engine import llama

        return llama.open_engine(
            model, streams=options.parallel, context=options.context, threads=options.threads, adapters=adapters
        )

    setup = app.Setup(
        History(history), policy, policy_path, open_engine, options.context, options.model, ascii_only=options.ascii
    )
    return app.run(setup)


def _log_to(file: Path) -> None:
    """Warnings and tracebacks go into a file: the screen belongs to the app."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1)
    except OSError:
        handler = logging.NullHandler()
    logging.basicConfig(
        level=logging.WARNING, handlers=[handler], format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
