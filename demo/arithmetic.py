"""Mathematics: sums, differences, products and short word problems over whole numbers.

Knows how a problem is worded and solved. A pair of numbers is either the training's or the starter
tasks', whatever the operation: see `pair_held_out`.
"""

from __future__ import annotations

import random
from dataclasses import replace

from demo.item import SEED, Item, any_pair_held_out, ask, collect, pair_held_out, words

NAMES = words(
    "Anna Ben Carla David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah Olga Paul Rosa "
    "Sam Tina Victor"
)
GOODS = words(
    "apples books coins pens stamps marbles shells cards eggs buttons plums stones tickets "
    "cakes beans roses"
)
CONTAINERS = words("box bag basket jar crate drawer")


def _number(rng: random.Random, digits: int) -> int:
    return rng.randint(2, 9) if digits == 1 else rng.randint(10 ** (digits - 1), 10**digits - 1)


# Lengths of the numbers. The starter tasks ask for the longer ones more often.
TRAINED_LENGTHS = (1, 1, 2, 2)
STARTER_LENGTHS = (1, 2, 2)
Lengths = tuple[int, ...]


def _calculation(
    rng: random.Random, kind: str, lengths: Lengths
) -> tuple[tuple[int, int], str, int]:
    a, b = _number(rng, rng.choice(lengths)), _number(rng, rng.choice(lengths))
    if kind == "times":
        if b > 9 and rng.random() < 0.8:
            b = _number(rng, 1)  # products of two long numbers are beyond a model of this size
        return (a, b), f"{a} * {b}", a * b
    if kind == "plus":
        return (a, b), f"{a} + {b}", a + b
    a, b = max(a, b), min(a, b)
    return (a, b), f"{a} - {b}", a - b


SHARES = ("plus", "plus", "minus", "minus", "times")
WORDINGS = ("What is {}?", "How much is {}?")
UNSEEN_WORDING = "Please work out {}."


def _arithmetic(rng: random.Random, wordings: tuple[str, ...], kind: str, lengths: Lengths) -> Item:
    operands, expression, result = _calculation(rng, kind, lengths)
    return Item(
        "math", kind, ask(rng.choice(wordings).format(expression)), str(result), operands=operands
    )


TRAINED, TESTED, UNSEEN = 1, 2, 3  # columns of STORIES

# One row a story: the kind, the words of the training, the words of the starter tasks, and words
# that only the check on unseen phrasing uses. {n} {m} are names, {g} goods, {c} a container.
STORIES = (
    (
        "more",
        "{n} has {a} {g} and gets {b} more. How many {g} does {n} have now?",
        "{n} owned {a} {g} and then bought {b} more. How many {g} does {n} own now?",
        "After adding {b} new {g} to the {a} {g} at home, how many {g} does {n} have?",
    ),
    (
        "together",
        "{n} has {a} {g} and {m} has {b} {g}. How many {g} do they have together?",
        "There are {a} {g} with {n} and {b} {g} with {m}. How many {g} is that in all?",
        "Count the {g} of {n}, who has {a}, and of {m}, who has {b}. What is the total?",
    ),
    (
        "less",
        "{n} has {a} {g} and gives {b} to {m}. How many {g} does {n} have left?",
        "Of the {a} {g} that {n} had, {b} were lost. How many {g} are left?",
        "{b} of the {a} {g} of {n} are sold. What number of {g} remains?",
    ),
    (
        "difference",
        "{n} has {a} {g} and {m} has {b}. How many more {g} does {n} have?",
        "{n} found {a} {g} and {m} only {b}. How many more {g} did {n} find?",
        "By how many {g} is {m}, who has {b}, behind {n}, who has {a}?",
    ),
    (
        "groups",
        "There are {a} {g} in each {c}. How many {g} are in {b} of them?",
        "One {c} holds {a} {g}. How many {g} do {b} of them hold?",
        "If {b} times the {c} is filled with {a} {g}, how many {g} are there?",
    ),
    (
        "two steps",
        "{n} has {a} {g}, gets {b} more and gives {d} away. How many {g} are left?",
        "{n} had {a} {g}, found {b} more and lost {d}. How many {g} does {n} have now?",
        "Starting from {a} {g}, {n} first gains {b} and then loses {d}. How many now?",
    ),
)


