"""`score-local batch`: a problem file in, a run folder and checked answers out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from score_local import answer_files
from score_local.commands import setup
from score_local.commands.interrupts import interrupts
from score_local.commands.progress import progress_for
from score_local.commands.setup import Setting
from score_local.commands.solving import solve_into, sum_up
from score_local.engine.protocol import Engine
from score_local.errors import InputError
from score_local.evaluate import tables
from score_local.helpers import Helpers
from score_local.problem import Problem, selected
from score_local.problem_files import ProblemFile, read_problems
from score_local.runs import Run, start_run
from score_local.schedule import Scheduler
from score_local.trace import Trace


def run(options: argparse.Namespace) -> int:
    """Everything that can be refused is refused before the model is loaded."""
    folder = Path(options.run or f"runs/{'stdin' if options.file == '-' else Path(options.file).stem}")
    if options.output:
        answer_files.check_writable(options.output, folder, options.file)
    file = read_problems(options.file)
    _tell_faults(file.faults)
    problems = selected(file.problems, options.limit, options.shuffle)
    setting = setup.setting_of(options)
    with start_run(folder, setting.manifest, resume=options.resume, accept_changes=options.accept_changes) as run_:
        todo = run_.todo(problems)
        _tell_plan(len(problems), len(todo), setting.model, folder)
        interrupted = bool(todo) and _solve(options, setting, todo, run_)
        traces = run_.traces_of(problems)
        try:
            _finish(options, run_, traces, file)
        except BrokenPipeError:  # nobody reads the table; that problems are left must be told all the same
            if not interrupted:
                raise
    if interrupted:
        print(f"score-local: interrupted; go on with: --run {folder} --resume", file=sys.stderr)
        return 130
    return 2 if file.faults else int(any(trace.status == "failed" for trace in traces))


def _solve(options: argparse.Namespace, setting: Setting, todo: Sequence[Problem], run_: Run) -> bool:
    """Opens what is needed and solves. True: the user interrupted, and problems are left."""
    parallel = min(options.parallel, len(todo) * setup.width_of(setting.policy))
    with (
        closing(setup.helpers_of(setting.policy)) as helpers,
        closing(setup.engine_of(options, setting, parallel)) as engine,
    ):
        return solve_all(engine, helpers, todo, setting, run_)


def solve_all(engine: Engine, helpers: Helpers, problems: Sequence[Problem], setting: Setting, run_: Run) -> bool:
    """Solves the problems into the run, each trace written as it ends. True: the user interrupted, and problems are
    left."""
    scheduler: Scheduler[Trace] = Scheduler(engine, helpers=helpers)
    left = len(problems)
    with interrupts(scheduler.stop, scheduler.abort) as seen, progress_for(len(problems)) as progress:
        for trace in solve_into(run_, problems, setting, scheduler):
            left -= 1
            progress.ended(trace)
    return seen.count > 0 and left > 0


def _finish(options: argparse.Namespace, run_: Run, traces: list[Trace], file: ProblemFile) -> None:
    """Summary, answers, table."""
    summary = sum_up(run_, traces)
    if options.output:
        rows = answer_files.answer_rows([problem.id for problem in file.problems], traces, file.faults)
        answer_files.write_answers(options.output, rows, str(run_.folder))
    talk = sys.stderr if options.output == "-" else sys.stdout
    plain = not talk.isatty()
    tables.traces_table(traces, talk, plain=plain)
    tables.render(summary, talk, plain=plain)
    print(f"run folder: {run_.folder}", file=sys.stderr)


def _tell_faults(faults: Sequence[InputError]) -> None:
    for fault in faults:
        print(f"score-local: {fault}", file=sys.stderr)


def _tell_plan(total: int, todo: int, model: Path, folder: Path) -> None:
    done = f", {total - todo} of them done before" if todo < total else ""
    print(f"{total} problems{done}; model {model.name}; run folder {folder}", file=sys.stderr)
