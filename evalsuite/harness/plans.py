"""The token requests of a run, before they are asked, and whose they are.

Knows lm-eval's instances and our requests; no tokenizer and no engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalsuite.records import GenerateRequest, ScoreRequest


@dataclass
class TokenPlan:
    """All requests of a run in the order in which they are asked.

    `parts` holds for each of lm-eval's request kinds its instances, one entry a repeat, each with
    the slice of `score` or `generate` that answers it (rolling likelihoods take several windows).
    `impossible` says of tasks that can't be asked why not; they have no requests in the plan.
    """

    score: list[ScoreRequest] = field(default_factory=list)
    generate: list[GenerateRequest] = field(default_factory=list)
    parts: dict[str, list[tuple[Any, slice]]] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)


class TooLongError(Exception):
    """A continuation of `tokens` tokens that is longer than the context."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


def by_kind(instances: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Instances by request kind, each as often as it repeats: the lists that lm-eval will ask."""
    kinds: dict[str, list[Any]] = {}
    for items in instances.values():
        for instance in items:
            kinds.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
    return kinds
