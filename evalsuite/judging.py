"""Who judges, and what the models are asked for it: judges and their questions made sure of.

Everything about money and keys is settled here, before any model is loaded. Knows names of models
and the judge's room; plays nothing (playing.py does).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.judge import (
    CostEstimate,
    GivenAnswers,
    JudgeSpec,
    Question,
    agree,
    check_budget,
    default_judge,
    demo_questions,
    estimate_questions,
    load_preset,
    own_questions,
    read_answers,
    read_questions,
    references_beside,
    resolve_judge,
)
from evalsuite.judge.answers import Asker, Sampling
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
from evalsuite.models.names import NAMES_OF_A_RUN
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
) -> tuple[tuple[JudgePlan, ...], tuple[GivenAnswers, ...]]:
    """Settles every judge, its questions and, when the caller `spends`, its cost; sends nothing.

    Also the answers that come from files, to the questions of all judges.

    Raises:
        UserError: an unknown judge, a missing key, a bad file of questions, a local judge's model
            that can't be had, or a cost that nobody agreed to and nobody is there to ask.
    """
    named = bool(config.models or config.judge_answers)
    names = config.judge or (default_judge(named, os.environ),)
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--judge {repeated[0]} is there twice")
    if "none" in names and len(names) > 1:
        raise UserError("--judge none stands alone: it says that nobody judges")
    sampling(config)  # a mistake in it is told now
    specs = [_resolve(name, config, models) for name in names]
    path = config.judge_questions
    asked = read_questions(
        path or _default_questions(config, models), path and references_beside(path)
    )
    chosen = [_questions_of(spec, asked, path) for spec in specs]
    union = {q.question_id: q for questions in chosen for q in questions}
    given = _given(config, models, tuple(q for q in asked if q.question_id in union))
    if len(models) + len(given) < 2:
        return tuple(JudgePlan(spec) for spec in specs), given
    plans = []
    for spec, questions in zip(specs, chosen, strict=True):
        if spends and spec.paid and config.budget is None and not sys.stdin.isatty():
            bill = estimate(config, spec, questions, len(models) + len(given))
            agree(bill, spec.name, None, paid=True)
        local = local_judge(spec, config) if spec.kind == "local" else None
        plans.append(JudgePlan(spec, questions, local))
    return tuple(plans), given


def measured_of(
    config: RunConfig, judges: Sequence[JudgePlan], given: Sequence[GivenAnswers]
) -> dict[str, Any]:
    """What decides a run's numbers: its flags, who its judges are, what is in files of answers."""
    return {
        **config.identity(),
        "judge": [plan.spec.name for plan in judges],
        "judge_answers": {its.label: its.sha256 for its in given},
    }


def _resolve(name: str, config: RunConfig, models: Sequence[ModelSpec]) -> JudgeSpec:
    spec = resolve_judge(
        name,
        os.environ,
        api_key_env=config.api_key_env,
        key_of_another=any(model.kind == "server" and "@" in model.source for model in models),
    )
    check_budget(spec, config.budget)
    return spec


def _default_questions(config: RunConfig, models: Sequence[ModelSpec]) -> Path:
    """The demo pair can answer its own questions only."""
    demo = bool(models) and all(model.kind == "demo" for model in models)
    return demo_questions() if demo and not config.judge_answers else own_questions()


def _questions_of(
    spec: JudgeSpec, asked: tuple[Question, ...], path: Path | None
) -> tuple[Question, ...]:
    """Those of the questions that a judge can judge; nobody needs to answer the others."""
    if spec.kind == "none":
        return ()
    if spec.kind != "reference":
        return asked
    checkable = tuple(q for q in asked if any(check is not None for check in q.checks))
    if not checkable and path is not None:
        raise UserError(f"{path}: no question has a checkable reference; name a judge with --judge")
    return checkable


def _given(
    config: RunConfig, models: Sequence[ModelSpec], questions: Sequence[Question]
) -> tuple[GivenAnswers, ...]:
    given = [its for name in config.judge_answers for its in read_answers(name, questions)]
    labels = Counter(
        label.lower() for label in (*(m.label for m in models), *(g.label for g in given))
    )
    for its in given:
        if labels[its.label.lower()] > 1:
            raise UserError(
                f"two models would be called {its.label}: give the answers in {its.file} another "
                "name, as in --judge-answers other=FILE"
            )
        if its.label.lower() in NAMES_OF_A_RUN:
            raise UserError(
                f"answers can't be called {its.label}, a name that the run's own files have: give "
                "them another, as in --judge-answers other=FILE"
            )
    return tuple(given)


def estimate(
    config: RunConfig, spec: JudgeSpec, questions: Sequence[Question], models: int
) -> CostEstimate:
    """The judge's calls, tokens and dollars before there are answers."""
    preset = load_preset()
    return estimate_questions(questions, models, spec, preset, repeats=config.judge_repeats)


def local_judge(spec: JudgeSpec, config: RunConfig) -> LocalModel:
    """A judge's model on this machine, made sure of.

    Raises:
        UserError: it can't be had, or has no prompt format for conversations.
    """
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


def asker(
    template: ChatTemplate | None, tokenizer: Any, max_length: int, config: RunConfig
) -> Asker:
    """Who puts the judge's questions to a model with this prompt format (None: a base model)."""
    template = template or named_template(BASE_MODEL_TEMPLATE)
    assert template is not None  # the fallback is one of ours and has a text
    return Asker(tokenizer, template, max_length, sampling(config))


def sampling(config: RunConfig) -> Sampling:
    """How models' answers to the judge's questions are drawn."""
    return Sampling.parse(config.judge_temperature, config.seed)
