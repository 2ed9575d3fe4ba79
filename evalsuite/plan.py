"""What a run would take: requests, tokens, memory and time, for `evalsuite plan`.

Makes the very requests and batches that `run` would make, but loads no weights, computes nothing
and leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evalsuite.answered import recall
from evalsuite.audit_evidence import labels_of
from evalsuite.config import RunConfig, default_store
from evalsuite.engine.base import generation_input, scoring_input
from evalsuite.judge import Answer, Question
from evalsuite.judging import asker, estimate, estimate_answered
from evalsuite.models import ModelSpec, choose_template, load_tokenizer
from evalsuite.outline import outline
from evalsuite.preparation import Prepared, load_task_set, prepare
from evalsuite.progress import duration, make_progress
from evalsuite.records import UserError
from evalsuite.servers import Server
from evalsuite.store import Store
from evalsuite.subjects import conversation_tasks, task_template

if TYPE_CHECKING:
    import torch

    from evalsuite.harness.task_set import TaskSet

# Of the matrix rate measured below, this much was reached by scoring packs of real tasks.
_SCORING_SHARE = 0.5
_MEASURING_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model's part of a run. `seconds` is an estimate; everything else is exact.

    `impossible` is a line for each task that the model can't be asked; the numbers leave it out.
    """

    model: str
    parameters: int
    dtype: str
    quantize: str | None
    device: str
    score_requests: int
    generate_requests: int
    distinct_tokens: int
    total_tokens: int
    most_new_tokens: int
    truncated: int
    memory_bytes: int
    free_bytes: int
    seconds: float
    impossible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """The part of a model behind a server, which is not asked what it can do."""

    model: str
    endpoint: str
    score_requests: int
    generate_requests: int

    def describe(self) -> str:
        """The plan as a person reads it."""
        return (
            f"{self.model}: behind {self.endpoint}\n"
            f"  requests  {self.generate_requests:,} to answer, {self.score_requests:,} to score "
            "if it gives log-probabilities of prompts\n"
            "  cost      not known, and no --budget covers it: that is for judges"
        )


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run would take. `judges` are a line each on calls and cost, of those that make any.

    Prompts of later turns hold the answers to earlier ones, so `later_turns` requests a model are
    counted but their tokens are not.
    """

    models: tuple[ModelPlan | ServerPlan, ...]
    judges: tuple[str, ...]
    later_turns: int


def plan(config: RunConfig) -> RunPlan:
    """The work of each model of a config, in order, and the judge's.

    Raises:
        UserError: as `pipeline.run` does for the same config.
    """
    progress = make_progress(config.progress)
    labels_of(config)  # a bad line is told now; labels cost nothing
    prepared = prepare(config, spends=False)
    progress.note("reading data and building requests …")
    task_set = load_task_set(config, prepared)
    for note in (*task_set.warnings, *(skip.error for skip in task_set.skipped)):
        progress.note(f"note: {note}")
    costs = _bills(config, prepared)
    return RunPlan(
        tuple(
            _plan_server(spec, prepared.servers[spec.label], task_set, prepared.questions)
            if spec.kind == "server"
            else _plan_model(
                spec, prepared.weights[spec.label].folder, config, task_set, prepared.questions
            )
            for spec in prepared.models
        ),
        costs,
        sum(len(question.turns) - 1 for question in prepared.questions),
    )


def _bills(config: RunConfig, prepared: Prepared) -> tuple[str, ...]:
    """A line for each judge that makes calls; by the models' answers where the store has them."""
    judges = [judge for judge in prepared.judges if judge.plays and judge.spec.kind != "reference"]
    path = config.store or default_store()
    lines = []
    with ExitStack() as stack:
        store = None
        if any(judge.spec.kind == "openai" for judge in judges):
            # Answers that are all given as files are known without a store.
            empty = prepared.given and not prepared.models and not path.is_file()
            if empty:
                path = Path(stack.enter_context(TemporaryDirectory())) / "empty.db"
            if empty or path.is_file():
                try:
                    store = stack.enter_context(Store(path))
                except UserError as error:
                    lines.append(f"guessed, since {error}")
        for judge in judges:
            spec, answers = judge.spec, None
            if store is not None and spec.kind == "openai":
                answers = _recall_all(config, prepared, judge.questions, store)
            if store is not None and answers is not None:
                bill = estimate_answered(config, spec, judge.questions, answers, store)
            else:
                bill = estimate(config, spec, judge.questions, len(prepared.order))
            lines.append(bill.describe(spec.name, billed=spec.paid))
            if spec.paid and spec.key is None:
                lines.append(f"a run needs an API key for {spec.name}, and none is set here")
    return tuple(lines)


def _recall_all(
    config: RunConfig, prepared: Prepared, questions: Sequence[Question], store: Store
) -> dict[str, list[Answer]] | None:
    """Every model's answers, or None when one is not known."""
    answers: dict[str, list[Answer]] = {}
    for spec in prepared.models:
        place = prepared.servers.get(spec.label) or prepared.weights[spec.label]
        known = recall(store, config, spec, place, questions)
        if known is None:
            return None
        answers[spec.label] = known
    return answers | {its.label: list(its.answers) for its in prepared.given}


