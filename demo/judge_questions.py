"""Writes the demo models' judge questions: held-out items like the starter tasks', but others.

Knows how many of each kind there are and how their answers are checked; run it as
`python -m demo.judge_questions` to write `tasks/judge/demo_questions.jsonl` again after the
generators of the starter tasks have changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from demo import arithmetic, commonsense, programs, world
from demo.item import Item
from demo.items import starter

QUESTIONS = Path(__file__).resolve().parent.parent / "tasks" / "judge" / "demo_questions.jsonl"
FIRST_ID = 1001
# Somewhat more than the starter tasks have, so that enough are left when theirs are taken away.
DRAWN, DRAWN_COMMONSENSE = 170, 280
# Answers that can be told in free text: a comparison names the things to choose from.
COMPARED = ("weight", "size", "speed", "heat", "place")


def questions() -> list[dict[str, object]]:
    """The rows of the file: category by category, equal shares of an item's kinds.

    Most are of what the demo models can know, so that games tell them apart.
    """
    taken = {item.prompt for items in starter().values() for item in items}
    math = arithmetic.starter_items(DRAWN)
    parts = (
        ("math", "number", 4, math["starter_math"]),
        ("reasoning", "number", 8, math["starter_math_word"]),
        ("coding", "exact", 4, programs.starter_items(DRAWN)["starter_code_output"]),
        ("knowledge", "contains", 20, world.starter_items(DRAWN)["starter_qa_open"]),
        (
            "common-sense",
            "contains",
            12,
            [
                item
                for item in commonsense.starter_items(DRAWN_COMMONSENSE)["starter_commonsense"]
                if item.kind in COMPARED
            ],
        ),
    )
    rows: list[dict[str, object]] = []
    for category, check, count, items in parts:
        for item in _one_of_each_kind((i for i in items if i.prompt not in taken), count):
            rows.append(_row(FIRST_ID + len(rows), category, check, item))
    return rows


def _one_of_each_kind(items: Iterable[Item], count: int) -> list[Item]:
    """`count` items, the kinds in turn."""
    by_kind: dict[str, list[Item]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    turns = [of_kind[k] for k in range(count) for of_kind in by_kind.values() if k < len(of_kind)]
    return turns[:count]


def _row(number: int, category: str, check: str, item: Item) -> dict[str, object]:
    answer = item.answer
    if check == "contains":
        for article in ("a ", "an ", "the "):
            answer = answer.removeprefix(article)
    return {
        "question_id": number,
        "category": category,
        "turns": [item.prompt],
        "reference": [item.answer],
        "check": {"kind": check, "answer": answer},
    }


def main() -> None:
    lines = [json.dumps(row) + "\n" for row in questions()]
    QUESTIONS.write_text("".join(lines), encoding="utf-8")
    print(f"{QUESTIONS}: {len(lines)} questions")


if __name__ == "__main__":
    main()
