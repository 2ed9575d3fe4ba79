"""Writes the starter tasks: one JSONL file a task, its rows in random order from the seed.

Knows how many items a task has and how gold positions are balanced; run it as
`python -m demo.items` to write `tasks/starter/*.jsonl` again.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from demo import arithmetic, commonsense, language, programs, world
from demo.item import SEED, Item

STARTER = Path(__file__).resolve().parent.parent / "tasks" / "starter"
# A capability has about 240 items, in one task or two, so that its interval is about +-6 points.
CAPABILITIES = {
    "commonsense": lambda: commonsense.starter_items(240),
    "qa": lambda: world.starter_items(140),
    "math": lambda: arithmetic.starter_items(140),
    "code": lambda: programs.starter_items(140),
    "language": lambda: language.starter_items(240),
}
UNSEEN = {
    "commonsense": commonsense.unseen_wording_items,
    "qa": world.unseen_wording_items,
    "math": arithmetic.unseen_wording_items,
    "code": programs.unseen_wording_items,
    "language": language.unseen_wording_items,
}


def place_answers(items: list[Item], rng: random.Random) -> list[Item]:
    """The same items in random order, each place of the answer equally often."""
    items = items[:]
    rng.shuffle(items)
    places = [i % 4 for i in range(len(items))]
    rng.shuffle(places)
    placed = []
    for item, place in zip(items, places, strict=True):
        if item.choices:
            others = [choice for choice in item.choices if choice != item.answer]
            rng.shuffle(others)
            choices = (*others[:place], item.answer, *others[place:])
            item = Item(
                item.capability,
                item.kind,
                item.prompt,
                item.answer,
                choices,
                item.operands,
                item.key,
            )
        placed.append(item)
    return placed


def starter() -> dict[str, list[Item]]:
    """All starter items by task, as they are written."""
    return {
        task: place_answers(items, random.Random(f"{SEED}/places/{task}"))
        for make in CAPABILITIES.values()
        for task, items in make().items()
    }


def unseen_wordings(count: int) -> dict[str, list[Item]]:
    """Items by capability in words that the training does not hold."""
    return {
        capability: place_answers(make(count), random.Random(f"{SEED}/unseen/{capability}"))
        for capability, make in UNSEEN.items()
    }


def constant_answer(items: list[Item]) -> float:
    """The share that the best constant answer gets: one place of four, or one text."""
    texts = Counter(item.answer for item in items)
    places = Counter(item.choices.index(item.answer) for item in items if item.choices)
    return max([*texts.values(), *places.values()]) / len(items)


def rows(task: str, items: list[Item]) -> str:
    """The task's JSONL text."""
    lines = []
    for number, item in enumerate(items, 1):
        row: dict[str, object] = {
            "id": f"{task}-{number:03d}",
            "kind": item.kind,
            "prompt": item.prompt,
        }
        if item.choices:
            row |= {"choices": list(item.choices), "gold": item.choices.index(item.answer)}
        else:
            row |= {"answer": item.answer}
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


def main() -> None:
    STARTER.mkdir(parents=True, exist_ok=True)
    for task, items in starter().items():
        (STARTER / f"{task}.jsonl").write_text(rows(task, items), encoding="utf-8")
        print(f"{task}: {len(items)} items, best constant answer {constant_answer(items):.3f}")


if __name__ == "__main__":
    main()
