"""The story of a run: plan, infer, score, aggregate, report.

Reads like the picture in the README: names become checked models and tasks, these become requests,
the engine answers them (the store first), lm-eval scores the answers, and the scores become a
leaderboard and a page. Everything cheap that can fail is tried before anything long begins.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite import __version__
from evalsuite.config import RunConfig, default_store
from evalsuite.engine.llama.checkpoint import check_checkpoint
from evalsuite.harness.catalog import TaskSpec, resolve
from evalsuite.inference import Inference, Usage
from evalsuite.models import (
    ModelSpec,
    check_tokenizer,
    fingerprint,
    load_tokenizer,
    locate,
    resolve_models,
)
from evalsuite.progress import Progress, make_progress
from evalsuite.records import Failure, Leaderboard, TaskResult, UserError
from evalsuite.store import Store
from evalsuite.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalsuite.harness.tasks import TaskSet

EXIT_PART_FAILED = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its folder, its page, its numbers, and the exit code they mean."""

    folder: Path
    report: Path
    leaderboard: Leaderboard
    exit_code: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The names of a config, made sure of: models that lie on disk and are whole, known tasks."""

    models: tuple[ModelSpec, ...]
    folders: Mapping[str, Path]
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model's part of a run gave."""

    results: tuple[TaskResult, ...]
    about: Mapping[str, Any]
    usage: Usage
    seconds: Mapping[str, float]
    notes: tuple[str, ...]


def prepare(config: RunConfig) -> Prepared:
    """Checks every name of a config: seconds, whatever the models' size.

    Raises:
        UserError: a model, a checkpoint's file or a task that is not what it should be.
    """
    models = resolve_models(config.models, config.revision)
    tasks = resolve(config.tasks or default_tasks(models))
    if config.data_dir is not None and not config.data_dir.is_dir():
        raise UserError(f"--data-dir {config.data_dir}: no such folder")
    folders = {}
    for spec in models:
        folders[spec.label] = folder = locate(spec)
        check_checkpoint(folder)
        check_tokenizer(folder, spec.label)
    from evalsuite.engine.llama.engine import resolve_device  # imports torch: after the rest

    resolve_device(config.device)
    return Prepared(models, folders, tuple(tasks))


