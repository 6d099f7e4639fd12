"""Kind "expression": extraction, equality through Math-Verify, and a comparison that never ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_local.answers import equal, expression, extract
from score_local.answers.process import Worker

ROOT = Path(__file__).parent.parent.parent
ENDLESS = "9^{9^{9^{9}}}"

EXTRACTIONS = [
    (r"\boxed{x^2 + 1}", "x^2 + 1", "a box"),
    ("\\boxed{x^2\n +  1}", "x^2 + 1", "white space is made even"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "escaped braces are not counted"),
    (r"\boxed{\frac{\sqrt{3}}{2}}", r"\frac{\sqrt{3}}{2}", "nested braces"),
    (r"\boxed{\frac{1}{2}}", "0.5", "a plain number votes with its other spellings"),
    (r"\boxed{50\%}", r"50\%", "but a percent sign means something here"),
    (r"$x = \boxed{2}$ or $\boxed{3}$", "2, 3", "two boxes are a list"),
    (r"The answer is $x^2 + 1$.", "x^2 + 1", "a formula in a phrase"),
    (r"The answer is \(x^2\) for all x.", "x^2", "the one formula of a sentence"),
    ("Final answer: 2x + 1", "2x + 1", "no mark-up at all"),
    ("The answer is 2x, since y = 0.", "2x", "the reason and its comma go"),
    ("#### x + 1\nI hope this answer is helpful.", "x + 1", "what is said of the answer is none"),
    ("The answer is x + 1. The right choice is clear.", "x + 1", "nor is what is said of a choice"),
    ("The answer is correct.", "correct", "unless nothing else is"),
    ("The answer is not possible.", "not possible", "a word that is no denial of an expression"),
    (r"\boxed{x^2", None, "cut off"),
    ("x^2 + 1", None, "no statement"),
    (r"\boxed{" + "x + " * 400 + "1}", None, "no answer is that long"),
]

EQUALITIES = [
    ("x + 1", "x+1", True, "white space"),
    (r"\left(1, 2\right)", "(1,2)", True, "sizes of brackets"),
    ("0.5", r"\frac{1}{2}", True, "plain numbers"),
    ("2", "3", False, "plain numbers"),
    ("1 1/2", r"\frac{3}{2}", True, "a mixed number"),
    ("5", "5 eggs", True, "a unit in words"),
    ("6", "5 years old", False, "another number"),
    (r"5\text{ eggs}", "5 eggs", True, "the same unit as LaTeX"),
    ("0", "0 eggs", True, "none of them"),
    ("5", "5 or more", None, "words that change the number"),
    ("1 1/2", "11/2", False, "the space of a mixed number counts"),
    ("3 1/4", "31/4", False, "the space of a mixed number counts"),
    (r"1\,1/2", "11/2", False, "a thin space is one"),
    (r"1\,200", "1200", True, "a thin space of thousands is none"),
    (r"x + 1\,200", "x + 1200", True, "nor within an expression"),
    ("x = 1 1/2", r"x = \frac{3}{2}", True, "a mixed number within an expression"),
    ("x = 1 1/2", "x = 11/2", False, "a mixed number within an expression"),
    ("x = 1 1/2", "x = 1", False, "a mixed number is not its whole part"),
    ("-1 1/2 + x", "x - 3/2", True, "the sign is of the whole mixed number"),
    ("1 200", "1200", None, "an ordinary space may part two numbers"),
    ("1 200", "201", None, "which are not to be added"),
    ("5 6/3", "7", None, "no mixed number"),
    ("1 2", "1  2", True, "the same, whatever it means"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", True, "rows of a matrix"),
    ("(x+1)^2", "x^2 + 2x + 1", True, "algebra"),
    ("(x+1)^2", "x^2 + 1", False, "algebra"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True, "roots"),
    ("x = 5", "5", True, "an assignment, on either side"),
    (r"\{1, 2\}", r"\{2, 1\}", True, "a set has no order"),
    ("(1, 2)", "(2, 1)", False, "a pair has"),
    (r"50\%", "0.5", True, "percent of an expression"),
    (r"\text{even}", r"\text{odd}", False, "words"),
    ("1 + 2i", r"1 + 2 \cdot i", True, "the imaginary unit is one, however it is multiplied"),
    ("i^2", "-1", True, "and no variable"),
    ("(1+i)^2", "2i", True, "and no variable"),
    ("1 + 2i", "2 + i", False, "complex numbers differ"),
    ("i > 1", "i > 2", None, "nor has it an order"),
    (r"\frac{2x}{2}", "x", True, "a letter may be written as a formula"),
    ("x + 1 - 1", "x", True, "a letter may be written as a formula"),
    ("2x", "x", False, "but not as any"),
    ("y + x - x", "x", False, "nor as another letter"),
    ("2x +", "2x", None, "no expression"),
    ("", "", None, "nothing is not equal to nothing"),
    ("x", None, None, "missing"),
    ("x" * 2000, "y", None, "too long to try"),
]

# A program's value (or a model's answer) in Python's syntax, and an answer in LaTeX.
PYTHON = [
    ("x**2", "x^2", True, "a power"),
    ("x**2", "x^3", False, "another power"),
    ("x**2 + 2*x + 1", "(x+1)^2", True, "Math-Verify would keep the 1 of it"),
    ("x**2 + 1", "1", False, "Math-Verify would keep the 1 of it"),
    ("x**10", "x^{10}", True, "an exponent of two digits"),
    ("x**-1", r"\frac{1}{x}", True, "a negative exponent"),
    ("-x**2", "-x^2", True, "the power binds more than the sign"),
    ("(-x)**2", "x^2", True, "but less than brackets"),
    ("x - (y + 1)", "x-y-1", True, "brackets of a sum"),
    ("2**(1/3)", r"\sqrt[3]{2}", True, "a root as a power"),
    ("sqrt(2)/2", r"\frac{\sqrt{2}}{2}", True, "a root"),
    ("sqrt(2)/2", r"\frac{\sqrt{3}}{2}", False, "another root"),
    ("pi/4", r"\frac{\pi}{4}", True, "pi is not p times i"),
    ("2*pi", r"2\pi", True, "pi is not p times i"),
    ("2*theta", r"2\theta", True, "a Greek letter"),
    ("x1 + x2", "x_1 + x_2", True, "an index"),
    ("exp(-x)", "e^{-x}", True, "a function"),
    ("cos(pi/6)", r"\frac{\sqrt{3}}{2}", True, "a function"),
    ("Abs(x)", "|x|", True, "a function"),
    ("log(x, 2)", r"\log_2 x", True, "a logarithm to a base"),
    ("log(x)", r"\log x", None, "one without: to 10, or to e?"),
    ("factorial(5)", "120", True, "a function"),
    ("Rational(1, 3)*x", r"\frac{x}{3}", True, "a fraction"),
    ("1.0*x", "x", True, "a float that is whole"),
    ("1 + 2*I", "1+2i", True, "SymPy's imaginary unit"),
    ("(1+2j)", "1+2i", True, "and Python's"),
    ("(-oo, 3)", r"(-\infty, 3)", True, "infinity"),
    ("x >= 2", r"x \ge 2", True, "a comparison"),
    ("{sqrt(2), 1}", r"\{1, \sqrt{2}\}", True, "a set"),
    ("(1, sqrt(2))", r"(1, \sqrt{2})", True, "a pair"),
    ("sqrt(2), 1", r"1, \sqrt{2}", True, "a list without brackets"),
    ("2*x^2", "2x^2", True, "a mixture of both"),
    ("Interval(0, 1)", "[0, 1]", None, "what is not known here"),
    ("(2 <= x) & (x < 5)", "[2, 5)", None, "what is not known here"),
    ("total**2", "x^2", None, "a name that is no variable of mathematics"),
    ("2*E", "2e", None, "SymPy's e, or a variable"),
    ("even", r"\text{even}", True, "a word is no formula"),
    ("ab(a + b)", "a^2b + ab^2", True, "nor a call"),
    ("(" * 300 + "x*y" + ")" * 300, "xy", None, "more brackets than Python reads"),
]


@pytest.mark.parametrize(("left", "right", "expected", "reason"), PYTHON)
def test_python_syntax(left: str, right: str, expected: bool | None, reason: str) -> None:
    assert equal(left, right, "expression") is expected, reason
    assert equal(right, left, "expression") is expected, reason


@pytest.mark.parametrize(("text", "expected", "reason"), EXTRACTIONS)
def test_extract(text: str, expected: str | None, reason: str) -> None:
    assert extract(text, "expression") == expected, reason


@pytest.mark.parametrize(("left", "right", "expected", "reason"), EQUALITIES)
def test_equality(left: str, right: str | None, expected: bool | None, reason: str) -> None:
    assert equal(left, right, "expression") is expected, reason
    assert equal(right, left, "expression") is expected, reason


@given(st.text())
def test_extraction_never_raises(text: str) -> None:
    extract(rf"\boxed{{{text}", "expression")
    extract(rf"\boxed{{{text}}}", "expression")
    extract(f"The answer is ${text}$", "expression")


@settings(max_examples=25)
@given(st.text(alphabet=r"\{}()[]^_+-=,./x1frac ", max_size=12))
def test_the_worker_survives_any_text(text: str) -> None:
    assert equal(text, "x + 1", "expression") in (True, False, None)
    assert equal(text, text, "expression") in (True, None)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("score_local.answers.worker", cwd=ROOT, limit=2.0)
    yield made
    made.close()


def test_a_comparison_without_end_is_unknown_and_the_next_one_works(worker: Worker) -> None:
    assert expression.equal("x + 1", "1 + x", worker) is True  # started: the limit below is for the comparison alone
    started = time.monotonic()
    assert expression.equal(ENDLESS, "5", worker) is None
    assert time.monotonic() - started < 10
    assert expression.equal("x + 1", "1 + x", worker) is True


def test_a_worker_that_was_killed_is_replaced(worker: Worker) -> None:
    assert expression.equal("x + 1", "1 + x", worker) is True
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert expression.equal("x + 1", "1 + x", worker) is True


def test_threads_share_the_worker(worker: Worker) -> None:
    powers = range(2, 8)
    with ThreadPoolExecutor(6) as pool:
        same = list(pool.map(lambda n: expression.equal(f"x^{n} + y", f"y + x^{n}", worker), powers))
        other = list(pool.map(lambda n: expression.equal(f"x^{n} + y", "y + x", worker), powers))
    assert same == [True] * 6
    assert other == [False] * 6


def test_a_worker_that_cannot_start_is_unknown(tmp_path: Path) -> None:
    assert Worker("no_such_module", cwd=tmp_path).ask({"left": "x", "right": "y"}) is None
    assert Worker("score_local.answers.worker", cwd=tmp_path / "missing").ask({"left": "x", "right": "y"}) is None


def test_a_worker_that_never_gets_ready_is_killed(tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    asleep = Worker("asleep", cwd=tmp_path, start_limit=0.5)
    started = time.monotonic()
    assert asleep.ask({"left": "x", "right": "y"}) is None
    assert time.monotonic() - started < 10


def test_the_worker_ends_with_its_stdin() -> None:
    command = [sys.executable, "-m", "score_local.answers.worker"]
    done = subprocess.run(command, cwd=ROOT, input=b"not json\n", capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"true", b"null"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system limits no processor time")
def test_a_question_that_takes_too_much_of_the_processor_ends_the_worker() -> None:
    code = "from score_local.answers import worker; worker.MAX_SECONDS = 0.3; worker.main()"
    question = json.dumps({"left": ENDLESS, "right": "5"}).encode() + b"\n"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, input=question, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGPROF, [b"true"])


def test_importing_the_package_imports_no_sympy() -> None:
    program = "import sys, score_local.answers; sys.exit('sympy' in sys.modules or 'math_verify' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
