"""Names into things that are sure: models on disk, known tasks, judges, before anything is run.

The first step of a run and of a plan. Loads no weights and asks no engine.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalsuite.config import RunConfig
from evalsuite.harness.catalog import LIBRARY_PREFIX, TaskSpec, is_file, resolve
from evalsuite.judge import GivenAnswers, Question
from evalsuite.judging import JudgePlan, prepare_judges
from evalsuite.loading import check_devices, check_flags, check_folder
from evalsuite.models import ModelSpec, Weights, check_tokenizer, locate_all, resolve_models
from evalsuite.records import Failure, UserError
from evalsuite.servers import Server, reach, resolve_servers
from evalsuite.subjects import task_template

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet


@dataclass(frozen=True, slots=True)
class Prepared:
    """The names of a config, made sure of: models that lie on disk and are whole, tasks, judges.

    `models` are those whose weights are there or whose server can be asked, `missing` says of the
    others why not. `given` are answers from files, to the judges' questions only.
    """

    models: tuple[ModelSpec, ...]
    weights: Mapping[str, Weights]
    servers: Mapping[str, Server]
    missing: tuple[Failure, ...]
    tasks: tuple[TaskSpec, ...]
    judges: tuple[JudgePlan, ...]
    given: tuple[GivenAnswers, ...] = ()

    @property
    def order(self) -> list[str]:
        """The models' names as they were asked for, those of given answers last."""
        return [*(spec.label for spec in self.models), *(its.label for its in self.given)]

    @property
    def questions(self) -> tuple[Question, ...]:
        """What the models are asked for their judges: every question that one of these wants."""
        longest_first = sorted(self.judges, key=lambda plan: len(plan.questions), reverse=True)
        return tuple({q.question_id: q for plan in longest_first for q in plan.questions}.values())


def prepare(config: RunConfig, *, spends: bool = True) -> Prepared:
    """Checks every name of a config: seconds, whatever the models' size.

    `spends` False: nothing will be run, so nobody has to agree to a judge's cost.

    Raises:
        UserError: a model, a checkpoint's file, a task or a judge that is not what it should be,
            or no model's weights can be had.
    """
    check_flags(config)
    models: tuple[ModelSpec, ...] = ()
    tasks: Sequence[TaskSpec] = ()
    # Answers in files need no model: without one there is nothing to run, only to judge.
    if config.models or config.tasks or not config.judge_answers:
        models = resolve_models(config.models, config.revision, config.template)
        tasks = resolve(config.tasks or default_tasks(models))
    if config.data_dir is not None and not config.data_dir.is_dir():
        raise UserError(f"--data-dir {config.data_dir}: no such folder")
    judges, given = prepare_judges(config, models, spends=spends)
    servers = resolve_servers(
        models,
        os.environ,
        api_key_env=config.api_key_env,
        judge_urls={plan.spec.endpoint for plan in judges},
    )
    weights, unavailable = locate_all([spec for spec in models if spec.kind != "server"])
    failures = [Failure(error.label, "", "load", str(error)) for error in unavailable]
    if spends:
        servers, unreached = _reach_all(servers, config.chat)
        failures += unreached
    if models and not weights and not servers:
        raise UserError("\n".join(failure.error for failure in failures))
    for label, its in weights.items():
        check_folder(its.folder, config.engine)
        check_tokenizer(its.folder, label)
    for spec in models:
        if spec.label in weights:
            task_template(spec, weights[spec.label].folder, config.chat)
    there = [spec for spec in models if spec.label in weights or spec.label in servers]
    if len(there) + len(given) < 2:
        # There is nobody left to play against.
        judges = tuple(dataclasses.replace(plan, questions=()) for plan in judges)
    check_devices(config)  # imports torch: after the rest
    return Prepared(
        tuple(there),
        weights,
        servers,
        tuple(failures),
        tuple(tasks),
        judges,
        given,
    )


def check_room(config: RunConfig, prepared: Prepared) -> None:
    """Makes sure that every model fits into memory as the config wants it, before any is loaded.

    Only the memory of our own engine is known beforehand.

    Raises:
        UserError: one does not fit, with what would; or it can't be quantised here.
    """
    if config.engine != "torch" or not prepared.weights:
        return
    from evalsuite.engine.llama.devices import ranks_needed, worker_devices

    devices = worker_devices(config.device, config.workers)
    settings = {
        "dtype": config.dtype,
        "max_length": config.max_length,
        "quantize": config.quantize,
    }
    for weights in prepared.weights.values():
        ranks_needed(weights.folder, devices, settings)


def _reach_all(servers: Mapping[str, Server], chat: str) -> tuple[dict[str, Server], list[Failure]]:
    """The servers that can be asked, with what they can do; and why the others can't."""
    reached: dict[str, Server] = {}
    failures: list[Failure] = []
    for label, server in servers.items():
        try:
            reached[label] = reach(server, chat)
        except UserError as error:
            failures.append(Failure(label, "", "load", f"{label}: {error}"))
    return reached, failures


def default_tasks(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    """The suite for models when no task is named."""
    return ("starter",) if all(spec.kind == "demo" for spec in models) else ("core",)


def load_task_set(config: RunConfig, prepared: Prepared) -> TaskSet:
    """The tasks with their documents and prompts, the same for every model."""
    from evalsuite.harness.tasks import CodePolicy, load_tasks

    return load_tasks(
        prepared.tasks,
        data_dir=config.data_dir,
        num_fewshot=config.num_fewshot,
        limit=config.limit,
        code=CodePolicy(lambda: _no_sandbox(config), bare=config.unsafe_code_execution),
    )


def _no_sandbox(config: RunConfig) -> str:
    """Why the model's programs can't be run on this machine; "" when they can."""
    if config.unsafe_code_execution:
        return ""
    from evalsuite.sandbox import probe

    protection = probe()
    if protection.contained:
        return ""
    return (
        "it runs programs that the model wrote, and no sandbox works here "
        f"({'; '.join(protection.reasons)}). --unsafe-code-execution runs them without one."
    )


def named_by(config: RunConfig, skipped: Sequence[Failure]) -> list[Failure]:
    """Those of the skipped tasks that were asked for by their own name, not by a suite's."""
    asked = {name.removeprefix(LIBRARY_PREFIX) for name in config.tasks}
    if files := [name for name in config.tasks if is_file(name)]:
        asked |= {spec.name for spec in resolve(files)}
    return [failure for failure in skipped if failure.task in asked]
