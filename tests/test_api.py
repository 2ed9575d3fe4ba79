"""The Python API: the same runs as the commands, and nothing heavy before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import evalsuite
from evalsuite.doctor import examine


def test_evaluate_gives_the_run_that_it_wrote(tmp_path: Path) -> None:
    run = evalsuite.evaluate(
        tasks=["starter_commonsense"],
        limit=4,
        output=tmp_path / "run",
        store=tmp_path / "store.db",
    )
    assert {model.name for model in run.leaderboard.models} == {"demo-small", "demo-large"}
    assert len(list(run.samples("demo-large", "starter_commonsense"))) == 4
    again = evalsuite.load_run(tmp_path / "run")
    assert again.leaderboard == run.leaderboard


def test_what_is_wrong_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(evalsuite.UserError, match="did you mean demo-small"):
        evalsuite.evaluate("demo-smal", output=tmp_path / "run")
    with pytest.raises(evalsuite.UserError, match="unknown key 'limt'; did you mean limit"):
        evalsuite.evaluate(limt=3)
    with pytest.raises(evalsuite.UserError, match="list of models is empty"):
        evalsuite.evaluate([])
    with pytest.raises(evalsuite.UserError):
        evalsuite.load_run(tmp_path)


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, evalsuite; print({'torch', 'lm_eval', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_doctor_tells_whether_keys_are_set_but_never_the_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = dict(line.split("  ", 1) for line in examine().splitlines())
    assert lines["OPENAI_API_KEY"].strip() == "set"
    assert "HF_TOKEN" in examine()
    assert "sk-secret" not in examine()
    assert "cores usable" in lines["processor"]
