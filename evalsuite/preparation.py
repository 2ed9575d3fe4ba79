"""Names into things that are sure: models on disk, known tasks, a judge, before anything is run.

The first step of a run and of a plan. Loads no weights and asks no engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalsuite.config import RunConfig
from evalsuite.harness.catalog import TaskSpec, resolve
from evalsuite.judging import JudgePlan, prepare_judge
from evalsuite.loading import check_folder
from evalsuite.models import ModelSpec, Weights, check_tokenizer, locate_all, resolve_models
from evalsuite.records import Failure, UserError

if TYPE_CHECKING:
    from evalsuite.harness.tasks import TaskSet


@dataclass(frozen=True, slots=True)
class Prepared:
    """The names of a config, made sure of: models that lie on disk and are whole, tasks, a judge.

    `models` are those whose weights are there, `missing` says of the others why not.
    """

    models: tuple[ModelSpec, ...]
    weights: Mapping[str, Weights]
    missing: tuple[Failure, ...]
    tasks: tuple[TaskSpec, ...]
    judge: JudgePlan

    @property
    def order(self) -> list[str]:
        """The models' names as they were asked for."""
        return [spec.label for spec in self.models]


def prepare(config: RunConfig, *, spends: bool = True) -> Prepared:
    """Checks every name of a config: seconds, whatever the models' size.

    `spends` False: nothing will be run, so nobody has to agree to a judge's cost.

    Raises:
        UserError: a model, a checkpoint's file, a task or a judge that is not what it should be,
            or no model's weights can be had.
    """
    models = resolve_models(config.models, config.revision, config.template)
    tasks = resolve(config.tasks or default_tasks(models))
    if config.data_dir is not None and not config.data_dir.is_dir():
        raise UserError(f"--data-dir {config.data_dir}: no such folder")
    judge = prepare_judge(config, models, spends=spends)
    weights, unavailable = locate_all(models)
    if not weights:
        raise UserError("\n".join(str(error) for error in unavailable))
    for label, its in weights.items():
        check_folder(its.folder, config.engine)
        check_tokenizer(its.folder, label)
    if len(weights) < 2:
        judge = dataclasses.replace(judge, questions=())  # there is nobody left to play against
    from evalsuite.engine.llama.engine import resolve_device  # imports torch: after the rest

    resolve_device(config.device)
    return Prepared(
        tuple(spec for spec in models if spec.label in weights),
        weights,
        tuple(Failure(error.label, "", "load", str(error)) for error in unavailable),
        tuple(tasks),
        judge,
    )


def default_tasks(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    """The suite for models when no task is named."""
    return ("starter",) if all(spec.kind == "demo" for spec in models) else ("core",)


def load_task_set(config: RunConfig, prepared: Prepared) -> TaskSet:
    """The tasks with their documents and prompts, the same for every model."""
    from evalsuite.harness.tasks import load_tasks

    return load_tasks(
        prepared.tasks,
        data_dir=config.data_dir,
        num_fewshot=config.num_fewshot,
        limit=config.limit,
    )
