"""The judged half of a run: which questions, which judge, the models' answers, and the games.

Everything about money and keys is settled in `prepare_judge`, before any model is loaded. Knows
models in memory and the judge's room; writes the games' files of a run, no other.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.files import write_atomically
from evalsuite.inference import Inference
from evalsuite.judge import (
    Answer,
    CostEstimate,
    JudgeResult,
    JudgeSpec,
    LocalJudge,
    LocalReply,
    Question,
    Rules,
    agree,
    check_budget,
    default_judge,
    demo_questions,
    estimate_questions,
    judge_run,
    load_preset,
    own_questions,
    read_questions,
    resolve_judge,
)
from evalsuite.judge.answers import Asker
from evalsuite.loading import LoadedModel, check_folder, load
from evalsuite.models import (
    ChatEncoder,
    ChatTemplate,
    ModelSpec,
    Weights,
    check_tokenizer,
    choose_template,
    locate_all,
    named_template,
    resolve_models,
)
from evalsuite.progress import Progress
from evalsuite.records import GenerateRequest, UserError
from evalsuite.store import Store

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


def prepare_judge(
    config: RunConfig, models: Sequence[ModelSpec], *, spends: bool = True
) -> JudgePlan:
    """Settles the judge, its questions and, when the caller `spends`, its cost; sends nothing.

    Raises:
        UserError: an unknown judge, a missing key, a bad file of questions, a local judge's model
            that can't be had, or a cost that nobody agreed to and nobody is there to ask.
    """
    name = config.judge or default_judge(bool(config.models), os.environ)
    spec = resolve_judge(
        name,
        os.environ,
        api_key_env=config.api_key_env,
        key_of_another=any(model.kind == "server" and "@" in model.source for model in models),
    )
    check_budget(spec, config.budget)
    if spec.kind == "none" or len(models) < 2:
        if config.judge_questions is not None:
            read_questions(config.judge_questions)  # a mistake in it is worth knowing all the same
        return JudgePlan(spec)
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
    if spends and spec.paid and config.budget is None and not sys.stdin.isatty():
        agree(estimate(config, spec, questions, len(models)), spec.name, None, paid=True)
    return JudgePlan(spec, questions, _local_judge(spec, config) if spec.kind == "local" else None)


def estimate(
    config: RunConfig, spec: JudgeSpec, questions: Sequence[Question], models: int
) -> CostEstimate:
    """The judge's calls, tokens and dollars before there are answers."""
    preset = load_preset()
    return estimate_questions(questions, models, spec, preset, repeats=config.judge_repeats)


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


def play(
    plan: JudgePlan,
    answers: Mapping[str, Sequence[Answer]],
    config: RunConfig,
    store: Store,
    run: str,
    progress: Progress,
) -> JudgeResult:
    """All games between the models that answered.

    Raises:
        UserError: the judge could not be used at all.
    """
    local = None
    if plan.local is not None:
        judge = load(plan.local.model, plan.local.weights, config, store)
        inference = Inference(judge.engine, store, run, progress, refresh=config.refresh)
        local = _as_judge(judge, plan.local.template, inference)
    return judge_run(
        plan.questions,
        answers,
        plan.spec,
        store,
        progress,
        run=run,
        budget=config.budget,
        rules=Rules(repeats=config.judge_repeats, refresh=config.refresh),
        local=local,
    )


def _as_judge(model: LoadedModel, template: ChatTemplate, inference: Inference) -> LocalJudge:
    encoder = ChatEncoder(model.tokenizer, template)

    def generate(
        chats: Sequence[Sequence[Mapping[str, str]]], most_new_tokens: int, temperature: float
    ) -> list[LocalReply]:
        most = min(most_new_tokens, model.engine.max_length // 2)
        requests = [
            GenerateRequest(encoder.encode(chat).tokens, most, template.stop_strings, temperature)
            for chat in chats
        ]
        return [
            LocalReply(
                text=response.text,
                finished=response.finish != "length" and not response.truncated,
                prompt_tokens=len(request.prompt),
                completion_tokens=len(response.tokens),
            )
            for request, response in zip(requests, inference.generate(requests), strict=True)
        ]

    identity = f"{dict(model.engine.identity)} {template.name} {template.source}"
    return LocalJudge(identity, generate)


def write_games(
    folder: Path,
    plan: JudgePlan,
    answers: Mapping[str, Sequence[Answer]],
    result: JudgeResult,
    folder_of: Mapping[str, str],
) -> None:
    """matches.jsonl and questions.jsonl of a run, and each model's answers.jsonl in its folder."""
    _write_lines(folder / "matches.jsonl", (game.line() for game in result.games))
    _write_lines(
        folder / "questions.jsonl",
        (
            {
                "question_id": question.question_id,
                "category": question.category,
                "turns": list(question.turns),
                "reference": list(question.reference),
            }
            for question in plan.questions
        ),
    )
    for model, its in answers.items():
        rows = ({"question_id": a.question_id, "turns": list(a.turns)} for a in its)
        _write_lines(folder / folder_of[model] / "answers.jsonl", rows)


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_atomically(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
