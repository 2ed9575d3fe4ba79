"""Who judges, and what the models are asked for it: judges and their questions made sure of.

Everything about money and keys is settled here, before any model is loaded. Knows names of models
and the judge's room; plays nothing (playing.py does).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.judge import (
    CostEstimate,
    JudgeSpec,
    Question,
    agree,
    check_baseline,
    check_batches,
    check_budget,
    default_judge,
    demo_questions,
    estimate_questions,
    for_batch,
    load_preset,
    own_questions,
    read_questions,
    resolve_judge,
)
from evalsuite.judge.answers import Asker
from evalsuite.loading import check_folder
from evalsuite.models import (
    ChatTemplate,
    ModelSpec,
    Weights,
    check_tokenizer,
    choose_template,
    locate_all,
    named_template,
    resolve_models,
)
from evalsuite.records import UserError

# FastChat's fallback for models without a format of their own.
BASE_MODEL_TEMPLATE = "zero_shot"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A judge on this machine, not loaded yet."""

    model: ModelSpec
    weights: Weights
    template: ChatTemplate


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """Who judges what. `local` is the judge's own model when it runs on this machine."""

    spec: JudgeSpec
    questions: tuple[Question, ...] = ()
    local: LocalModel | None = None

    @property
    def plays(self) -> bool:
        """Whether there will be games."""
        return bool(self.questions)


def prepare_judges(
    config: RunConfig, models: Sequence[ModelSpec], *, spends: bool = True
) -> tuple[JudgePlan, ...]:
    """Settles every judge, its questions and, when the caller `spends`, its cost; sends nothing.

    Raises:
        UserError: an unknown judge, a missing key, a bad file of questions, a local judge's model
            that can't be had, or a cost that nobody agreed to and nobody is there to ask.
    """
    names = config.judge or (default_judge(bool(config.models), os.environ),)
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--judge {repeated[0]} is there twice")
    if "none" in names and len(names) > 1:
        raise UserError("--judge none stands alone: it says that nobody judges")
    return tuple(_prepare_judge(name, config, models, spends=spends) for name in names)


def measured_of(config: RunConfig, judges: Sequence[JudgePlan]) -> dict[str, Any]:
    """What decides a run's numbers: its flags, and who its judges are by name."""
    return {**config.identity(), "judge": [plan.spec.name for plan in judges]}


def _prepare_judge(
    name: str, config: RunConfig, models: Sequence[ModelSpec], *, spends: bool
) -> JudgePlan:
    spec = resolve_judge(
        name,
        os.environ,
        api_key_env=config.api_key_env,
        key_of_another=any(model.kind == "server" and "@" in model.source for model in models),
    )
    if config.judge_batch and spec.kind != "none":
        for_batch(spec)  # refuses judges that take none
    check_budget(spec, config.budget)
    if spec.kind == "none" or len(models) < 2:
        if config.judge_questions is not None:
            read_questions(config.judge_questions)  # a mistake in it is worth knowing all the same
        return JudgePlan(spec)
    check_baseline(config.judge_baseline, [model.label for model in models])
    _check_games(config, spec)
    demo = all(model.kind == "demo" for model in models)
    path = config.judge_questions or (demo_questions() if demo else own_questions())
    questions = read_questions(path)
    if spec.kind == "reference":
        # Nobody judges the others, so nobody needs to answer them.
        checkable = tuple(q for q in questions if any(check is not None for check in q.checks))
        if not checkable and config.judge_questions is not None:
            raise UserError(
                f"{path}: no question has a checkable reference; name a judge with --judge"
            )
        return JudgePlan(spec, checkable)
    if config.judge_batch and spends:
        check_batches(spec)
    if spends and spec.paid and config.budget is None and not sys.stdin.isatty():
        agree(estimate(config, spec, questions, len(models)), spec.name, None, paid=True)
    return JudgePlan(spec, questions, _local_judge(spec, config) if spec.kind == "local" else None)


def estimate(
    config: RunConfig, spec: JudgeSpec, questions: Sequence[Question], models: int
) -> CostEstimate:
    """The judge's calls, tokens and dollars before there are answers."""
    preset = load_preset()
    spec = for_batch(spec) if config.judge_batch else spec
    return estimate_questions(
        questions,
        models,
        spec,
        preset,
        repeats=config.judge_repeats,
        baseline=config.judge_baseline is not None,
        games=config.judge_games,
    )


def _check_games(config: RunConfig, spec: JudgeSpec) -> None:
    if config.judge_games is None:
        return
    if spec.kind == "reference":
        raise UserError(
            "--judge-games: references decide at no cost, so all games are played; leave it out, "
            "or name a judge with --judge"
        )
    if config.judge_preset == "score":
        raise UserError(
            "--judge-games: the preset score reads each answer alone, so there are no games to "
            "choose among; leave one of the two out"
        )


def _local_judge(spec: JudgeSpec, config: RunConfig) -> LocalModel:
    model = replace(resolve_models([spec.model])[0], label="judge")
    found, missing = locate_all([model])
    if missing:
        raise missing[0]
    weights = found[model.label]
    check_folder(weights.folder, config.engine)
    check_tokenizer(weights.folder, spec.name)
    template = choose_template(model, weights.folder)
    if template is None and config.template is not None:
        template = named_template(config.template)
    if template is None:
        raise UserError(
            f"--judge {spec.name}: this model has no prompt format for conversations; name one "
            "with --template"
        )
    return LocalModel(model, weights, template)


def asker(template: ChatTemplate | None, tokenizer: Any, max_length: int) -> Asker:
    """Who puts the judge's questions to a model with this prompt format (None: a base model)."""
    template = template or named_template(BASE_MODEL_TEMPLATE)
    assert template is not None  # the fallback is one of ours and has a text
    return Asker(tokenizer, template, max_length)
