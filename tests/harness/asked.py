"""An engine as the pipeline asks it, without a store, that remembers the questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Asked:
    """An engine run batch by batch as planned, with a record of what it was asked."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.max_length = engine.max_length
        self.score_calls: list[list[Any]] = []
        self.generate_calls: list[list[Any]] = []

    def score(self, requests: Sequence[Any]) -> list[Any]:
        self.score_calls.append(list(requests))
        return _in_batches(requests, self.engine.plan_scoring, self.engine.score)

    def generate(self, requests: Sequence[Any]) -> list[Any]:
        self.generate_calls.append(list(requests))
        return _in_batches(requests, self.engine.plan_generation, self.engine.generate)


def _in_batches(requests: Sequence[Any], plan: Callable, compute: Callable) -> list[Any]:
    answers: dict[int, Any] = {}
    for batch in plan(requests):
        answers.update(
            zip(batch.requests, compute([requests[i] for i in batch.requests]), strict=True)
        )
    return [answers[i] for i in range(len(requests))]
