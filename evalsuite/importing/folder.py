"""Writes what was read as a run: matches, questions, answers, samples, leaderboard, manifest, page.

Knows a run's files and how numbers are made of games and results; knows no format.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalsuite import __version__
from evalsuite.audit_evidence import named_evidence
from evalsuite.files import safe_name, write_atomically
from evalsuite.gate import keep_items
from evalsuite.importing.formats import read_format
from evalsuite.importing.published import Published, in_order
from evalsuite.leaderboard import aggregate, load_run, write_leaderboard
from evalsuite.leaderboard.judges import JudgeSummary, judge_summary, with_judges
from evalsuite.leaderboard.labels import read_labels
from evalsuite.records import Leaderboard, UserError
from evalsuite.report import build_report, refresh_history
from evalsuite.store.run_folder import FINISHED, RUNNING, RunFolder

SEED = 0  # of the resampling, as of a run that names none


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported run: its folder, its page and its numbers."""

    folder: Path
    report: Path
    leaderboard: Leaderboard
    notes: tuple[str, ...]


def import_run(
    format_name: str, path: Path, output: Path, judge_labels: Path | None = None
) -> Imported:
    """Reads `path` in a format and writes the folder of a run.

    `judge_labels` is a file of verdicts that the published judge's are held against.

    A finished run at `output` is left alone: the next free name is taken.

    Raises:
        UserError: no such format, files that are not in it, or a folder that can't be written.
    """
    labels = () if judge_labels is None else read_labels(judge_labels)
    published = read_format(format_name, path)
    sources = {str(_name(file, path)): _sha256(file) for file in published.sources}
    identity: dict[str, Any] = {"import": format_name, "sources": sources}
    if judge_labels is not None:
        identity["labels"] = _sha256(judge_labels)
    with RunFolder.open(output, identity) as folder:
        folders = _folders(published.models)
        _write(folder.path, published, folders)
        board = aggregate(published.results, (), published.models, seed=SEED)
        evidence = named_evidence(
            in_order([game.judge for game in published.games]),
            published.models,
            published.questions,
            published.answers,
            labels,
        )
        judged = _without_places(
            judge_summary(published.games, published.models, seed=SEED, evidence=evidence),
            published,
        )
        board = with_judges(board, judged)
        write_leaderboard(folder.path, board)
        notes = (*published.notes, *judged.notes)
        tasks = {result.info.name: dataclasses.asdict(result.info) for result in published.results}
        words = ["evalsuite", "import", format_name, str(path), "--output", str(output)]
        words += [] if judge_labels is None else ["--judge-labels", str(judge_labels)]
        manifest = {
            "evalsuite": __version__,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(words),
            "measured": identity,
            "seed": SEED,
            "models": [{"name": name, "folder": folders[name]} for name in published.models],
            "tasks": tasks,
            "imported": {"format": format_name, "games": len(published.games), "sources": sources},
            "notes": list(notes),
        }
        # As after a run: the status is the last word, a killed import is begun again.
        folder.write_manifest({**manifest, "status": RUNNING})
        keep_items(load_run(folder.path))
        page = build_report([folder.path], None)
        folder.write_manifest({**manifest, "status": FINISHED})
        problem = refresh_history(folder.path)
        return Imported(folder.path, page, board, (*notes, problem) if problem else notes)


def _write(folder: Path, published: Published, folders: Mapping[str, str]) -> None:
    for model in (*published.answers, *published.samples):
        _make(folder / folders[model])
    if published.games:
        _lines(folder / "matches.jsonl", (game.line() for game in published.games))
    if published.questions:
        questions = (
            {
                "question_id": question.question_id,
                "category": question.category,
                "turns": list(question.turns),
                "reference": list(question.reference),
            }
            for question in published.questions
        )
        _lines(folder / "questions.jsonl", questions)
    for model, answers in published.answers.items():
        given = ({"question_id": a.question_id, "turns": list(a.turns)} for a in answers)
        _lines(folder / folders[model] / "answers.jsonl", given)
    for model, files in published.samples.items():
        for file in files:
            try:
                shutil.copyfile(file, folder / folders[model] / file.name)
            except OSError as error:
                raise UserError(f"cannot copy {file}: {error.strerror}", exit_code=4) from error


def _folders(models: Iterable[str]) -> dict[str, str]:
    """A folder's name for each model; two that would share one get a number."""
    found: dict[str, str] = {}
    for model in models:
        name, number = safe_name(model), 2
        while name in found.values():
            name, number = f"{safe_name(model)}-{number}", number + 1
        found[model] = name
    return found


def _without_places(summary: JudgeSummary, published: Published) -> JudgeSummary:
    """Takes the share won by the first place away where nobody knows which place was first."""
    if published.places_known:
        return summary
    audit = {}
    for judge, numbers in summary.audit.items():
        intervals = {**numbers["intervals"], "first_place_share": None}
        unknown = {"first_place_share": None, "decisive_games": 0, "places_known": False}
        audit[judge] = {**numbers, **unknown, "intervals": intervals}
    return dataclasses.replace(summary, audit=audit)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {error.strerror}", exit_code=4) from error


def _lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    write_atomically(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _name(file: Path, path: Path) -> Path:
    """A source's name in the manifest: as seen from what was named, never a whole path."""
    root = (path if path.is_dir() else path.parent).resolve()
    resolved = file.resolve()
    return resolved.relative_to(root) if resolved.is_relative_to(root) else Path(file.name)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
