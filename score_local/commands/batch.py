"""`score-local batch`: a problem file in, a run folder and checked answers out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from score_local import answer_files
from score_local.commands import setup
from score_local.commands.interrupts import interrupts
from score_local.commands.progress import progress_for
from score_local.engine.protocol import Engine
from score_local.engine.steps import Steps
from score_local.errors import InputError
from score_local.evaluate import tables
from score_local.evaluate.summary import summarize
from score_local.loop import self_correct
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.problem_files import ProblemFile, read_problems
from score_local.runs import Run, manifest_of, start_run
from score_local.schedule import Scheduler
from score_local.trace import Trace


def run(options: argparse.Namespace) -> int:
    """Everything that can be refused is refused before the model is loaded."""
    policy = setup.policy_of(options)
    if options.output:
        answer_files.check_writable(options.output)
    file = read_problems(options.file)
    _tell_faults(file.faults)
    problems = file.problems[: options.limit]
    model = setup.model_of(options)
    adapters = setup.adapters_of(policy, model)
    manifest = manifest_of(model, adapters, policy, options.context)
    folder = Path(options.run or f"runs/{'stdin' if options.file == '-' else Path(options.file).stem}")
    with start_run(folder, manifest, resume=options.resume, accept_changes=options.accept_changes) as run_:
        todo = run_.todo(problems)
        _tell_plan(len(problems), len(todo), model, folder)
        interrupted = False
        if todo:
            engine = setup.engine_of(options, model, adapters, min(options.parallel, _widest(todo, policy)))
            try:
                interrupted = solve_all(engine, todo, policy, run_)
            finally:
                engine.close()
        traces = [run_.done[p.id] for p in problems if p.id in run_.done]
        _finish(options, run_, traces, file)
    if interrupted:
        print(f"score-local: interrupted; go on with: --run {folder} --resume", file=sys.stderr)
        return 130
    return 2 if file.faults else int(any(trace.status == "failed" for trace in traces))


def solve_all(engine: Engine, problems: Sequence[Problem], policy: Policy, run_: Run) -> bool:
    """Solves the problems into the run, each trace written as it ends. True: the user interrupted."""
    scheduler: Scheduler[Trace] = Scheduler(engine)
    began: dict[str, float] = {}
    last = time.monotonic()

    def loops() -> Iterator[tuple[str, Steps[Trace]]]:
        for problem in problems:
            began[problem.id] = time.monotonic()
            yield problem.id, self_correct(problem, policy)

    with interrupts(scheduler.stop, scheduler.abort) as seen, progress_for(len(problems)) as progress:
        for key, trace in scheduler.run(loops()):
            now = time.monotonic()
            timed, last = msgspec.structs.replace(trace, seconds=now - began.pop(key), wall=now - last), now
            run_.append(timed)
            progress.ended(timed)
    return seen.count > 0


def _widest(problems: Sequence[Problem], policy: Policy) -> int:
    """The most requests that these problems can have side by side: more sequences would only take memory."""
    samples = policy.verify.samples if "consistency" in policy.verify.verifiers else 1
    return len(problems) * max(1, samples)


def _finish(options: argparse.Namespace, run_: Run, traces: list[Trace], file: ProblemFile) -> None:
    """Summary, answers, table."""
    summary = summarize(
        traces, threshold=run_.manifest.policy.verify.threshold, wall_seconds=sum(trace.wall for trace in traces)
    )
    run_.write_summary(summary)
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
