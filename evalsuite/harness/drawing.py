"""Which documents of a task a suite draws: the same ones on every machine and in every order.

Knows documents as plain data; it must not know prompts, metrics or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.harness.catalog import TaskSpec, visible

_SALT = "evalsuite: drawn documents"  # another text would be another draw


def draw(tasks: Mapping[str, Any], number: int) -> dict[str, list[int]]:
    """Indices of `number` documents of lm-eval's `tasks` taken together, ascending in each task.

    A document's place in the draw depends on its own text alone (its SHA-256), so the draw is
    random in the data's order, and a larger one holds the smaller. All are drawn when there are not
    more; a task without any is left out.
    """
    order = sorted(
        (_digest(doc), name, index)
        for name, task in tasks.items()
        for index, doc in enumerate(task.eval_docs)
    )
    drawn: dict[str, list[int]] = {}
    for _, name, index in order[:number]:
        drawn.setdefault(name, []).append(index)
    return {name: sorted(drawn[name]) for name in tasks if name in drawn}


def _digest(document: Any) -> bytes:
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(f"{_SALT}\0{text}".encode()).digest()


def everything(task: Any, limit: int | None) -> Sequence[int]:
    """The indices of a task's documents, or of its first `limit`."""
    n = len(task.eval_docs)
    return range(n if limit is None else min(n, limit))


def choose(
    tasks: Mapping[str, Any], asked: Mapping[str, TaskSpec], limit: int | None
) -> dict[str, Sequence[int]] | None:
    """The documents by task where some suite draws them; the tasks of one spec are one draw."""
    if all(spec.documents is None for spec in asked.values()):
        return None
    drawn: dict[str, Sequence[int]] = {}
    for spec in dict.fromkeys(asked.values()):
        its = {name: task for name, task in tasks.items() if asked[name] == spec}
        if spec.documents is None:
            drawn.update({name: everything(task, limit) for name, task in its.items()})
        else:
            drawn.update(draw(its, min(spec.documents, limit or spec.documents)))
    return drawn


def documents(
    limit: int | None, drawn: Mapping[str, Sequence[int]] | None, task: str
) -> dict[str, Any]:
    """What a task's `build_all_requests` is told of its documents."""
    return {"limit": limit} if drawn is None else {"samples": drawn[task]}


def notes(specs: Sequence[TaskSpec]) -> list[str]:
    """That documents were drawn, and what so few of them can show."""
    numbers = sorted({spec.documents for spec in specs if spec.documents is not None})
    return [f"documents are drawn, at most {n} a task. {visible(n)}" for n in numbers]
