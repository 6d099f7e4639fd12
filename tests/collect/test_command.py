"""`score-local collect` as a user runs it, with a scripted engine in place of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from score_local import prompts
from score_local.collect import collection, conversations
from score_local.collect.collection import Source
from score_local.collect.records import Example
from score_local.commands import collect, collect_engine
from score_local.engine.protocol import Generate, Message, Request
from score_local.engine.scripted import Script, ScriptedEngine
from score_local.errors import EngineError, InputError, PolicyError, RunError, TooLong
from score_local.problem import Problem, selected
from score_local.problem_files import read_problems
from score_local.verifiers.program import PREFIX
from tests.collect import scripted
from tests.collect.scripted import options, question

QUESTIONS: list[dict[str, Any]] = [
    {"id": "q2", "question": question(2, 2), "answer": "4"},
    {"id": "q3", "question": question(3, 3), "answer": "6"},
    {"id": "q9", "question": question(9, 1), "answer": "10"},
    {"id": "open", "question": question(5, 5)},
]
EVERY = ("--feedback-on", "every")
COLLECT = ("questions.jsonl", "--out", "run", "--samples", "4", "--dev-share", "0", *EVERY)


class Engines(list[ScriptedEngine]):
    """The engines that were opened; `script` and `source` may be changed by a test."""

    def __init__(self) -> None:
        super().__init__()
        self.script: Script = scripted.script
        self.source = Source("scripted", "tiny", "0" * 64)

    def open(self) -> ScriptedEngine:
        self.append(ScriptedEngine(self.script))
        return self[-1]

    @property
    def requests(self) -> list[Generate]:
        return [request for engine in self for request in engine.requests if isinstance(request, Generate)]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engines]:
    opened = Engines()
    monkeypatch.setattr(collect_engine, "source_of", lambda _: (opened.source, opened.open))
    monkeypatch.chdir(tmp_path)
    write_questions(QUESTIONS)
    yield opened


def write_questions(questions: list[dict[str, Any]]) -> None:
    Path("questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))


def run(*flags: str) -> int:
    return collect.run(options(*(flags or COLLECT)))


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("run") / name).read_text().splitlines()]


def funnel() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("run/funnel.json").read_text())
    return found


def examples(role: str) -> list[Example]:
    lines = Path(f"run/dataset/{role}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Example) for line in lines]


def test_the_funnel_counts_everything(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1, "a sample failed"
    assert funnel() == {
        "questions": 4,
        "without_gold": 1,
        "samples": 12,
        "labels": {"correct": 5, "incorrect": 5, "unknown": 1, "failed": 1},
        "with_right": 2,
        "with_right_and_wrong": 1,
        "pairs": 2,
        "critiques": 2,
        "rules": {"calls every step correct": 1},
        "corrections": 1,
        "prompt": {},
        "kept": 1,
        "exported": {
            "refiner": {"train": 1, "dev": 0},
            "verifier": {"train": 4, "dev": 0},
            "solver": {"train": 2, "dev": 0},
            "programmer": {"train": 0, "dev": 0},
        },
        "programs": {},
        "generated": funnel()["generated"],
    }
    assert all(count > 0 for stage, count in funnel()["generated"].items() if stage != "programs")
    told = capsys.readouterr()
    assert "1 questions without a gold answer are left out: open" in told.err
    table = {line[:44].strip(): line[44:].split() for line in told.out.splitlines()}
    assert table["samples"] == ["12"] and table["correct"] == ["5", "41.7%"]
    assert table["calls every step correct"] == ["1", "50.0%"]
    assert table["critiques with a right correction"] == ["1", "50.0%"]


def test_labels_keep_the_first_wrong_step(engines: Engines) -> None:
    run()
    labels = {row["id"]: row for row in rows("labels.jsonl")}
    assert [labels[f"q2/{i}"]["label"] for i in range(4)] == ["correct", "incorrect", "incorrect", "unknown"]
    assert [labels[f"q2/{i}"]["arithmetic_step"] for i in range(4)] == [None, 1, 1, None]
    assert list(labels) == sorted(labels), "in the order of the questions, not in that of the replies"
    (kept,) = [row for row in rows("judged.jsonl") if not row["reason"]]
    assert kept["critique_step"] == 1 and kept["critique"].startswith("Step 1 is the first wrong step. Counting on")


def test_seeds_belong_to_problem_and_sample(engines: Engines) -> None:
    run()
    samples = rows("samples.jsonl")
    assert len({row["seed"] for row in samples}) == len(samples) == 12
    sampling = next(request.sampling for request in engines.requests if request.phase == "sample")
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.7, 0.95, 512), "SCORE's"
    assert {r.sampling.temperature for r in engines.requests if r.phase == "refine"} == {0.0}


def test_the_hint_is_seen_by_the_critic_alone(engines: Engines) -> None:
    run()
    hinted = [
        r for r in engines.requests if r.messages[0].content == conversations.critique_opening("number")[0].content
    ]
    assert len(hinted) == 2 and all("Adding gives 2 + 2 = 4." in r.messages[-1].content for r in hinted)
    (corrected,) = [r for r in engines.requests if r.phase == "refine" and r not in hinted]
    assert "2 + 2 = 4" not in "".join(message.content for message in corrected.messages)


def test_examples_are_the_conversations_of_run_time(engines: Engines) -> None:
    run()
    wrong = Message("assistant", str(scripted.solution(2, 2, 1)))
    asked = prompts.solve_messages(Problem("q2", question(2, 2), "4"))
    (refiner,) = examples("refiner")
    assert refiner.id == "q2/1+0" and refiner.problem == "q2"
    assert [(t.role, t.content) for t in refiner.messages] == [
        (m.role, m.content) for m in prompts.refine_messages((*asked, wrong))
    ]
    critique, solution = prompts.split_refinement(refiner.target)
    assert critique.startswith("Step 1 is the first wrong step. Counting on from 2 by 2 does not lead there.")
    assert solution == scripted.solution(2, 2, 0)
    verifier = {example.id: example for example in examples("verifier")}
    assert [(verifier[key].target, verifier[key].meta["incorrect"]) for key in ("q2/0", "q2/1")] == [
        ("Yes", False),
        ("No", True),
    ]
    assert verifier["q2/1"].meta["wrong_step"] == 1
    assert [turn.content for turn in verifier["q2/1"].messages[-2:]] == [wrong.content, prompts.text("verify")]
    assert {example.target for example in examples("solver")} == {
        scripted.solution(2, 2, 0),
        scripted.solution(3, 3, 0),
    }


def test_the_card_tells_what_the_dataset_is_made_of(engines: Engines) -> None:
    run()
    card = json.loads(Path("run/dataset/dataset.json").read_text())
    assert card["prompts"] == prompts.fingerprint() and card["model"]["model"] == "tiny" and card["seed"] == 0
    assert card["funnel"] == funnel()
    for name, file in card["files"].items():
        content = (Path("run/dataset") / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert content.count(b"\n") == sum(file["examples"].values())


def test_stages_run_alone_and_together_give_the_same(engines: Engines, tmp_path: Path) -> None:
    run()
    for stage in ("sample", "label", "pair", "critique", "rules", "prompt", "export"):
        run(
            "questions.jsonl",
            "--out",
            "single",
            "--samples",
            "4",
            "--dev-share",
            "0",
            "--resume",
            "--stage",
            stage,
            *EVERY,
        )
    for name in ("labels.jsonl", "pairs.jsonl", "judged.jsonl", "accepted.jsonl", "dataset/refiner.jsonl"):
        assert (Path("single") / name).read_bytes() == (Path("run") / name).read_bytes(), name


def test_a_stage_asks_for_the_one_before_it(engines: Engines) -> None:
    with pytest.raises(RunError, match=r"run: has no pairs\.jsonl yet\. Run the stage first: --stage pair"):
        run(*COLLECT, "--stage", "critique")
    assert not engines


def test_resume_asks_only_for_what_is_missing(engines: Engines) -> None:
    run()
    asked = len(engines.requests)
    engines.script = lambda request: "Step 1: 9 + 1 = 10\n\\boxed{10}"
    assert run(*COLLECT, "--resume") == 0
    again = engines.requests[asked:]
    assert next(request.phase for request in again) == "sample", "the one that had failed"
    assert funnel()["labels"] == {"correct": 6, "incorrect": 5, "unknown": 1}
    opened = len(engines)
    assert run(*COLLECT, "--resume") == 0 and len(engines) == opened, "nothing left: no model is loaded"


def test_export_twice_gives_the_same_bytes(engines: Engines) -> None:
    run()
    before = {path.name: path.read_bytes() for path in Path("run/dataset").iterdir()}
    run(*COLLECT, "--resume", "--stage", "export")
    assert {path.name: path.read_bytes() for path in Path("run/dataset").iterdir()} == before
    assert sorted(before) == ["dataset.json", "programmer.jsonl", "refiner.jsonl", "solver.jsonl", "verifier.jsonl"]


def test_questions_may_be_added(engines: Engines) -> None:
    run(*COLLECT, "--limit", "1")
    assert funnel()["questions"] == 1
    run(*COLLECT, "--resume")
    assert funnel()["questions"] == 4 and funnel()["samples"] == 12


def test_questions_may_be_a_random_sample(engines: Engines) -> None:
    run(*COLLECT, "--limit", "2", "--shuffle", "3")
    drawn = selected(read_problems("questions.jsonl").problems, 2, shuffle=3)
    assert {row["problem"] for row in rows("samples.jsonl")} == {problem.id for problem in drawn}


def test_a_changed_question_is_refused(engines: Engines) -> None:
    run()
    write_questions([QUESTIONS[0] | {"answer": "5"}])
    with pytest.raises(RunError, match=r"1 questions differ from those of this collection, the first is 'q2'"):
        run(*COLLECT, "--resume")


def test_a_collection_is_not_begun_over(engines: Engines) -> None:
    run()
    with pytest.raises(RunError, match=r"run: holds a collection already.*--resume"):
        run()


@pytest.mark.parametrize("named", ["settings", "source", "prompts", "asks"])
def test_a_changed_manifest_is_refused(engines: Engines, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    run()
    opened = len(engines)
    flags: tuple[str, ...] = ()
    if named == "settings":
        flags = ("--seed", "7")
    elif named == "source":
        engines.source = Source("scripted", "another")
    else:
        module = prompts if named == "prompts" else conversations
        monkeypatch.setattr(module, "fingerprint", lambda: "other")
    with pytest.raises(RunError, match=f"made with another {named}"):
        run(*COLLECT, "--resume", *flags)
    assert len(engines) == opened


PROGRAMS = ("questions.jsonl", "--out", "run", "--programs", "4", "--dev-share", "0", "--resume")


def test_programs_need_no_solutions(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*PROGRAMS, "--stage", "program") == 1, "one failed"
    assert funnel()["programs"] == {"correct": 5, "incorrect": 5, "unknown": 1, "failed": 1}
    asked = len(engines.requests)
    assert {request.adapter for request in engines.requests} == {None}
    assert {request.sampling.temperature for request in engines.requests} == {0.7}, "as samples are drawn"

    engines.script = lambda request: f"{PREFIX}    return 9 + 1\n"
    assert run(*PROGRAMS, "--stage", "program") == 0 and len(engines.requests) == asked + 1, "the one that had failed"
    assert run(*PROGRAMS, "--stage", "export") == 0
    found = examples("programmer")
    assert [(e.id, e.target, e.meta["value"]) for e in found] == [
        ("q2/0", "    return 2 + 2 + 0\n```", "4"),
        ("q3/0", "    return 3 + 3 + 0\n```", "6"),
        ("q9/2", "    return 9 + 1\n```", "10"),
    ], "right ones, each text once"
    assert all(e.prefix == PREFIX and e.messages[-1].content.startswith("What is") for e in found)
    assert "programmer examples (3 train, 0 dev)" in capsys.readouterr().out


def test_programs_are_a_stage_of_all(engines: Engines) -> None:
    assert run(*COLLECT, "--programs", "2") == 1
    assert funnel()["programs"] == {"correct": 3, "incorrect": 3}
    assert funnel()["exported"]["programmer"] == {"train": 2, "dev": 0} and funnel()["exported"]["refiner"]["train"]


def test_other_words_for_the_programmer_are_taken_until_it_was_asked(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*COLLECT, "--programs", "1", "--resume")
    run(*flags, "--stage", "sample")
    monkeypatch.setattr(collection, "program_prompts", lambda: "other")
    run(*flags, "--stage", "program")
    monkeypatch.setattr(collection, "program_prompts", lambda: "yet another")
    with pytest.raises(RunError, match="made with another program_prompts"):
        run(*flags, "--stage", "program")


def test_other_words_for_the_critic_are_taken_until_it_was_asked(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*COLLECT, "--stage", "sample")
    monkeypatch.setattr(conversations, "fingerprint", lambda: "other")
    assert run(*COLLECT, "--resume") == 1 and funnel()["critiques"] == 2, "a sample failed, nothing else"
    assert json.loads(Path("run/manifest.json").read_text())["asks"] == "other"


def test_the_first_wrong_step_is_named_by_default(engines: Engines) -> None:
    def script(request: Request) -> str | EngineError:
        if request.phase == "sample":
            return scripted.script(request)
        assert isinstance(request, Generate)
        return (
            f"{request.prefix} 2 + 2 = 4, for so it is."
            if "How it goes right" in request.messages[-1].content
            else (f"{request.prefix}\\boxed{{4}}")
        )

    engines.script = script
    run("questions.jsonl", "--out", "run", "--samples", "4", "--dev-share", "0")
    assert funnel()["rules"] == {} and funnel()["kept"] == 2
    assert {example.target for example in examples("refiner")} == {
        "Critique: Step 1 is the first wrong step. It should be 2 + 2 = 4, for so it is.\n"
        "Corrected solution:\nStep 1: 2 + 2 = 4, for so it is.\n\\boxed{4}"
    }
    assert all(example.meta["wrong_step"] == 1 for example in examples("refiner"))


def test_a_refiner_may_learn_the_right_solution_of_the_pair(engines: Engines) -> None:
    """Where the model did not follow its own critique to the right answer, and on request only."""
    engines.script = lambda r: "Step 1: so\n\\boxed{7}" if "again" in r.messages[-1].content else scripted.script(r)
    run()
    assert funnel()["prompt"] == {"not the gold answer": 1} and not examples("refiner")
    run(*COLLECT, "--resume", "--stage", "export", "--corrections", "paired")
    (refiner,) = examples("refiner")
    critique, solution = prompts.split_refinement(refiner.target)
    assert critique.startswith("Step 1 is the first wrong step.") and solution == scripted.solution(2, 2, 0)


def test_a_damaged_manifest_is_one_line(engines: Engines) -> None:
    run()
    Path("run/manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        run(*COLLECT, "--resume")


def test_no_gold_answer_at_all(engines: Engines) -> None:
    write_questions([{"question": "Why?"}, {"question": "How?"}])
    with pytest.raises(InputError, match=r"questions\.jsonl: no question has a gold answer"):
        run()
    assert not Path("run").exists() and not engines


def test_no_right_sample_at_all(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    write_questions(QUESTIONS[2:3])
    with pytest.raises(
        RunError, match=r"none of 4 samples is right, so there is nothing to learn from. Raise --samples"
    ):
        run()
    assert funnel()["labels"] == {"incorrect": 3, "failed": 1}
    assert "questions with a right sample" in capsys.readouterr().out
    assert not Path("run/dataset").exists()


def test_an_engine_that_only_fails_is_a_lost_cause(engines: Engines) -> None:
    write_questions([{"id": f"q{a}", "question": question(a, 1), "answer": str(a + 1)} for a in range(10, 40)])
    engines.script = lambda request: EngineError("the server has gone")
    with pytest.raises(RunError, match=r"20 questions failed one after another, the last: the server has gone"):
        run()
    assert 20 <= len(rows("samples.jsonl")) < 30 * 4, "what failed is there, and will be tried again"


def test_some_questions_that_are_too_long_are_none(engines: Engines) -> None:
    long = [{"id": f"long{i}", "question": f"{question(i, 1)} too long", "answer": "1"} for i in range(10, 18)]
    write_questions([*long, *QUESTIONS])
    answer = engines.script
    engines.script = lambda asked: TooLong("it is") if "too long" in asked.messages[-1].content else answer(asked)
    assert run() == 1
    assert funnel()["labels"]["failed"] >= 8 * 4 and funnel()["labels"]["correct"] > 0


def test_a_faulty_line_is_told_and_the_others_go_on(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("questions.jsonl").open("a") as file:
        file.write("{broken\n")
    assert run() == 2 and funnel()["questions"] == 4
    assert "questions.jsonl:5: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--dev-share", "2"), r"dev_share`\. Check --dev-share$"),
        (("--temperature", "-1"), r"temperature`\. Check --temperature$"),
        (("--temperature", "inf"), r"<= 100.*temperature`\. Check --temperature$"),
        (("--temperature", "nan"), r"temperature`\. Check --temperature$"),
        (("--samples", "3", "--max-tokens", "9", "--temperature", "101"), r"temperature`\. Check --temperature$"),
    ],
)
def test_a_bad_setting_is_refused_before_all_else(engines: Engines, flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        run("questions.jsonl", "--out", "run", *flags)
    assert not Path("run").exists()


def test_a_failed_critique_and_a_failed_correction_are_counted(engines: Engines) -> None:
    def fails_late(request: Request) -> str | EngineError:
        return scripted.script(request) if request.phase == "sample" else EngineError("broken")

    engines.script = fails_late
    assert run() == 1 and funnel()["rules"] == {"failed": 2}
    engines.script = lambda r: EngineError("broken") if "again" in r.messages[-1].content else scripted.script(r)
    assert run(*COLLECT, "--resume") == 1
    assert funnel()["rules"] == {"calls every step correct": 1} and funnel()["prompt"] == {"failed": 1}
    assert funnel()["exported"]["refiner"] == {"train": 0, "dev": 0}
