"""`evalsuite judge --audit`: judges tried on the built-in pairs before a run trusts them.

Knows judges by name, the store and where the outcome is written; what the numbers mean is
judge/auditing.py's.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite import __version__
from evalsuite.config import RunConfig, default_store
from evalsuite.files import write_atomically
from evalsuite.inference import Inference
from evalsuite.judge import (
    JudgeResult,
    JudgeSpec,
    LocalJudge,
    Preset,
    Rules,
    check_budget,
    default_judge,
    judge_run,
    load_prices,
    resolve_judge,
)
from evalsuite.judge.audit_set import AuditPair, as_league, own_pairs, read_pairs
from evalsuite.judge.auditing import audit_numbers, fitness, table
from evalsuite.judging import LocalModel, chosen_preset, local_judge
from evalsuite.loading import check_devices, check_flags, load
from evalsuite.playing import as_judge
from evalsuite.progress import Progress, make_progress
from evalsuite.records import UserError
from evalsuite.store import Store

EXIT_CALLS_MISSING = 4


@dataclass(frozen=True, slots=True)
class AuditedJudge:
    """One judge's games and what came of them; `missing` games got no reply, and `why`."""

    name: str
    preset: str
    result: JudgeResult
    numbers: Mapping[str, Any]
    seconds: float
    missing: int
    why: str = ""

    @property
    def lines(self) -> list[str]:
        """The outcome for a terminal."""
        return table(self.name, self.preset, self.numbers, self.seconds)


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """All judges of an audit; `folder` is where its files are, None when none were wanted."""

    judges: tuple[AuditedJudge, ...]
    folder: Path | None

    @property
    def exit_code(self) -> int:
        """0 when every call was answered, fit or not; 4 when some are missing."""
        return EXIT_CALLS_MISSING if any(one.missing for one in self.judges) else 0


def audit_judges(config: RunConfig) -> AuditOutcome:
    """Plays the built-in pairs with every judge of --judge, and writes what came of it.

    Everything a person can get wrong is found before the first call. Replies are kept in the
    store: what was asked before costs nothing.

    Raises:
        UserError: a judge that can't be used, a cost that nobody agreed to, or (exit code 4) a
            server that answered nothing at all.
    """
    check_flags(config)
    names = config.judge or (default_judge(True, os.environ),)
    prices = load_prices(config.judge_prices) if config.judge_prices else None
    specs = [
        resolve_judge(name, os.environ, api_key_env=config.api_key_env, prices=prices)
        for name in names
    ]
    for spec in specs:
        if spec.kind == "none":
            raise UserError("--judge none judges nothing, so there is nothing to audit")
        check_budget(spec, config.budget)
    preset = chosen_preset(config)
    pairs = read_pairs(own_pairs())
    locals_ = {spec.name: local_judge(spec, config) for spec in specs if spec.kind == "local"}
    if locals_:
        check_devices(config)
    folder = None if config.output is None else _free_folder(config.output)
    progress = make_progress(config.progress)
    run = f"audit-{uuid.uuid4().hex}"  # its budget is of this audit; replies are shared by all runs
    with Store(config.store or default_store()) as store:
        judged = tuple(
            _audit(spec, locals_.get(spec.name), preset, pairs, config, store, run, progress)
            for spec in specs
        )
    if folder is not None:
        _write(folder, judged)
    return AuditOutcome(judged, folder)


def _audit(
    spec: JudgeSpec,
    local: LocalModel | None,
    preset: Preset,
    pairs: Sequence[AuditPair],
    config: RunConfig,
    store: Store,
    run: str,
    progress: Progress,
) -> AuditedJudge:
    questions, answers = as_league(pairs)
    judge = None if local is None else _load(local, config, store, run, progress)
    began = time.monotonic()
    # The bill is agreed to inside; what fails after that is the server's doing, not usage.
    agreed = not spec.paid or config.budget is not None
    try:
        result = judge_run(
            questions,
            answers,
            spec,
            store,
            progress,
            run=run,
            preset=preset,
            budget=config.budget,
            rules=Rules(repeats=config.judge_repeats, refresh=config.refresh),
            local=judge,
        )
    except UserError as error:
        raise UserError(str(error), exit_code=EXIT_CALLS_MISSING if agreed else 2) from error
    for note in result.notes:
        progress.note(f"note: {spec.name}: {note}")
    return AuditedJudge(
        name=spec.name,
        preset=spec.name if spec.kind == "reference" else preset.name,
        result=result,
        numbers=audit_numbers(result.games, pairs, spec.name),
        seconds=time.monotonic() - began,
        missing=result.failed + result.pending,
        why=result.stopped or "no reply after all retries",
    )


def _load(
    local: LocalModel, config: RunConfig, store: Store, run: str, progress: Progress
) -> LocalJudge:
    model = load(local.model, local.weights, config, store)
    inference = Inference(model.engine, store, run, progress, refresh=config.refresh)
    return as_judge(model, local.template, inference)


def _free_folder(asked: Path) -> Path:
    """`asked`, or the next free name beside it: an audit and a run are never written over."""
    for number in range(1, 10_000):
        path = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
        if path.exists() and not path.is_dir():
            raise UserError(f"--output {path} is a file; it must be a folder")
        if not any((path / name).exists() for name in ("audit.json", "manifest.json")):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot make the output folder {path}: {error.strerror}"
                ) from error
            return path
    raise UserError(f"no free name for an audit beside {asked}; name another --output")


def _write(folder: Path, judged: Sequence[AuditedJudge]) -> None:
    """audit.json and matches.jsonl."""
    judges = {}
    for one in judged:
        fit, sentence = fitness(one.numbers)
        judges[one.name] = {
            "preset": one.preset,
            "fit": fit,
            "verdict": sentence,
            "missing": one.missing,
            "seconds": round(one.seconds, 3),
            **one.numbers,
        }
    content = {"schema": 1, "evalsuite": __version__, "judges": judges}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    games = (game.line() for one in judged for game in one.result.games)
    write_atomically(
        folder / "matches.jsonl", (json.dumps(game, ensure_ascii=False) + "\n" for game in games)
    )
    write_atomically(folder / "audit.json", text + "\n")
