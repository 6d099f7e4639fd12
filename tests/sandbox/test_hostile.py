"""Programs that mean harm: none gets a value out that it should not have, none takes longer than its limit, and the
sandbox serves the next one as if nothing had been."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from score_local.sandbox.confinement import SECONDS
from score_local.sandbox.pool import Sandbox

ASLEEP = 1.5  # seconds that a busy machine may add to a limit
ENDS = {"timeout", "memory", "error"}

# (what it is, the whole program or only the body of its function, how it may end)
HOSTILE = [
    ("fork bomb", "import os\ndef solution():\n    while True: os.fork()", {"forbidden"}),
    ("subprocess", "import subprocess\ndef solution(): return subprocess.getoutput('id')", {"forbidden"}),
    ("threads", "from threading import Thread\ndef solution(): return 1", {"forbidden"}),
    ("memory bomb: text", "return len('a' * 10**12)", {"memory"}),
    ("memory bomb: doubling", "a = [0]\n    while True: a = a + a", {"memory", "timeout"}),
    ("memory bomb: many lists", "a = []\n    while True: a.append([0] * 10**6)", {"memory", "timeout"}),
    ("memory bomb: set", "return len(set(range(10**10)))", ENDS),
    ("memory bomb: f-string width", "return f'{1:>10000000000}'", {"memory", "error"}),
    ("memory bomb: format width", "return format(1, '10000000000d')", {"memory", "error"}),
    ("memory bomb: percent width", "return '%10000000000d' % 1", {"memory", "error"}),
    ("endless loop", "while True: pass", {"timeout"}),
    ("endless loop in C", "return sum(iter(int, 1))", {"timeout"}),
    ("endless generator", "return max(x for x in iter(int, 1))", {"timeout"}),
    ("reading a file", "return open('/etc/passwd').read()", {"forbidden"}),
    ("reading a file by import", "import pathlib\ndef solution(): return pathlib.Path('/').name", {"forbidden"}),
    ("reading the environment", "import os\ndef solution(): return str(os.environ)", {"forbidden"}),
    ("a socket", "import socket\ndef solution(): return socket.create_connection(('127.0.0.1', 80))", {"forbidden"}),
    ("a request", "import urllib.request\ndef solution(): return 1", {"forbidden"}),
    ("class chain", "return ().__class__.__base__.__subclasses__()", {"forbidden"}),
    ("class chain through a literal", "return [c for c in {}.__class__.__mro__]", {"forbidden"}),
    ("method resolution without underscores", "return int.mro()", {"forbidden"}),
    ("format reads attributes", "return '{0.__class__}'.format(1)", {"forbidden"}),
    ("format_map reads attributes", "return '{a.__class__}'.format_map({'a': 1})", {"forbidden"}),
    ("format taken from the type", "f = str.format\n    return f('{0.__class__}', 1)", {"forbidden"}),
    ("format mapped", "return list(map(str.format, ['{0.__class__}'], [1]))", {"forbidden"}),
    ("f-string attribute", "return f'{(1).__class__}'", {"forbidden"}),
    ("huge power of powers", "return 9**9**9", {"timeout", "memory"}),
    ("huge power", "return 10**10**8", {"timeout", "memory"}),
    ("huge power by pow", "return pow(7, 10**9)", {"timeout", "memory"}),
    ("huge shift", "return 1 << 10**12", {"memory", "error"}),
    ("huge integer as text", "return 10**100000", {"error"}),
    ("huge literal", "return " + "9" * 9000, {"syntax", "error", "value"}),
    ("factorial", "import math\ndef solution(): return math.factorial(10**7)", {"timeout", "memory"}),
    ("binomial", "import math\ndef solution(): return math.comb(10**7, 10**6)", {"timeout", "memory"}),
    ("fraction that grows", "from fractions import Fraction as F\ndef solution(f=F(1, 3)):\n    while 1: f *= f", ENDS),
    ("decimal power", "from decimal import Decimal\ndef solution(): return Decimal(10) ** Decimal(10)**30", ENDS),
    ("sorting without end", "return sorted(range(10**8), key=lambda x: -x)", {"timeout", "memory"}),
    ("output flood", "while True: print('x' * 1000)", {"timeout"}),
    ("one enormous line", "print('x' * 10**8)", {"value", "memory"}),
    ("enormous value", "return 'x' * 10**7", {"value"}),
    ("printing to another file", "import sys\ndef solution(): print('x', file=sys.stderr)", {"forbidden"}),
    ("enormous message", "return {}['a' * 10**7]", {"error", "memory"}),
    ("enormous assertion", "assert False, 'a' * 10**7", {"error", "memory"}),
    ("message of many lines", "return int('a\\n' * 5000)", {"error"}),
    ("recursion bomb", "def f(n): return f(n + 1)\n    return f(0)", {"error"}),
    ("recursion through C", "f = lambda x: sorted([x, x], key=f)\n    return f(1)", {"error"}),
    ("deep data", "a = []\n    while True: a = [a]", {"timeout", "memory"}),
    ("deep data compared", "a, b = [], []\n    for _ in range(10**5): a, b = [a], [b]\n    return a == b", {"error"}),
    ("deep parentheses", "return " + "(" * 4000 + ")" * 4000, {"syntax", "memory"}),
    ("deep minus signs", "return " + "-" * 9000 + "1", {"syntax", "memory", "error"}),
    ("deep lambdas", "return " + "lambda: " * 1000 + "1", {"syntax", "memory", "error"}),
    ("long sum", "return " + "+".join("1" * 4000), {"value", "syntax", "memory", "error"}),
    ("null byte", "return 1\x00", {"syntax"}),
    ("half a surrogate", "return '\ud800'", {"syntax", "value"}),
    ("no syntax", "return return", {"syntax"}),
    ("eval", "return eval('1')", {"forbidden"}),
    ("exec", "exec('x = 1')", {"forbidden"}),
    ("compile", "return compile('1', '', 'eval')", {"forbidden"}),
    ("getattr", "return getattr(1, '_' + '_class_' + '_')", {"forbidden"}),
    ("globals", "return globals()", {"forbidden"}),
    ("vars", "return vars()", {"forbidden"}),
    ("type", "return type(1)", {"forbidden"}),
    ("object", "return object()", {"forbidden"}),
    ("input", "return input()", {"forbidden"}),
    ("breakpoint", "breakpoint()", {"forbidden"}),
    ("the builtins by name", "return __builtins__['eval']", {"forbidden"}),
    ("own __import__", "def __import__(*a): return 1\ndef solution(): return 1", {"forbidden"}),
    ("own __builtins__", "__builtins__ = {}\ndef solution(): return 1", {"forbidden"}),
    ("import of a dunder", "return __import__('os')", {"forbidden"}),
    ("import under another name", "import os as math\ndef solution(): return math.getcwd()", {"forbidden"}),
    ("import of a part", "from math import __loader__\ndef solution(): return 1", {"forbidden"}),
    ("import of everything", "from os import *\ndef solution(): return pi", {"forbidden"}),
    ("relative import", "from . import nursery\ndef solution(): return 1", {"forbidden"}),
    ("import of the sandbox", "import score_local.sandbox\ndef solution(): return 1", {"forbidden"}),
    ("what a module imported", "import datetime\ndef solution(): return datetime.sys", {"forbidden"}),
    ("a module as a value", "import math\ndef solution(): return [math][0].pi", {"forbidden"}),
    ("generator's frame", "return (x for x in [1]).gi_frame.f_globals", {"forbidden"}),
    ("function's globals", "return solution.__globals__", {"forbidden"}),
    ("function's code", "return (lambda: 1).__code__", {"forbidden"}),
    ("a decorator", "@print\ndef solution(): return 1", {"forbidden"}),
    ("lambda's default argument", "return (lambda x=().__class__: x)()", {"forbidden"}),
    ("argument's annotation", "def solution(x: eval('1') = 1): return x", {"forbidden"}),
    ("setting an attribute", "solution.x = 1", {"forbidden"}),
    ("deleting", "x = 1\n    del x", {"forbidden"}),
    ("a class", "class A: pass\ndef solution(): return A", {"forbidden"}),
    ("metaclass keyword", "class A(metaclass=print): pass\ndef solution(): return 1", {"forbidden"}),
    ("raising SystemExit", "raise SystemExit(0)", {"forbidden"}),
    ("sys.exit", "import sys\ndef solution(): sys.exit(0)", {"forbidden"}),
    ("exit", "exit()", {"forbidden"}),
    ("catching everything", "while True:\n        try: pass\n        except: pass", {"forbidden"}),
    ("traceback's frame", "try: 1/0\n    except Exception as e: return e.__traceback__.tb_frame", {"forbidden"}),
    ("context manager", "with 1: pass", {"forbidden"}),
    ("yielding", "yield 1", {"forbidden"}),
    ("coroutine", "async def solution(): return 1", {"forbidden"}),
    ("class pattern", "match 1:\n        case int(real=r): return r", {"forbidden", "syntax"}),
    ("codec import", "return 'a'.encode('idna')", {"forbidden"}),
    ("date out of range", "import datetime\ndef solution(): return datetime.date(10**9, 1, 1)", {"error"}),
    ("date arithmetic overflow", "import datetime as d\ndef solution(): return d.date.max + d.timedelta(1)", {"error"}),
    ("date width", "import datetime as d\ndef solution(): return d.date.max.strftime('%99999999d')", ENDS | {"value"}),
    ("sympy reads text with eval", "import sympy\ndef solution(): return sympy.sympify('1')", {"forbidden"}),
    ("sympy reads text in simplify", "import sympy\ndef solution(): return sympy.simplify('print(1)')", {"error"}),
    ("sympy reads text in S", "from sympy import S\ndef solution(): return S('print(1)')", {"error"}),
    ("sympy reads text in solve", "from sympy import solve\ndef solution(): return solve('x - print(1)')", {"error"}),
    ("sympy compiles", "from sympy import lambdify\ndef solution(): return 1", {"forbidden"}),
    ("sympy's modules", "import sympy\ndef solution(): return sympy.core.sympify", {"forbidden"}),
    ("sympy without end", "from sympy import factorint\ndef solution(): return factorint(2**521 * 3**300 + 1)", ENDS),
]  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(workers=1)
    # SymPy is imported once, by the helper itself: that is not the programs' time.
    made.run("import sympy\ndef solution(): return 1")
    yield made
    made.close()


def program(text: str) -> str:
    return text if "def solution(" in text else f"def solution():\n    {text}\n"


@pytest.mark.parametrize(("name", "text", "ends"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile(sandbox: Sandbox, name: str, text: str, ends: set[str]) -> None:
    began = time.monotonic()
    ran = sandbox.run(program(text))
    assert time.monotonic() - began < SECONDS + ASLEEP, name
    assert ran.outcome in ends, f"{name}: {ran}"
    assert len(ran.text) <= 600 and "\n" not in ran.text, f"{name}: one short line"
    assert sandbox.run("def solution():\n    return 6 * 7").value == "42", f"after {name}"
