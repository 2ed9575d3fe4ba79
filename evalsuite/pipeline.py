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
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.audit_evidence import family_notes, gather, labels_of
from evalsuite.config import RunConfig, default_store
from evalsuite.execution import open_execution
from evalsuite.gate import GateResult, Side, keep_items
from evalsuite.gating import gate_run, load_baseline
from evalsuite.judging import measured_of
from evalsuite.manifest import about_given, make_manifest, run_times
from evalsuite.measuring import Measured, measure_all
from evalsuite.playing import Judged, judge_all
from evalsuite.preparation import Prepared, check_room, load_task_set, named_by, prepare
from evalsuite.progress import Progress, make_progress
from evalsuite.records import Failure, Leaderboard, UserError
from evalsuite.sandbox import Protection
from evalsuite.store import Store
from evalsuite.store.run_folder import FINISHED, PARTIAL, RUNNING, RunFolder

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet
    from evalsuite.leaderboard.evidence import Evidence

EXIT_PART_FAILED = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its folder, its page, its numbers, and the exit code they mean."""

    folder: Path
    report: Path
    leaderboard: Leaderboard
    exit_code: int
    gate: GateResult | None = None


def run(config: RunConfig) -> Outcome:
    """Evaluates the models of a config on its tasks and writes the run's folder.

    Raises:
        UserError: something named in the config can't be used; nothing was written over.
    """
    began = time.monotonic()
    progress = make_progress(config.progress)
    baseline = load_baseline(config)
    labels = labels_of(config)
    prepared = prepare(config)
    check_room(config, prepared)
    for failure in prepared.missing:
        progress.note(f"note: {failure.error}")
    for warning in family_notes(
        prepared.judges, prepared.models, [its.label for its in prepared.given]
    ):
        progress.note(f"note: {warning}")
    asked = config.output or default_output(prepared.order)
    identity = measured_of(config, prepared.judges, prepared.given)
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
                measured, failed = measure_all(
                    config, prepared, task_set, folder, store, progress, programs
                )
        except UserError:
            folder.discard()
            raise
        judged, unjudged = judge_all(config, prepared, measured, folder, store, progress)
        skipped = named_by(config, task_set.skipped)
        failed = [*prepared.missing, *skipped, *failed, *unjudged]
        held = programs.protection if programs else None
        evidence = gather(
            prepared.judges,
            prepared.models,
            labels,
            prepared.questions,
            {
                **{label: part.answers for label, part in measured.items() if part.answers},
                **{its.label: its.answers for its in prepared.given},
            },
            {one.plan.spec.name: one.result.served for one in judged},
        )
        outcome = _finish(
            config,
            prepared,
            task_set,
            folder,
            measured,
            judged,
            evidence,
            failed,
            began,
            held,
            baseline,
            progress,
        )
        _list_run(progress, folder.path)
        return outcome


def default_output(models: Sequence[str]) -> Path:
    """reports/<date>-<models>, short enough for any file system."""
    names = re.sub(r"[^\w.+-]+", "-", "-".join(models))
    return Path("reports") / f"{datetime.now():%Y-%m-%d}-{names[:80].rstrip('-.')}"


def _announce(progress: Progress, prepared: Prepared, folder: RunFolder) -> None:
    names = ", ".join(prepared.order)
    verb = "going on with" if folder.resumed else "run"
    progress.note(f"{verb} {folder.path}: {len(prepared.tasks)} tasks on {names}")
    if folder.path != folder.asked:
        progress.note(f"note: {folder.asked} holds another run and is left as it is")


def _finish(
    config: RunConfig,
    prepared: Prepared,
    task_set: TaskSet,
    folder: RunFolder,
    measured: Mapping[str, Measured],
    judged: Sequence[Judged],
    evidence: Evidence,
    failed: Sequence[Failure],
    began: float,
    held: Protection | None,
    baseline: Side | None,
    progress: Progress,
) -> Outcome:
    """Numbers into a leaderboard, a manifest, the gate's verdict and a page."""
    from evalsuite.leaderboard import aggregate, load_run, write_leaderboard
    from evalsuite.leaderboard.judges import judge_summary, with_judges
    from evalsuite.leaderboard.panel import with_panel
    from evalsuite.leaderboard.paper import with_paper
    from evalsuite.report import build_report

    results = [result for part in measured.values() for result in part.results]
    times = run_times(
        time.monotonic() - began, {label: part.seconds for label, part in measured.items()}
    )
    board = aggregate(results, failed, prepared.order, seed=config.seed, times=times)
    shots = {name: info.num_fewshot for name, info in task_set.infos.items()}
    board = with_paper(board, _base_models(prepared), shots)
    games = [game for one in judged for game in one.result.games]
    summary = judge_summary(games, prepared.order, seed=config.seed, evidence=evidence)
    summary = with_panel(summary, games, prepared.order, seed=config.seed)
    for note in summary.notes:
        progress.note(f"note: {note}")
    board = with_judges(board, summary)
    board = dataclasses.replace(board, code_execution=held.mode if held else None)
    write_leaderboard(folder.path, board)
    notes = [
        *task_set.warnings,
        *(skip.error for skip in task_set.skipped),
        *(note for one in judged for note in one.result.notes),
        *summary.notes,
        *(f"{label}: {note}" for label, part in measured.items() for note in part.notes),
    ]
    manifest = make_manifest(
        config,
        measured_of(config, prepared.judges, prepared.given),
        task_set,
        judged,
        finished=times["finished"],
        models=[
            *(part.about for part in measured.values()),
            *(about_given(its) for its in prepared.given),
        ],
        usage={label: part.usage for label, part in measured.items()},
        held=held,
        notes=notes,
    )
    # The status is the last word: a run that is killed before it goes on with what it had, and one
    # with a failed part, or games that a budget left over, is gone on with by the same command.
    folder.write_manifest({**manifest, "status": RUNNING})
    keep_items(load_run(folder.path))
    gate = gate_run(config, baseline, folder.path)
    page = build_report([folder.path], None)
    folder.write_manifest({**manifest, "status": PARTIAL if board.failed else FINISHED})
    code = EXIT_PART_FAILED if board.failed else 0
    return Outcome(folder.path, page, board, gate.exit_code if gate else code, gate)


def _list_run(progress: Progress, folder: Path) -> None:
    from evalsuite.report import refresh_history

    if problem := refresh_history(folder):
        progress.note(f"note: {problem}")


def _base_models(prepared: Prepared) -> dict[str, str]:
    """What each model is in the registry; a folder is what its label says: llama-7b=DIR."""
    return {s.label: s.entry or s.label for s in prepared.models if s.adapter is None}
