"""The story of a run: plan, infer, score, judge, aggregate, report.

Reads like the picture in docs/design.md: names become checked models and tasks, these become
requests, the engine answers them (the store first), lm-eval scores the answers, a judge compares
them, and scores and games become a leaderboard and a page. Everything cheap that can fail is tried
before anything long begins.
"""

from __future__ import annotations

import dataclasses
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import RunConfig, default_store
from evalsuite.execution import Execution, open_execution
from evalsuite.gate import GateResult, Side
from evalsuite.gating import gate_run, load_baseline
from evalsuite.inference import Inference, Usage
from evalsuite.judge import Answer, JudgeResult
from evalsuite.judging import play, write_games
from evalsuite.loading import load
from evalsuite.manifest import make_manifest, run_times
from evalsuite.models import ModelSpec
from evalsuite.preparation import Prepared, check_room, load_task_set, named_by, prepare
from evalsuite.progress import Progress, make_progress
from evalsuite.records import Failure, Leaderboard, TaskResult, UserError
from evalsuite.remote_inference import RemoteInference
from evalsuite.sandbox import Protection
from evalsuite.store import Store
from evalsuite.store.run_folder import FINISHED, PARTIAL, RUNNING, RunFolder
from evalsuite.subjects import LocalSubject, ServerSubject, Subject

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet

EXIT_PART_FAILED = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its folder, its page, its numbers, and the exit code they mean."""

    folder: Path
    report: Path
    leaderboard: Leaderboard
    exit_code: int
    gate: GateResult | None = None


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


def run(config: RunConfig) -> Outcome:
    """Evaluates the models of a config on its tasks and writes the run's folder.

    Raises:
        UserError: something named in the config can't be used; nothing was written over.
    """
    began = time.monotonic()
    progress = make_progress(config.progress)
    baseline = load_baseline(config)
    prepared = prepare(config)
    check_room(config, prepared)
    for failure in prepared.missing:
        progress.note(f"note: {failure.error}")
    asked = config.output or default_output(prepared.models)
    identity = {**config.identity(), "judge": prepared.judge.spec.name}
    with (
        Store(config.store or default_store()) as store,
        RunFolder.open(asked, identity) as folder,
    ):
        _announce(progress, prepared, folder)
        try:
            task_set = load_task_set(config, prepared)
            for note in (*task_set.warnings, *(skip.error for skip in task_set.skipped)):
                progress.note(f"note: {note}")
            programs = open_execution(config, task_set, folder, store, progress)
            with programs or nullcontext():
                measured, failed = _measure_all(
                    config, prepared, task_set, folder, store, progress, programs
                )
        except UserError:
            folder.discard()
            raise
        games, unjudged = _judge(config, prepared, measured, folder, store, progress)
        skipped = named_by(config, task_set.skipped)
        failed = [*prepared.missing, *skipped, *failed, *unjudged]
        held = programs.protection if programs else None
        return _finish(
            config, prepared, task_set, folder, measured, games, failed, began, held, baseline
        )


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


def _measure_all(
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
            _show(config, error)
            failed.append(Failure(spec.label, "", "infer", _one_line(error)))
    if not measured:
        raise UserError("\n".join(_said(failure) for failure in failed))
    return measured, failed


def _show(config: RunConfig, error: Exception) -> None:
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
        answers, cut = subject.answers(prepared.judge.questions)
        if cut:
            notes.append(f"{cut} of the judge's questions were cut on the left to fit the context")
    except Exception as error:
        _show(config, error)
        unanswered = _one_line(error)
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


def _judge(
    config: RunConfig,
    prepared: Prepared,
    measured: Mapping[str, Measured],
    folder: RunFolder,
    store: Store,
    progress: Progress,
) -> tuple[JudgeResult, list[Failure]]:
    """The games between the models that answered; whatever fails here costs no score."""
    failed = [
        Failure(label, "", "judge", f"no answers to the judge's questions: {part.unanswered}")
        for label, part in measured.items()
        if part.unanswered
    ]
    answers = {label: part.answers for label, part in measured.items() if not part.unanswered}
    if not prepared.judge.plays or len(answers) < 2:
        return JudgeResult(()), failed
    name = prepared.judge.spec.name
    try:
        result = play(prepared.judge, answers, config, store, folder.run, progress)
    except Exception as error:
        _show(config, error)
        return JudgeResult(()), [*failed, Failure("", "", "judge", f"{name}: {_one_line(error)}")]
    folders = {label: measured[label].about["folder"] for label in answers}
    write_games(folder.path, prepared.judge, answers, result, folders)
    left = result.failed + result.pending
    if left:
        why = result.stopped or "no reply after all retries; the same command asks again"
        failed.append(Failure("", "", "judge", f"{name}: {left} games are missing: {why}"))
    elif all(game.verdict == "invalid" for game in result.games):
        failed.append(
            Failure(
                "", "", "judge", f"{name}: none of its replies holds a verdict that can be read"
            )
        )
    return result, failed


def _finish(
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    measured: Mapping[str, Measured],
    games: JudgeResult,
    failed: Sequence[Failure],
    began: float,
    held: Protection | None,
    baseline: Side | None,
) -> Outcome:
    """Numbers into a leaderboard, a manifest, the gate's verdict and a page."""
    from evalsuite.leaderboard import aggregate, write_leaderboard
    from evalsuite.leaderboard.judges import judge_summary, with_judges
    from evalsuite.leaderboard.paper import with_paper
    from evalsuite.report import build_report

    results = [result for part in measured.values() for result in part.results]
    times = run_times(
        time.monotonic() - began, {label: part.seconds for label, part in measured.items()}
    )
    board = aggregate(results, failed, prepared.order, seed=config.seed, times=times)
    shots = {name: info.num_fewshot for name, info in task_set.infos.items()}
    board = with_paper(board, _base_models(prepared), shots)
    judged = judge_summary(games.games, prepared.order, seed=config.seed)
    board = with_judges(board, judged)
    board = dataclasses.replace(board, code_execution=held.mode if held else None)
    write_leaderboard(folder.path, board)
    notes = [
        *task_set.warnings,
        *(skip.error for skip in task_set.skipped),
        *games.notes,
        *judged.notes,
        *(f"{label}: {note}" for label, part in measured.items() for note in part.notes),
    ]
    manifest = make_manifest(
        config,
        prepared.judge.spec,
        task_set,
        games,
        finished=times["finished"],
        models=[part.about for part in measured.values()],
        usage={label: part.usage for label, part in measured.items()},
        held=held,
        notes=notes,
    )
    # The status is the last word: a run that is killed before it goes on with what it had, and one
    # with a failed part, or games that a budget left over, is gone on with by the same command.
    folder.write_manifest({**manifest, "status": RUNNING})
    gate = gate_run(config, baseline, folder.path)
    page = build_report([folder.path], None)
    folder.write_manifest({**manifest, "status": PARTIAL if board.failed else FINISHED})
    code = EXIT_PART_FAILED if board.failed else 0
    return Outcome(folder.path, page, board, gate.exit_code if gate else code, gate)


def _base_models(prepared: Prepared) -> dict[str, str]:
    """What each model is in the registry; a folder is what its label says: llama-7b=DIR."""
    return {s.label: s.entry or s.label for s in prepared.models if s.adapter is None}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
