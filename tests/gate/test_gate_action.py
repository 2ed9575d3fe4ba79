"""action.yml: its scripts run in a real bash, what it trusts, and the examples of docs/ci.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulated_runner import ACTION, ROOT, STEPS

from evalsuite.cli import _make_parser
from evalsuite.commands import config_of

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")


def step(name: str) -> dict[str, Any]:
    return next(one for one in STEPS if one["name"] == name)


def trust(tmp_path: Path, **event: str) -> tuple[int, dict[str, str]]:
    """What the first step decides in a run of an event."""
    output = tmp_path / "output"
    output.write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_OUTPUT": str(output),
        "GITHUB_REPOSITORY": "owner/project",
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_REF_NAME": "main",
        "DEFAULT_BRANCH": "main",
        "HEAD_REPOSITORY": "",
        "WANTED": "true",
        **event,
    }
    script = step("Whose code is this?")["run"]
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=False)
    said = dict(line.split("=") for line in output.read_text().splitlines())
    return done.returncode, said


@pytest.mark.parametrize(
    ("event", "restore", "save"),
    [
        ({"GITHUB_EVENT_NAME": "push"}, "true", "true"),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF_NAME": "topic"}, "true", "false"),
        (
            {
                "GITHUB_EVENT_NAME": "push",
                "GITHUB_REF_NAME": "v1",
                "GITHUB_REF_PROTECTED": "true",
            },
            "true",
            "true",
        ),
        (
            {"GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "main"},
            "true",
            "false",
        ),
        (
            {"GITHUB_EVENT_NAME": "pull_request", "HEAD_REPOSITORY": "owner/project"},
            "true",
            "false",
        ),
        (
            {"GITHUB_EVENT_NAME": "pull_request", "HEAD_REPOSITORY": "stranger/project"},
            "false",
            "false",
        ),
        ({"GITHUB_EVENT_NAME": "pull_request", "HEAD_REPOSITORY": ""}, "false", "false"),
        ({"GITHUB_EVENT_NAME": "workflow_run"}, "false", "false"),
        ({"GITHUB_EVENT_NAME": "push", "WANTED": "false"}, "false", "false"),
    ],
)
def test_only_trusted_branches_have_a_cache(
    tmp_path: Path, event: dict[str, str], restore: str, save: str
) -> None:
    assert trust(tmp_path, **event) == (0, {"restore": restore, "save": save})


def test_pull_request_target_is_refused(tmp_path: Path) -> None:
    code, said = trust(
        tmp_path, GITHUB_EVENT_NAME="pull_request_target", HEAD_REPOSITORY="owner/project"
    )
    assert (code, said) == (2, {})


def test_the_cache_steps_follow_that_decision() -> None:
    caches = [one for one in STEPS if one.get("uses", "").startswith("actions/cache")]
    assert [one["uses"].split("@")[0] for one in caches] == [
        "actions/cache/restore",
        "actions/cache/save",
    ]
    assert caches[0]["if"] == "steps.trust.outputs.restore == 'true'"
    assert "steps.trust.outputs.save == 'true'" in caches[1]["if"]


def test_inputs_never_become_code() -> None:
    for one in STEPS:
        if "run" in one:
            assert "${{" not in one["run"], one["name"]
            assert subprocess.run(["bash", "-n", "-c", one["run"]], check=False).returncode == 0


def evaluate(tmp_path: Path, **inputs: str) -> list[str]:
    """What the action's script calls evalsuite with; a shell function in its place records it."""
    defaults = {name: str(its["default"]) for name, its in ACTION["inputs"].items()}
    its = step("Evaluate and compare")
    given = {**defaults, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    names = {key: re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", v) for key, v in its["env"].items()}
    environment = {key: given[match[1]] for key, match in names.items() if match}
    assert len(environment) == len(its["env"])
    environment |= {
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    record = 'python() { printf "%s\\0" "$@" > "$RUNNER_TEMP/called"; return 3; }\n'
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", record + its["run"]], env=environment, check=False
    )
    assert done.returncode == 3
    assert (tmp_path / "output").read_text() == "exit-code=3\n"
    return (tmp_path / "called").read_text().split("\0")[:-1]


def test_the_command_is_what_the_inputs_say(tmp_path: Path) -> None:
    called = evaluate(
        tmp_path,
        models="./a b=org/b\n  'c;id'",
        tasks="core",
        baseline="base lines/main.json",
        critical="gsm8k boolq",
        strict="true",
        arguments="--judge\nnone\n",
    )
    assert called[:2] == ["-m", "evalsuite"]
    config = config_of(_make_parser().parse_args(called[2:]))
    assert config.models == ("./a", "b=org/b", "'c;id'")
    assert config.baseline == ("base lines/main.json",)
    assert (config.critical, config.strict, config.judge) == (("gsm8k", "boolq"), True, ("none",))


def test_without_inputs_it_is_the_demo_without_a_gate(tmp_path: Path) -> None:
    config = config_of(_make_parser().parse_args(evaluate(tmp_path)[2:]))
    assert (config.models, config.tasks, config.baseline, config.critical) == ((), (), (), ())


def test_the_script_runs_the_real_command(tmp_path: Path) -> None:
    # A baseline that is missing is told before anything is evaluated.
    its = step("Evaluate and compare")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **dict.fromkeys(its["env"], ""),
        "OUTPUT": str(tmp_path / "run"),
        "BASELINE": str(tmp_path / "nowhere.json"),
        "MARGIN": "1",
    }
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", its["run"]],
        env=environment,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "nowhere.json: no such folder" in done.stderr
    assert (tmp_path / "output").read_text() == "exit-code=2\n"


@pytest.mark.parametrize(
    ("torch", "index", "installed"),
    [
        (True, "https://example.org/whl", []),
        (False, "https://example.org/w h l", ["torch --index-url https://example.org/w h l"]),
        (False, "", ["torch"]),
    ],
)
def test_what_is_installed(tmp_path: Path, torch: bool, index: str, installed: list[str]) -> None:
    record = f"""python() {{
      if [[ "$1" == -c ]]; then return {int(not torch)}; fi
      echo "$*" >> "$RUNNER_TEMP/called"
    }}
    """
    environment = {
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ACTION_PATH": "/the action",
        "TORCH_INDEX": index,
    }
    script = record + step("Install")["run"]
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=True)
    called = (tmp_path / "called").read_text().splitlines()
    assert called == [f"-m pip install {what}" for what in (*installed, "/the action")]


def test_the_yaml_examples_of_the_page_parse() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    blocks = re.findall(r"^## (GitHub Actions|GitLab)\n\n((?:(?:    .*)?\n)+)", text, re.MULTILINE)
    github, gitlab = (yaml.safe_load("\n".join(b[4:] for b in block.splitlines()))
                      for _, block in blocks)  # fmt: skip
    (use,) = [s for s in github["jobs"]["gate"]["steps"] if "evalsuite" in s["uses"]]
    assert set(use["with"]) <= set(ACTION["inputs"])
    assert "pull_request_target" not in github[True]  # YAML 1.1 reads `on` as true
    assert "--baseline" in gitlab["evaluate"]["script"][-1]
