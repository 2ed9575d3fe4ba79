"""What manifest.json says of a run: what was asked, of whom, with what, and how long it took.

Gathers what others measured; writes nothing and decides nothing.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite import __version__
from evalsuite.config import RunConfig
from evalsuite.environment import hardware, versions
from evalsuite.files import safe_name
from evalsuite.inference import Usage
from evalsuite.judge import GivenAnswers
from evalsuite.playing import Judged
from evalsuite.sandbox import Protection

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet


def run_times(seconds: float, models: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """How long the run and each model's parts took, in seconds, and when it ended: now, in UTC."""
    return {
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": {
            label: {name: round(value, 3) for name, value in parts.items()}
            for label, parts in models.items()
        },
    }


def make_manifest(
    config: RunConfig,
    measured: Mapping[str, Any],
    task_set: TaskSet,
    judged: Sequence[Judged],
    *,
    finished: str,
    models: Sequence[Mapping[str, Any]],
    usage: Mapping[str, Usage],
    held: Protection | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The manifest without its status.

    `measured` decides the numbers, `models` are what each says of itself, `held` what held the
    programs that models wrote.
    """
    return {
        "evalsuite": __version__,
        "finished": finished,
        "command": shlex.join(["evalsuite", *_command_line()]),
        "config": config.flags(),
        "measured": dict(measured),
        "seed": config.seed,
        "models": list(models),
        "tasks": {name: dataclasses.asdict(info) for name, info in task_set.infos.items()},
        "judging": {
            "judge": ", ".join(one.plan.spec.name for one in judged),
            # What all judges of the run have spent, in all its starts.
            "dollars": max((one.result.dollars for one in judged), default=0.0),
            "judges": [_judging(one) for one in judged],
        },
        "code_execution": dataclasses.asdict(held) if held else None,
        "usage": {label: dataclasses.asdict(its) for label, its in usage.items()},
        "notes": list(notes),
        "versions": versions(),
        "hardware": hardware(),
    }


def about_given(given: GivenAnswers) -> dict[str, Any]:
    """What the manifest says of a model whose answers came from a file."""
    return {
        "name": given.label,
        "folder": safe_name(given.label),
        "source": given.file,
        "sha256": given.sha256,
        "note": "answers from a file; no task was run",
    }


def _judging(one: Judged) -> dict[str, Any]:
    spec, preset, result = one.plan.spec, one.plan.preset, one.result
    return {
        "judge": spec.name,
        "model": spec.model,
        "endpoint": spec.endpoint,
        "served": list(result.served),
        "preset": preset.name if preset else "",
        "prompts_sha256": preset.template_hash if preset else "",
        "games": len(result.games),
        "pending": result.pending,
        "calls": result.calls,
        "from_store": result.from_store,
    }


def _command_line() -> list[str]:
    """This process's arguments, when it was started as a command of evalsuite."""
    program = Path(sys.argv[0]).name
    if program == "run_eval.py":
        return ["run", *sys.argv[1:]]
    return sys.argv[1:] if program in ("evalsuite", "__main__.py") else ["run"]
