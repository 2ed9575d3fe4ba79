"""The middle of a run: every model in turn, from weights to scored samples and answers.

One that fails costs the others nothing. Knows models, tasks and the run's folder; knows nothing of
games, leaderboards and pages.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalsuite.config import RunConfig
from evalsuite.execution import Execution
from evalsuite.inference import Inference, Usage
from evalsuite.judge import Answer
from evalsuite.loading import load
from evalsuite.models import ModelSpec
from evalsuite.preparation import Prepared
from evalsuite.progress import Progress
from evalsuite.records import Failure, TaskResult, UserError
from evalsuite.remote_inference import RemoteInference
from evalsuite.store import Store
from evalsuite.store.run_folder import RunFolder
from evalsuite.subjects import LocalSubject, ServerSubject, Subject

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model's part of a run gave. `unanswered` says why there are no `answers`."""

    results: tuple[TaskResult, ...]
    answers: tuple[Answer, ...]
    unanswered: str
    about: Mapping[str, Any]
    usage: Usage
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    failed: tuple[Failure, ...] = ()


def measure_all(
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    store: Store,
    progress: Progress,
    programs: Execution | None,
) -> tuple[dict[str, Measured], list[Failure]]:
    """Every model in turn; one that fails must not cost the others their results.

    Raises:
        UserError: none is left; one line a model says why.
    """
    measured: dict[str, Measured] = {}
    failed: list[Failure] = []
    for spec in prepared.models:
        try:
            measured[spec.label] = _measure(
                spec, config, prepared, task_set, folder, store, progress, programs
            )
            failed += measured[spec.label].failed
        except Exception as error:
            show_traceback(config, error)
            failed.append(Failure(spec.label, "", "infer", one_line(error)))
    if prepared.models and not measured:
        raise UserError("\n".join(_said(failure) for failure in failed))
    return measured, failed


def show_traceback(config: RunConfig, error: Exception) -> None:
    """The traceback of an error that does not end the run, for those who asked for it."""
    if config.debug:
        traceback.print_exception(error)


def _said(failure: Failure) -> str:
    """A failure as a line; many errors name their model already."""
    named = failure.error.startswith(f"{failure.model}:")
    return failure.error if named else f"{failure.model}: {failure.error}"


def _measure(
    spec: ModelSpec,
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    store: Store,
    progress: Progress,
    programs: Execution | None,
) -> Measured:
    """One model from weights to scored samples on disk, and its answers for the judge."""
    from evalsuite.harness.results import write_results

    clock = [time.monotonic()]
    subject = _subject(spec, config, prepared, folder, store, progress)
    clock.append(time.monotonic())
    told = len(subject.notes)
    for note in subject.notes:
        progress.note(f"note: {spec.label}: {note}")
    evaluation = subject.evaluate(task_set, programs)
    for note in subject.notes[told:]:
        progress.note(f"note: {spec.label}: {note}")
    about = subject.about()
    # On disk before anything else is asked of the model: answering may fail, scores must not.
    written = write_results(
        folder.path, spec.label, evaluation, created=folder.created, about=about
    )
    about["folder"] = written.name
    clock.append(time.monotonic())
    notes = [*subject.notes, *evaluation.warnings]
    answers: tuple[Answer, ...] = ()
    unanswered = ""
    try:
        answers, cut = subject.answers(prepared.questions)
        if cut:
            notes.append(f"{cut} of the judge's questions were cut on the left to fit the context")
    except Exception as error:
        show_traceback(config, error)
        unanswered = one_line(error)
    clock.append(time.monotonic())
    times = {
        "load_seconds": clock[1] - clock[0],
        "evaluate_seconds": clock[2] - clock[1],
        "answer_seconds": clock[3] - clock[2],
    }
    return Measured(
        evaluation.results,
        answers,
        unanswered,
        about,
        subject.usage,
        times,
        tuple(notes),
        (*evaluation.failures, *subject.failed),
    )


def _subject(
    spec: ModelSpec,
    config: RunConfig,
    prepared: Prepared,
    folder: RunFolder,
    store: Store,
    progress: Progress,
) -> Subject:
    """A model ready to be asked: loaded, or behind its server."""
    if spec.kind == "server":
        server = prepared.servers[spec.label]
        remote = RemoteInference(
            server.endpoint, store, folder.run, progress, refresh=config.refresh
        )
        return ServerSubject(spec, server, config, remote)
    began = time.monotonic()
    model = load(spec, prepared.weights[spec.label], config, store)
    progress.note(f"{spec.label}: loaded in {time.monotonic() - began:.1f} s")
    inference = Inference(model.engine, store, folder.run, progress, refresh=config.refresh)
    return LocalSubject(model, config, inference, model.warnings)


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
