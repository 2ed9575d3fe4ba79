"""Who judges, and what the models are asked for it: judges and their questions made sure of.

Everything about money and keys is settled here, before any model is loaded. Knows names of models
and the judge's room; plays nothing (playing.py does).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.judge import (
    Answer,
    CostEstimate,
    GivenAnswers,
    JudgeSpec,
    Preset,
    Question,
    Rules,
    agree,
    check_affordable,
    check_baseline,
    check_batches,
    check_budget,
    default_judge,
    demo_questions,
    estimate_calls,
    estimate_questions,
    for_batch,
    load_preset,
    load_prices,
    own_questions,
    plan_calls,
    reach_judge,
    read_answers,
    read_questions,
    references_beside,
    resolve_judge,
    with_fastchat_prompts,
)
from evalsuite.judge.answers import Asker, Sampling
from evalsuite.judge_flags import check_league, check_words
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
from evalsuite.store import Store
from evalsuite.store.judgments import Judgments

# What `estimate_questions` guesses.
ANSWER_TOKENS = 250
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
    """Who judges what, and how. `local` is the judge's own model when it runs on this machine."""

    spec: JudgeSpec
    questions: tuple[Question, ...] = ()
    local: LocalModel | None = None
    preset: Preset | None = None  # None where no language model judges

    @property
    def plays(self) -> bool:
        """Whether there will be games."""
        return bool(self.questions)

    @property
    def fewest(self) -> int:
        """How many models a game needs."""
        return 2 if self.preset is None else self.preset.answers


def too_few(plan: JudgePlan) -> str:
    """Why a judge that was named plays nothing."""
    alone = "; --judge-preset score judges one model" if plan.spec.kind != "reference" else ""
    return f"--judge {plan.spec.name} judges nothing: fewer than two models answered{alone}"


def prepare_judges(
    config: RunConfig, models: Sequence[ModelSpec], *, spends: bool = True
) -> tuple[tuple[JudgePlan, ...], tuple[GivenAnswers, ...]]:
    """Settles every judge, its questions and, when the caller `spends`, its cost.

    A judge behind a server is then asked for its list of models, which costs nothing; no question
    is sent.

    Also the answers that come from files, to the questions of all judges.

    Raises:
        UserError: an unknown judge, a server that isn't there, a missing or wrong key, a
            bad file of questions, a local judge's model that can't be had, a budget that not one
            call fits into, or a cost that nobody agreed to and nobody is there to ask.
    """
    named = bool(config.models or config.judge_answers)
    names = config.judge or (default_judge(named, os.environ),)
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--judge {repeated[0]} is there twice")
    if "none" in names and len(names) > 1:
        raise UserError("--judge none stands alone: it says that nobody judges")
    sampling(config)  # mistakes in these are told now, whoever judges
    chosen_preset(config)
    specs = [_resolve(name, config, models, asks=spends) for name in names]
    check_words(config, specs)
    path = config.judge_questions
    asked = read_questions(
        path or _default_questions(config, models), path and references_beside(path)
    )
    chosen = [_questions_of(spec, asked, path) for spec in specs]
    union = {q.question_id: q for questions in chosen for q in questions}
    given = _given(config, models, tuple(q for q in asked if q.question_id in union))
    labels = [*(model.label for model in models), *(its.label for its in given)]
    there = len(labels)
    if there > 1:
        check_baseline(config.judge_baseline, labels)
    return tuple(
        _plan(spec, questions, config, there, spends=spends)
        for spec, questions in zip(specs, chosen, strict=True)
    ), given


def _plan(
    spec: JudgeSpec,
    questions: tuple[Question, ...],
    config: RunConfig,
    there: int,
    *,
    spends: bool,
) -> JudgePlan:
    """What a judge plays among so many models; too few for a game play none."""
    if spec.kind not in ("openai", "local"):
        return JudgePlan(spec, questions if there >= 2 else ())
    preset = chosen_preset(config)
    if there < preset.answers:
        return JudgePlan(spec)
    preset.check(questions)
    check_league(config, preset, there)
    if spends and config.judge_batch:
        check_batches(spec)
    if spends and spec.paid and config.budget is None and not sys.stdin.isatty():
        agree(estimate(config, spec, questions, there), spec.name, None, paid=True)
    if spends and spec.kind == "openai":
        check_affordable(spec, preset, questions, config.budget)
        reach_judge(spec)
    local = local_judge(spec, config) if spec.kind == "local" else None
    return JudgePlan(spec, questions, local, preset)


def measured_of(
    config: RunConfig, judges: Sequence[JudgePlan], given: Sequence[GivenAnswers]
) -> dict[str, Any]:
    """What decides a run's numbers: its flags, who its judges are, what is in files of answers."""
    return {
        **config.identity(),
        "judge": [plan.spec.name for plan in judges],
        "judge_answers": {its.label: its.sha256 for its in given},
    }


def _resolve(name: str, config: RunConfig, models: Sequence[ModelSpec], *, asks: bool) -> JudgeSpec:
    spec = resolve_judge(
        name,
        os.environ,
        api_key_env=config.api_key_env,
        prices=load_prices(config.judge_prices) if config.judge_prices else None,
        key_of_another=any(model.kind == "server" and "@" in model.source for model in models),
        asks=asks,
    )
    if config.judge_batch and spec.kind != "none":
        for_batch(spec)  # refuses judges that take none
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
    preset = chosen_preset(config)
    spec = for_batch(spec) if config.judge_batch else spec
    guess = estimate_questions(
        questions,
        models,
        spec,
        preset,
        repeats=config.judge_repeats,
        baseline=config.judge_baseline is not None,
        games=config.judge_games,
    )
    return replace(guess, basis=f"answers guessed at {ANSWER_TOKENS} tokens; {guess.basis}")


def estimate_answered(
    config: RunConfig,
    spec: JudgeSpec,
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    store: Store,
) -> CostEstimate:
    """The same when the answers are known: every prompt is measured, and what the store has is
    left out. The number of calls is then exact, but for replies without a verdict."""
    preset = chosen_preset(config)
    if config.judge_games is not None:  # which games are chosen depends on verdicts
        return estimate(config, spec, questions, len(answers))
    spec = for_batch(spec) if config.judge_batch else spec
    _, calls = plan_calls(
        questions, answers, spec, preset, config.judge_repeats, baseline=config.judge_baseline
    )
    # A run's own judgments are all that a --refresh would see, and a plan belongs to no run.
    judgments = Judgments(store, "", refresh=config.refresh)
    known = estimate_calls(calls, judgments, spec, preset, 1 + Rules().invalid_retries)
    return replace(known, basis=f"measured on the answers: {known.basis}")


def chosen_preset(config: RunConfig) -> Preset:
    """The preset that --judge-preset names, in the words of --judge-prompts where given.

    Raises:
        UserError: no such preset, or prompts that can't be used.
    """
    preset = load_preset(config.judge_preset)
    if config.judge_prompts is None:
        return preset
    return with_fastchat_prompts(preset, config.judge_prompts)


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
