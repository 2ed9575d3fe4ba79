"""The story of a run: plan, infer, score, judge, aggregate, report.

Reads like the picture in docs/design.md: names become checked models and tasks, these become
requests, the engine answers them (the store first), lm-eval scores the answers, a judge compares
them, and scores and games become a leaderboard and a page. Everything cheap that can fail is tried
before anything long begins.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite import __version__
from evalsuite.config import RunConfig, default_store
from evalsuite.execution import Execution, open_execution
from evalsuite.gate import GateResult, Side
from evalsuite.gating import gate_run, load_baseline
from evalsuite.inference import Inference, Usage
from evalsuite.judge import Answer, JudgeResult
from evalsuite.judging import asker, play, write_games
from evalsuite.loading import load
from evalsuite.models import ModelSpec
from evalsuite.preparation import Prepared, check_room, load_task_set, named_by, prepare
from evalsuite.progress import Progress, make_progress
from evalsuite.records import Failure, Leaderboard, TaskResult, UserError
from evalsuite.sandbox import Protection
from evalsuite.store import Store
from evalsuite.store.run_folder import FINISHED, PARTIAL, RUNNING, RunFolder

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
    from evalsuite.harness.adapter import EngineLM
    from evalsuite.harness.evaluate import evaluate
    from evalsuite.harness.results import write_results

    clock = [time.monotonic()]
    model = load(spec, prepared.weights[spec.label], config, store)
    clock.append(time.monotonic())
    progress.note(f"{spec.label}: loaded in {clock[1] - clock[0]:.1f} s")
    for warning in model.warnings:
        progress.note(f"note: {spec.label}: {warning}")

    inference = Inference(model.engine, store, folder.run, progress, refresh=config.refresh)
    lm = EngineLM(
        model.tokenizer,
        model.engine.max_length,
        inference.score,
        inference.generate,
        run_seed=config.seed,
    )
    evaluation = evaluate(task_set, lm, model=spec.label, programs=programs)
    about = model.about()
    # On disk before anything else is asked of the model: answering may fail, scores must not.
    written = write_results(
        folder.path, spec.label, evaluation, created=folder.created, about=about
    )
    about["folder"] = written.name
    clock.append(time.monotonic())
    notes = [*model.warnings, *evaluation.warnings]
    answers: tuple[Answer, ...] = ()
    unanswered = ""
    try:
        asking = asker(model.template, model.tokenizer, model.engine.max_length)
        given, cut = asking.answers(prepared.judge.questions, inference.generate)
        answers = tuple(given)
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
        inference.usage,
        times,
        tuple(notes),
        evaluation.failures,
    )


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
    from evalsuite.environment import hardware, versions
    from evalsuite.leaderboard import aggregate, write_leaderboard
    from evalsuite.leaderboard.judges import judge_summary, with_judges
    from evalsuite.leaderboard.paper import with_paper
    from evalsuite.report import build_report

    results = [result for part in measured.values() for result in part.results]
    seconds = time.monotonic() - began
    times = {
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": {
            label: {name: round(value, 3) for name, value in part.seconds.items()}
            for label, part in measured.items()
        },
    }
    board = aggregate(results, failed, prepared.order, seed=config.seed, times=times)
    shots = {name: info.num_fewshot for name, info in task_set.infos.items()}
    board = with_paper(board, _base_models(prepared), shots)
    judged = judge_summary(games.games, prepared.order, seed=config.seed)
    board = with_judges(board, judged)
    board = dataclasses.replace(board, code_execution=held.mode if held else None)
    write_leaderboard(folder.path, board)
    manifest = {
        "evalsuite": __version__,
        "finished": times["finished"],
        "command": shlex.join(["evalsuite", *_command_line()]),
        "config": config.flags(),
        "measured": {**config.identity(), "judge": prepared.judge.spec.name},
        "seed": config.seed,
        "models": [part.about for part in measured.values()],
        "tasks": {name: dataclasses.asdict(info) for name, info in task_set.infos.items()},
        "judging": {
            "judge": prepared.judge.spec.name,
            "model": prepared.judge.spec.model,
            "endpoint": prepared.judge.spec.endpoint,
            "served": list(games.served),
            "games": len(games.games),
            "pending": games.pending,
            "calls": games.calls,
            "from_store": games.from_store,
            "dollars": games.dollars,
        },
        "code_execution": dataclasses.asdict(held) if held else None,
        "usage": {label: dataclasses.asdict(part.usage) for label, part in measured.items()},
        "notes": [
            *task_set.warnings,
            *(skip.error for skip in task_set.skipped),
            *games.notes,
            *judged.notes,
            *(f"{label}: {note}" for label, part in measured.items() for note in part.notes),
        ],
        "versions": versions(),
        "hardware": hardware(),
    }
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


def _command_line() -> list[str]:
    """This process's arguments, when it was started as a command of evalsuite."""
    program = Path(sys.argv[0]).name
    if program == "run_eval.py":
        return ["run", *sys.argv[1:]]
    return sys.argv[1:] if program in ("evalsuite", "__main__.py") else ["run"]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
