"""action.yml's scripts as GitHub's runner starts them: in order, with its variables, in a checkout.

Knows the action's file; what is not simulated are the actions of others that it uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


@dataclass
class Job:
    """What a job came to: the last step's exit code, all steps' outputs, what they printed."""

    code: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    printed: str = ""


def run_job(place: Path, workspace: Path, inputs: Mapping[str, str]) -> Job:
    """Runs the action's scripts but the installation on a pull request of an own branch.

    `place` has the runner's files: runner/ (RUNNER_TEMP), summary and one output file a step.
    """
    given = {name: str(its["default"]) for name, its in ACTION["inputs"].items()} | dict(inputs)
    known = {f"inputs.{name}": value for name, value in given.items()} | {
        "github.event.pull_request.head.repo.full_name": "owner/project",
        "github.event.repository.default_branch": "main",
    }
    (place / "runner").mkdir(exist_ok=True)
    job = Job()
    for step in STEPS:
        if "run" not in step or step["name"] == "Install":
            continue
        output, script = place / f"output-{step['id']}", place / f"{step['id']}.sh"
        output.write_text("")
        script.write_text(step["run"])
        environment = {
            **{name: os.environ[name] for name in ("HOME", "HF_HUB_OFFLINE") if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_REPOSITORY": "owner/project",
            "GITHUB_REF_TYPE": "branch",
            "GITHUB_REF_NAME": "7/merge",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(place / "summary"),
            "RUNNER_TEMP": str(place / "runner"),
            **{name: known[value[4:-3]] for name, value in step["env"].items()},
        }
        # What `shell: bash` stands for on GitHub's runner.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            command, env=environment, cwd=workspace, check=False, capture_output=True, text=True
        )
        job.outputs |= dict(line.split("=", 1) for line in output.read_text().splitlines())
        job.code, job.printed = done.returncode, job.printed + done.stdout + done.stderr
        if done.returncode:
            break
    return job
