"""What crosses between candidate and tests, through two real processes."""

from __future__ import annotations

import pytest

from evalsuite.sandbox import Case, Outcome, Sandbox


def run(sandbox: Sandbox, program: str, tests: str, **more: object) -> Outcome:
    return sandbox.run(Case(program, tests, **more))  # type: ignore[arg-type]


VALUES = """
nan = float("nan")
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
values = [None, True, False, 0, -1, 2**70, -10**3000, 0.1, -0.0, 1e308, float("inf"), 1+2j, "",
    "ä\\ud800", b"\\x00\\xff", bytearray(b"xy"), (), (1,), [], [1, [2, (3, {4})]], {1, "a", (2, 3)},
    frozenset({1}), {(1, 2): [3], None: {}, 1.5: "x"}, Ellipsis, range(1, 10, 2), slice(1, None, 2),
    int, ValueError,
    Counter("aab"), OrderedDict([(2, 1), (1, 2)]), defaultdict(list, {1: [2]}), deque([1, 2], 5),
    array("d", [1.5]), date(2020, 1, 2), timedelta(1, 2), Decimal("1.10"), Fraction(1, 3)]
for value in values:
    back = same(value)
    assert type(back) is type(value) and back == value and repr(back) == repr(value), (value, back)
assert str(same(nan)) == "nan"
"""


def test_values_come_back_as_they_went(any_sandbox: Sandbox) -> None:
    program = "import datetime, decimal, fractions\ndef same(x): return x"
    outcome = run(any_sandbox, program, VALUES)
    assert outcome.passed, outcome


