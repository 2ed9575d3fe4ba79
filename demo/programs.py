"""Code: short Python programs whose output is asked for; and all the code items together.

Knows the programs as templates with their results worked out beside them; nothing is executed here.
A program is either the training's or the starter tasks', decided by the literals in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from demo.completions import LISTS, completion
from demo.item import SEED, Item, any_pair_held_out, collect, held_out, words

NUMBERS = words("x y n a b total count size value step")
WORDS = words(
    "lamp stone river paper green cloud table mouse bread chair plant sugar water light "
    "train horse tiger apple grape lemon onion melon salad spoon knife plate glass brush "
    "clock phone radio house roof door wall floor garden street bridge tower castle ship "
    "sail wind storm rain snow frost summer winter spring night day star moon sun earth "
    "fire smoke ash wood leaf root seed flower"
)

WORDINGS = ("What does this program print?", "What is the output of this program?")
UNSEEN_WORDING = "Somebody runs the lines below. What appears?"


@dataclass(frozen=True, slots=True)
class Program:
    kind: str
    text: str
    output: str
    literals: tuple[int | str, ...]

    @property
    def operands(self) -> tuple[int, ...]:
        return tuple(x for x in self.literals if isinstance(x, int))

    @property
    def key(self) -> str:
        """The literals in order: what the training and the starter tasks never share."""
        return ", ".join(map(repr, self.literals))

    @property
    def held_out(self) -> bool:
        return held_out(6, "program", *self.literals)


def _two_numbers(rng: random.Random) -> Program:
    x, y = rng.sample(NUMBERS, 2)
    a, b = rng.randint(2, 15), rng.randint(2, 15)
    op, result = rng.choice((("+", a + b), ("-", a - b), ("*", a * b)))
    return Program("variables", f"{x} = {a}\n{y} = {b}\nprint({x} {op} {y})", str(result), (a, b))


def _update(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 5)
    op, result = rng.choice((("+=", (a + b) * c), ("-=", (a - b) * c)))
    return Program(
        "variables", f"{x} = {a}\n{x} {op} {b}\n{x} *= {c}\nprint({x})", str(result), (a, b, c)
    )


def _swap(rng: random.Random) -> Program:
    x, y = rng.sample(NUMBERS, 2)
    a, b = rng.sample(range(2, 60), 2)
    shown, result = rng.choice(((x, b), (y, a), (f"{x} - {y}", b - a)))
    return Program(
        "variables",
        f"{x} = {a}\n{y} = {b}\n{x}, {y} = {y}, {x}\nprint({shown})",
        str(result),
        (a, b),
    )


def _loop(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, n, k = rng.randint(2, 12), rng.randint(2, 5), rng.randint(2, 6)
    return Program(
        "loops",
        f"{x} = {a}\nfor i in range({n}):\n    {x} += {k}\nprint({x})",
        str(a + n * k),
        (a, n, k),
    )


def _loop_index(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, n = rng.randint(2, 25), rng.randint(2, 5)
    return Program(
        "loops",
        f"{x} = {a}\nfor i in range({n}):\n    {x} += i\nprint({x})",
        str(a + sum(range(n))),
        (a, n),
    )


def _while(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, limit, k = rng.randint(2, 9), rng.randint(15, 40), rng.randint(2, 3)
    result = a
    while result < limit:
        result *= k
    return Program(
        "loops",
        f"{x} = {a}\nwhile {x} < {limit}:\n    {x} *= {k}\nprint({x})",
        str(result),
        (a, limit, k),
    )


def _list(rng: random.Random) -> Program:
    v = rng.choice(LISTS)
    values = [rng.randint(2, 20) for _ in range(rng.randint(3, 4))]
    i = rng.randrange(1, len(values))
    shown, result, extra = rng.choice(
        (
            (f"{v}[{i}]", values[i], (i,)),
            (f"{v}[-{i}]", values[-i], (i,)),
            (f"{v}[:{i}]", values[:i], (i,)),
            (f"{v}[{i}:]", values[i:], (i,)),
            (f"max({v})", max(values), ()),
            (f"min({v})", min(values), ()),
            (f"len({v})", len(values), ()),
            (f"sorted({v})", sorted(values), ()),
            (f"{v}[::-1]", values[::-1], ()),
            (f"{v}[0] + {v}[-1]", values[0] + values[-1], ()),
        )
    )
    return Program("lists", f"{v} = {values}\nprint({shown})", str(result), (*values, *extra))


def _filter(rng: random.Random) -> Program:
    v = rng.choice(LISTS)
    values = [rng.randint(2, 20) for _ in range(3)]
    k = rng.randint(5, 15)
    return Program(
        "lists",
        f"{v} = {values}\nprint([x for x in {v} if x > {k}])",
        str([x for x in values if x > k]),
        (*values, k),
    )


def _condition(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, b = rng.sample(range(2, 50), 2)
    yes, no = rng.sample(("big", "small", "yes", "no", "left", "right", "on", "off"), 2)
    op, holds = rng.choice((("<", a < b), (">", a > b)))
    return Program(
        "conditions",
        f"{x} = {a}\nif {x} {op} {b}:\n    print('{yes}')\nelse:\n    print('{no}')",
        yes if holds else no,
        (a, b),
    )


def _remainder(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, b = rng.randint(10, 60), rng.randint(2, 9)
    op, result = rng.choice((("%", a % b), ("//", a // b)))
    return Program("variables", f"{x} = {a}\nprint({x} {op} {b})", str(result), (a, b))


def _function(rng: random.Random) -> Program:
    x = rng.choice(NUMBERS)
    a, b, c = rng.randint(2, 6), rng.randint(2, 12), rng.randint(2, 9)
    op, result = rng.choice((("+", c * a + b), ("-", c * a - b)))
    return Program(
        "functions",
        f"def f({x}):\n    return {x} * {a} {op} {b}\n\nprint(f({c}))",
        str(result),
        (a, b, c),
    )


def _string(rng: random.Random) -> Program:
    word, other = rng.sample(WORDS, 2)
    i = rng.randint(1, 3)
    shown, result, literals = rng.choice(
        (
            ("word[0] + word[-1]", word[0] + word[-1], (word,)),
            ("len(word)", str(len(word)), (word,)),
            ("word.upper()", word.upper(), (word,)),
            ("word[::-1]", word[::-1], (word,)),
            (f"word[{min(i, len(word) - 1)}]", word[min(i, len(word) - 1)], (word, i)),
            (f"word[:{i}]", word[:i], (word, i)),
            (f"word * {i + 1}", word * (i + 1), (word, i + 1)),
            (f"word + '{other}'", word + other, (word, other)),
        )
    )
    return Program("strings", f"word = '{word}'\nprint({shown})", result, literals)


PROGRAMS: tuple[Callable[[random.Random], Program], ...] = (
    _two_numbers,
    _update,
    _swap,
    _loop,
    _loop_index,
    _while,
    _list,
    _list,
    _filter,
    _condition,
    _remainder,
    _function,
    _string,
    _string,
)


def _output_item(program: Program, wording: str) -> Item:
    return Item(
        "code",
        program.kind,
        f"Question: {wording}\n{program.text}\nAnswer:",
        program.output,
        operands=program.operands,
        key=program.key,
    )


def train_item(rng: random.Random) -> Item:
    """A program or a completion that the starter tasks cannot ask about."""
    while True:
        if rng.random() < 0.25:
            function = completion(rng, (0, 1), kept=False)
            if function is not None:
                return function
            continue
        program = rng.choice(PROGRAMS)(rng)
        if not program.held_out and not any_pair_held_out(program.operands):
            return _output_item(program, rng.choice(WORDINGS))


def _held_out_program(rng: random.Random, wording: str) -> Item | None:
    program = rng.choice(PROGRAMS)(rng)
    # The third letter of a three-letter word may be drawn as its fourth: same text, other literals.
    if any(isinstance(literal, str) and len(literal) < 4 for literal in program.literals):
        return None
    return _output_item(program, wording) if program.held_out else None


def starter_items(count: int) -> dict[str, list[Item]]:
    """`count` completions by choice and `count` programs whose output is to be given."""
    rng = random.Random(f"{SEED}/starter/code")
    return {
        "starter_code_complete": collect(lambda r: completion(r, (1,), kept=True), count, rng),
        "starter_code_output": collect(lambda r: _held_out_program(r, WORDINGS[0]), count, rng),
    }


def unseen_wording_items(count: int) -> list[Item]:
    """Completions and programs in words that the training does not hold."""
    rng = random.Random(f"{SEED}/unseen/code")

    def make(rng: random.Random) -> Item | None:
        if rng.random() < 0.5:
            return completion(rng, (2,), kept=True)
        return _held_out_program(rng, UNSEEN_WORDING)

    return collect(make, count, rng)