def default_tasks(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    """The suite for models when no task is named."""
    return ("starter",) if all(spec.kind == "demo" for spec in models) else ("core",)


def run(config: RunConfig) -> Outcome:
    """Evaluates the models of a config on its tasks and writes the run's folder.

    Raises:
        UserError: something named in the config can't be used; nothing was written over.
    """
    began = time.monotonic()
    progress = make_progress(config.progress)
    prepared = prepare(config)
    asked = config.output or default_output(prepared.models)
    with (
        Store(config.store or default_store()) as store,
        RunFolder.open(asked, config.identity()) as folder,
    ):
        _announce(progress, prepared, folder)
        try:
            task_set = load_task_set(config, prepared)
            for note in task_set.warnings:
                progress.note(f"note: {note}")
            measured, failed = _measure_all(config, prepared, task_set, folder, store, progress)
        except UserError:
            folder.discard()
            raise
        return _finish(config, prepared, task_set, folder, measured, failed, began)


def default_output(models: Sequence[ModelSpec]) -> Path:
    """reports/<date>-<models>, short enough for any file system."""
    names = re.sub(r"[^\w.+-]+", "-", "-".join(spec.label for spec in models))
    return Path("reports") / f"{datetime.now():%Y-%m-%d}-{names[:80].rstrip('-.')}"


def _announce(progress: Progress, prepared: Prepared, folder: RunFolder) -> None:
    names = ", ".join(spec.label for spec in prepared.models)
    verb = "going on with" if folder.resumed else "run"
    progress.note(f"{verb} {folder.path}: {len(prepared.tasks)} tasks on {names}")
    if folder.path != folder.asked:
        progress.note(f"note: {folder.asked} holds another run and is left as it is")


def load_task_set(config: RunConfig, prepared: Prepared) -> TaskSet:
    """The tasks with their documents and prompts, the same for every model."""
    from evalsuite.harness.tasks import load_tasks

    return load_tasks(
        prepared.tasks,
        data_dir=config.data_dir,
        num_fewshot=config.num_fewshot,
        limit=config.limit,
    )


def _measure_all(
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    store: Store,
    progress: Progress,
) -> tuple[dict[str, Measured], list[Failure]]:
    """Every model in turn; one that fails must not cost the others their results.

    With none left there is nothing to report, and the last error itself is the outcome.
    """
    measured: dict[str, Measured] = {}
    failed: list[Failure] = []
    for spec in prepared.models:
        try:
            measured[spec.label] = _measure(
                spec, config, prepared, task_set, folder, store, progress
            )
        except Exception as error:
            failed.append(Failure(spec.label, "", "infer", _one_line(error)))
            if len(failed) == len(prepared.models):
                raise
            if config.debug:
                traceback.print_exc()
    return measured, failed


def _measure(
    spec: ModelSpec,
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    store: Store,
    progress: Progress,
) -> Measured:
    """One model from weights to scored samples on disk."""
    from evalsuite.engine.llama.engine import LlamaEngine
    from evalsuite.harness.adapter import EngineLM
    from evalsuite.harness.evaluate import evaluate
    from evalsuite.harness.results import write_results

    clock = [time.monotonic()]
    place = prepared.folders[spec.label]
    hashes = fingerprint(place, store.file_hash, store.keep_file_hash)
    tokenizer = load_tokenizer(place, spec.label)
    engine = LlamaEngine.load(
        place,
        tokenizer,
        device=config.device,
        dtype=config.dtype,
        max_length=config.max_length,
        weights_hash=hashes.weights,
    )
    clock.append(time.monotonic())
    progress.note(f"{spec.label}: loaded in {clock[1] - clock[0]:.1f} s")
    for warning in engine.warnings:
        progress.note(f"note: {spec.label}: {warning}")

    inference = Inference(engine, store, folder.run, progress, refresh=config.refresh)
    lm = EngineLM(
        tokenizer,
        engine.max_length,
        inference.score,
        inference.generate,
        run_seed=config.seed,
    )
    evaluation = evaluate(task_set, lm, model=spec.label)
    clock.append(time.monotonic())
    about = {
        "name": spec.label,
        "source": f"embedded {Path(spec.source).name}" if spec.kind == "demo" else spec.source,
        "revision": spec.revision,
        "weights_sha256": hashes.weights,
        "tokenizer_sha256": hashes.tokenizer,
        "parameters": engine.model.config.parameters,
        "dtype": engine.identity["dtype"],
        "device": engine.identity["device"],
        "max_length": engine.max_length,
        "note": "demo" if spec.kind == "demo" else "",
    }
    written = write_results(
        folder.path, spec.label, evaluation, created=folder.created, about=about
    )
    about["folder"] = written.name
    times = {"load_seconds": clock[1] - clock[0], "evaluate_seconds": clock[2] - clock[1]}
    notes = (*engine.warnings, *evaluation.warnings)
    return Measured(evaluation.results, about, inference.usage, times, notes)


def _finish(
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    measured: Mapping[str, Measured],
    failed: Sequence[Failure],
    began: float,
) -> Outcome:
    """Numbers into a leaderboard, a manifest and a page."""
    from evalsuite.environment import hardware, versions
    from evalsuite.leaderboard import aggregate, write_leaderboard
    from evalsuite.report import build_report

    results = [result for part in measured.values() for result in part.results]
    order = [spec.label for spec in prepared.models]
    seconds = time.monotonic() - began
    times = {
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": {
            label: {name: round(value, 3) for name, value in part.seconds.items()}
            for label, part in measured.items()
        },
    }
    board = aggregate(results, failed, order, seed=config.seed, times=times)
    write_leaderboard(folder.path, board)
    folder.write_manifest(
        {
            "evalsuite": __version__,
            "status": "finished",
            "finished": times["finished"],
            "command": shlex.join(["evalsuite", *_command_line()]),
            "config": config.flags(),
            "measured": config.identity(),
            "seed": config.seed,
            "models": [part.about for part in measured.values()],
            "tasks": {name: dataclasses.asdict(info) for name, info in task_set.infos.items()},
            "usage": {label: dataclasses.asdict(part.usage) for label, part in measured.items()},
            "notes": [
                *task_set.warnings,
                *(f"{label}: {note}" for label, part in measured.items() for note in part.notes),
            ],
            "versions": versions(),
            "hardware": hardware(),
        }
    )
    page = build_report([folder.path], None)
    return Outcome(folder.path, page, board, EXIT_PART_FAILED if board.failed else 0)


def _command_line() -> list[str]:
    """This process's arguments, when it was started as a command of evalsuite."""
    program = Path(sys.argv[0]).name
    if program == "run_eval.py":
        return ["run", *sys.argv[1:]]
    return sys.argv[1:] if program in ("evalsuite", "__main__.py") else ["run"]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
