"""How many few-shot examples a task shows: lm-eval's rules, with what it would only log said aloud.

Knows lm-eval's tasks and samplers; it must not know suites or models.
"""

from __future__ import annotations

from typing import Any

from evalsuite.records import UserError


def set_shots(name: str, task: Any, wanted: int | None) -> list[str]:
    """The number of few-shot examples by simple_evaluate's rules; what it would only log, said."""
    own = task.get_config("num_fewshot")
    if wanted is None:
        if own is None:
            task.set_config(key="num_fewshot", value=0)
        return []
    if own == 0:
        if wanted == 0:
            return []
        return [f"{name} sets 0 few-shot examples itself: --num-fewshot {wanted} is not applied."]
    task.set_config(key="num_fewshot", value=wanted)
    return []


def check_shots(name: str, task: Any) -> None:
    """Raise UserError when a task's few-shot split has fewer examples than are to be shown."""
    from lm_eval.api.samplers import ContextSampler, FirstNSampler

    shots = task.config.num_fewshot or 0
    sampler: Any = getattr(task, "sampler", None)
    if not shots or getattr(type(sampler), "sample", None) not in (
        ContextSampler.sample,
        FirstNSampler.sample,
    ):
        return  # a sampler of the task's own knows itself what it has
    has = len(sampler.fewshot_indices or sampler.df)
    # lm-eval keeps the question itself out of its examples where both come from one split; its
    # default sampler draws one more for that, also where neither split is set.
    split = task.fewshot_cfg.split
    aside = split == task.config.test_split and (
        split is not None or type(sampler).sample is ContextSampler.sample
    )
    if shots > (most := max(has - aside, 0)):
        raise UserError(
            f"The task {name}: its few-shot split has {has} example{'s' * (has != 1)}"
            f"{', one of them kept aside for the question' if aside and has else ''}: "
            f"--num-fewshot must be at most {most}, not {shots}."
        )