def _story(rng: random.Random, wording: int) -> tuple[Item, int]:
    """A word problem, and what the wrong operation would give."""
    story = rng.choice(STORIES)
    kind = story[0]
    a, b, d = rng.randint(2, 40), rng.randint(2, 40), 0
    if kind == "groups":
        a, b = rng.randint(2, 20), rng.randint(2, 9)
        result, wrong = a * b, a + b
    elif kind in ("less", "difference"):
        a, b = max(a, b) + 2, min(a, b)
        result, wrong = a - b, a + b
    elif kind == "two steps":
        d = rng.randint(2, min(a + b - 1, 30))
        result, wrong = a + b - d, a + b + d
    else:
        result, wrong = a + b, abs(a - b)
    name, other = rng.sample(NAMES, 2)
    text = story[wording].format(
        a=a, b=b, d=d, n=name, m=other, g=rng.choice(GOODS), c=rng.choice(CONTAINERS)
    )
    operands = (a, b, d) if kind == "two steps" else (a, b)
    return Item("math", kind, ask(text), str(result), (), operands), wrong


def _with_choices(item: Item, wrong: int, rng: random.Random) -> Item:
    """The item with three wrong numbers: the wrong operation's result and two of like size."""
    result = int(item.answer)
    like = [x for x in range(max(1, result // 2), 2 * result + 10) if x not in (result, wrong)]
    others = [wrong] if wrong not in (result, 0) else []
    others += rng.sample(like, 3 - len(others))
    return replace(item, choices=(item.answer, *map(str, others)))


def train_item(rng: random.Random) -> Item:
    """A calculation or a story none of whose pairs of numbers is held out."""
    while True:
        if rng.random() < 0.2:
            item, _ = _story(rng, rng.choice((TRAINED, TESTED)))
        else:
            kind = rng.choice(SHARES)
            if rng.random() < 0.8:  # the bare form is short: more sums for the same tokens
                operands, expression, result = _calculation(rng, kind, TRAINED_LENGTHS)
                item = Item("math", kind, f"{expression} =", str(result), operands=operands)
            else:
                item = _arithmetic(rng, WORDINGS, kind, TRAINED_LENGTHS)
        if not any_pair_held_out(item.operands):
            return item


def starter_items(count: int) -> dict[str, list[Item]]:
    """`count` calculations by short answer and `count` stories by choice."""
    rng = random.Random(f"{SEED}/starter/math")
    kinds = [SHARES[i % len(SHARES)] for i in range(count)]
    taken: set[str] = set()

    def calculation(rng: random.Random) -> Item | None:
        item = _arithmetic(rng, WORDINGS[:1], kinds[len(taken)], STARTER_LENGTHS)
        if not pair_held_out(*item.operands) or item.prompt in taken:
            return None
        taken.add(item.prompt)
        return item

    def story(rng: random.Random) -> Item | None:
        item, wrong = _story(rng, TESTED)
        return _with_choices(item, wrong, rng) if pair_held_out(*item.operands[:2]) else None

    return {
        "starter_math": collect(calculation, count, rng),
        "starter_math_word": collect(story, count, rng),
    }


def unseen_wording_items(count: int) -> list[Item]:
    """Half calculations, half stories, in words that the training does not hold."""
    rng = random.Random(f"{SEED}/unseen/math")

    def make(rng: random.Random) -> Item | None:
        if rng.random() < 0.5:
            item = _arithmetic(rng, (UNSEEN_WORDING,), rng.choice(SHARES), STARTER_LENGTHS)
        else:
            story, wrong = _story(rng, UNSEEN)
            item = _with_choices(story, wrong, rng)
        return item if pair_held_out(*item.operands[:2]) else None

    return collect(make, count, rng)