def describe(planned: RunPlan) -> str:
    """The plan as a person reads it."""
    parts = []
    for p in planned.models:
        if isinstance(p, ServerPlan):
            parts.append(p.describe())
            continue
        shared = p.total_tokens / max(p.distinct_tokens, 1)
        lines = [
            f"{p.model}: {p.parameters:,} parameters in "
            f"{f'{p.quantize} and ' if p.quantize else ''}{p.dtype} on {p.device}",
            f"  requests  {p.score_requests:,} to score, {p.generate_requests:,} to generate",
            f"  tokens    {p.distinct_tokens:,} to compute, instead of {p.total_tokens:,} without "
            f"sharing prefixes ({shared:.1f} times)",
            f"  memory    about {p.memory_bytes / 2**30:.2f} GiB; "
            f"{p.free_bytes / 2**30:.1f} GiB are free on {p.device}",
            f"  time      about {duration(p.seconds)}",
        ]
        if p.most_new_tokens:
            lines[2] += f"; of these {p.most_new_tokens:,} at most are generated"
            lines[4] += " if every answer takes all the tokens it may"
        if p.truncated:
            lines.append(f"  truncated {p.truncated:,} requests are longer than the context")
        lines += [f"  left out  {reason}" for reason in p.impossible]
        if planned.later_turns:
            lines.append(f"  besides   {planned.later_turns} answers to second turns")
        parts.append("\n".join(lines))
    parts += [f"judging: {line}" for line in planned.judges]
    return "\n".join(parts)


def _plan_server(
    spec: ModelSpec, server: Server, task_set: TaskSet, questions: Sequence[Question]
) -> ServerPlan:
    from evalsuite.harness.plans import by_kind

    kinds = by_kind(task_set.instances)
    turns = sum(len(question.turns) for question in questions)
    return ServerPlan(
        model=spec.label,
        endpoint=server.endpoint.url,
        score_requests=len(kinds.get("loglikelihood", ())),
        generate_requests=len(kinds.get("generate_until", ())) + turns,
    )


def _plan_model(
    spec: ModelSpec,
    folder: Path,
    config: RunConfig,
    task_set: TaskSet,
    questions: Sequence[Question],
) -> ModelPlan:
    from evalsuite.engine.llama.memory import free_bytes
    from evalsuite.harness.planning import token_plan

    tokenizer = load_tokenizer(folder, spec.label)
    model = outline(folder, tokenizer, config)
    context = model.context
    template = task_template(spec, folder, config.chat)
    task_set, _ = conversation_tasks(task_set, template, config)
    stop = template.stop_strings if template else ()
    asked = token_plan(task_set, tokenizer, context, run_seed=config.seed, stop=stop)
    score, generate = asked.score, asked.generate
    asking = asker(choose_template(spec, folder), tokenizer, context, config)
    answers = [asking.request(question, 0) for question in questions]
    # Equal requests are computed once and each kind by itself, as inference does it.
    to_score = list(dict.fromkeys(score))
    to_generate = [list(dict.fromkeys(generate)), list(dict.fromkeys(answers))]
    packs = model.plan_scoring(to_score)
    groups = [model.plan_generation(part) for part in to_generate]
    batches = [*packs, *chain.from_iterable(groups)]

    operations = 2 * model.parameters * sum(pack.distinct_tokens for pack in packs)
    rate = _SCORING_SHARE * _matrix_rate(model.device, model.dtype) if packs else 1.0
    seconds = operations / rate
    for part, its in zip(to_generate, groups, strict=True):
        for group in its:
            news = [part[i].max_new_tokens for i in group.requests]
            seconds += model.generation_seconds(
                prompt_tokens=group.distinct_tokens - sum(news),
                new_tokens=sum(news),
                steps=max(news),
            )
    if model.device.type == "cuda":  # processes on a CPU share its cores
        seconds /= model.devices
    return ModelPlan(
        model=spec.label,
        parameters=model.parameters,
        dtype=str(model.dtype).removeprefix("torch."),
        quantize=config.quantize,
        device=str(model.device),
        score_requests=len(score),
        generate_requests=len(generate) + len(answers),
        distinct_tokens=sum(batch.distinct_tokens for batch in batches),
        total_tokens=sum(batch.total_tokens for batch in batches),
        most_new_tokens=sum(request.max_new_tokens for request in chain(*to_generate)),
        truncated=sum(scoring_input(request, context)[1] > 0 for request in score)
        + sum(generation_input(request, context)[2] > 0 for request in [*generate, *answers]),
        memory_bytes=model.memory_bytes(packs, list(chain.from_iterable(groups))),
        free_bytes=free_bytes(model.device),
        seconds=seconds,
        impossible=tuple(asked.impossible.values()),
    )


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second of a large matrix product here, measured just now."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device).to(dtype)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _MEASURING_SECONDS:
        _ = left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - began)
