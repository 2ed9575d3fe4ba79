"""Every token request of a run, made as a run makes it; nothing is asked.

Knows the adapter that plans; no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.plans import TokenPlan
from evalsuite.harness.task_set import TaskSet
from evalsuite.records import GenerateRequest, ScoreRequest, UserError


def token_plan(
    task_set: TaskSet,
    tokenizer: Any,
    max_length: int,
    run_seed: int = 1234,
    stop: Sequence[str] = (),
) -> TokenPlan:
    """Every token request of a run, in the order in which it will be asked; nothing is computed."""

    def never(_: Any) -> Any:
        raise RuntimeError("planning asks no engine")

    lm = EngineLM(tokenizer, max_length, never, never, run_seed=run_seed, stop=stop)
    return lm.plan_tasks(task_set)


def token_requests(
    task_set: TaskSet,
    tokenizer: Any,
    max_length: int,
    run_seed: int = 1234,
    stop: Sequence[str] = (),
) -> tuple[list[ScoreRequest], list[GenerateRequest]]:
    """The requests of `token_plan` alone. Raises UserError when a task can't be asked."""
    plan = token_plan(task_set, tokenizer, max_length, run_seed, stop)
    if plan.impossible:
        raise UserError("\n".join(plan.impossible.values()))
    return plan.score, plan.generate