CASES = {
    "arguments that were changed": (
        "def f(a, b, c, *, d):\n    a.sort(); b['x'] = a; c.clear(); d.pop(); return None",
        "a, b, c, d = [3, 1], {}, {1}, bytearray(b'xy')\nf(a, b, c, d=d)\n"
        "assert a == [1, 3] and b['x'] is a and c == set() and d == b'x'",
    ),
    "a changed list inside a tuple": (
        "def f(t):\n    t[0].append(t[1])",
        "inner = [1]\nf((inner, inner))\nassert inner[0] == 1 and inner[1] is inner",
    ),
    "the argument itself comes back": (
        "def f(x):\n    x.append(1)\n    return x",
        "x = []\nassert f(x) is x and x == [1]",
    ),
    "shared and cyclic lists": (
        "def f():\n    a = [1]\n    b = [a, a]\n    b.append(b)\n    return b",
        "b = f()\nassert b[0] is b[1] and b[2] is b",
    ),
    "built-in exceptions": (
        "class Mine(KeyError): pass\ndef f(x):\n    if x: raise Mine('k', 3)\n    return 1 / x",
        "for x, kind in ((1, KeyError), (0, ZeroDivisionError)):\n"
        "    try: f(x)\n    except kind as e: assert x == 0 or e.args == ('k', 3)\n"
        "    else: assert 0",
    ),
    "generators and iterators": (
        "def f(n):\n    for i in range(n): yield i\ndef g(x): return map(str, x)",
        "assert list(f(3)) == [0, 1, 2] and tuple(g([1])) == ('1',) and next(f(10**9)) == 0",
    ),
    "closures, classes and methods": (
        "class P:\n    def __init__(self, x): self.x = x\n    def twice(self): return 2 * self.x\n"
        "def adder(n): return lambda x: x + n",
        "p = P(4)\nassert p.x == 4 and p.twice() == 8 and isinstance(p, P)\np.x = 5\n"
        "assert p.twice() == 10 and adder(2)(3) == 5",
    ),
    "functions of the tests": (
        "def f(g, x): return [g(y) for y in x]",
        "seen = []\ndef g(y):\n    seen.append(y)\n    return -y\n"
        "assert f(g, [1, 2]) == [-1, -2] and seen == [1, 2] and f(lambda y: y, (3,)) == [3]",
    ),
    "an exception out of the tests' function": (
        "def f(g):\n    try: g()\n    except ValueError: return 'caught'",
        "def g(): raise ValueError\nassert f(g) == 'caught'",
    ),
    "named tuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f() == (1, 2) and f().y == 2",
    ),
    "subclasses are their data": (
        "class L(list):\n    def __eq__(self, other): return True\ndef f(): return L([1])",
        "assert f() == [1] and f() != [2]",
    ),
    "dataclasses": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass D:\n    x: int\ndef f(): return D(3)",
        "assert f().x == 3",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def f(x):\n    with ThreadPoolExecutor(3) as pool: return list(pool.map(abs, x))",
        "assert f([-1, 2]) == [1, 2]",
    ),
    "files of its own": (
        "import os, shutil, tempfile\ndef f():\n    with open('a', 'w') as file: file.write('b')\n"
        "    os.mkdir('c'); os.rename('a', 'b'); shutil.move('b', 'c/a')\n"
        "    with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "    return open('c/a').read()",
        "assert f() == 'b'",
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10000)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)",
        "assert f(5000) == 5000",
    ),
    "the wider standard library": (
        "import hashlib, sqlite3, statistics, json, codecs, string, functools, bisect, zoneinfo\n"
        "def f(): return codecs.encode('ab', 'rot13') + hashlib.md5(b'').hexdigest()[:2]",
        "assert f() == 'nod4'",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_crosses(name: str, any_sandbox: Sandbox) -> None:
    outcome = run(any_sandbox, *CASES[name])
    assert outcome.passed, outcome


def test_helpers_are_the_tests_own(any_sandbox: Sandbox) -> None:
    helpers = "def helper(x): return x\ndef f(x): ..."
    program = "def helper(x): return 7\ndef f(x): return 7"
    tests = "assert f(1) == 7 and helper(3) == 3"
    assert run(any_sandbox, program, tests, helpers=helpers, names=("f",)).passed


def test_a_named_function_may_be_named_as_a_built_in(any_sandbox: Sandbox) -> None:
    program = "def sum(a, b): return a + b"
    assert run(any_sandbox, program, "assert sum(1, 2) == 3", names=("sum",)).passed
    # Without being named, Python's own stays.
    assert run(any_sandbox, program, "assert sum([1, 2]) == 3").passed


@pytest.mark.parametrize(
    ("tests", "helpers", "told"),
    [("assert f(1) ==", "", "SyntaxError"), ("assert f(1)", "1 / 0", "ZeroDivisionError"),
     ("import math\nf(math)", "", "module")],
    ids=["tests", "helpers", "unsendable"],
)  # fmt: skip
def test_faulty_tests_are_no_wrong_answer(
    any_sandbox: Sandbox, tests: str, helpers: str, told: str
) -> None:
    outcome = run(any_sandbox, "def f(x): return x", tests, helpers=helpers)
    assert outcome.status == "infra_error"
    assert told in outcome.detail


def test_a_failure_names_its_line(any_sandbox: Sandbox) -> None:
    outcome = run(any_sandbox, "def f(x): return x", "assert f(1) == 1\nassert f(1) == 2, 'two'")
    assert outcome.detail == "AssertionError: two (line 2 of the tests)"


def test_the_tests_objects_show_no_frames(any_sandbox: Sandbox) -> None:
    program = """
def f(g, o):
    out = []
    for target, name in (
        (g, "__globals__"), (o, "_secret"), (o.method, "__globals__"), (o, "__class__")
    ):
        try:
            type(target).__getattr__(target, name)
        except Exception:
            out.append("held")
    return out + [o.public]
"""
    tests = """
class O:
    public, _secret = 1, 2
    def method(self): pass
assert f(lambda: 0, O()) == ["held"] * 4 + [1]
"""
    outcome = run(any_sandbox, program, tests)
    assert outcome.passed, outcome
