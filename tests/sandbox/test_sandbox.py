"""The sandbox as its callers see it: what it says of itself, canonical and wrong solutions."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalsuite.records import UserError
from evalsuite.sandbox import Case, Sandbox, humaneval_case, mbpp_case, probe
from evalsuite.sandbox import sandbox as room
from evalsuite.sandbox.inside import landlock

EVERY = 12  # each twelfth row; benchmarks/sandbox.py runs them all


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def humaneval(test_data: Path) -> list[dict[str, Any]]:
    return rows(test_data / "benchmarks/openai__openai_humaneval/openai_humaneval/test.jsonl")


@pytest.fixture(scope="module")
def mbpp(test_data: Path) -> list[dict[str, Any]]:
    return rows(test_data / "benchmarks/google-research-datasets__mbpp/full/test.jsonl")


def test_humaneval_canonical_and_wrong(sandbox: Sandbox, humaneval: list[dict[str, Any]]) -> None:
    # With the three whose tests call helpers of the prompt, and 33, which calls it by its name.
    chosen = [r for i, r in enumerate(humaneval) if i % EVERY == 0 or i in (32, 33, 38, 50)]
    right = [humaneval_case(r, r["prompt"] + r["canonical_solution"]) for r in chosen]
    wrong = [humaneval_case(r, r["prompt"] + "    return None\n") for r in chosen]
    outcomes = list(sandbox.run_many(right + wrong, workers=2))
    assert [o for o in outcomes[: len(right)] if not o.passed] == []
    assert {o.status for o in outcomes[len(right) :]} == {"failed"}


def test_mbpp_canonical_and_wrong(sandbox: Sandbox, mbpp: list[dict[str, Any]]) -> None:
    # One row's set-up builds a tree out of the candidate's own class; some functions are named as
    # built-in ones.
    tree = next(i for i, r in enumerate(mbpp) if r["test_setup_code"])
    named = {i for i, r in enumerate(mbpp) if "def sum(" in r["code"] or "def sort(" in r["code"]}
    chosen = [r for i, r in enumerate(mbpp) if i % (3 * EVERY) == 1 or i in {tree, *named}]
    right = [mbpp_case(r, r["code"]) for r in chosen]
    wrong = [mbpp_case(r, f"{r['code']}\n{_nothing(r)}") for r in chosen]
    outcomes = list(sandbox.run_many(right + wrong, workers=2))
    assert [o for o in outcomes[: len(right)] if not o.passed] == []
    assert {o.status for o in outcomes[len(right) :]} == {"failed"}


def _nothing(row: dict[str, Any]) -> str:
    names = mbpp_case(row, "").names
    return "\n".join(f"def {name}(*a, **k): return 'nothing of the kind'" for name in names)


def test_outcomes_keep_the_cases_order(any_sandbox: Sandbox) -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.3)\n    return x"
    cases = [
        Case(slow if i % 3 == 0 else "def f(x): return x", f"assert f({i}) == 4") for i in range(9)
    ]
    outcomes = list(any_sandbox.run_many(iter(cases), workers=3))
    assert [i for i, o in enumerate(outcomes) if o.passed] == [4]


def test_probe_is_one_of_the_two_or_says_why() -> None:
    protection = probe()
    assert protection.contained or protection.reasons


def test_without_bubblewrap_landlock_and_seccomp_take_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not probe("landlock+seccomp").contained:
        pytest.skip("no Landlock on this kernel")
    monkeypatch.setattr(room, "_known", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    protection = probe()
    assert protection.mode == "landlock+seccomp"
    assert "bubblewrap is not installed" in protection.reasons[0]


def test_a_bubblewrap_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not probe("landlock+seccomp").contained:
        pytest.skip("no Landlock on this kernel")
    # What it says on a machine without user namespaces.
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setattr(room, "_known", {})
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert shutil.which("bwrap") == str(program)
    protection = probe()
    assert protection.mode == "landlock+seccomp"
    assert "setting up uid map: Permission denied" in protection.reasons[0]


def test_no_protection_runs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel without Landlock: a bubblewrap alone would not do either."""
    monkeypatch.setattr(room, "_known", dict.fromkeys(room._known, None) | NO_LANDLOCK)
    mark = tmp_path / "mark"
    with Sandbox() as sandbox:
        assert sandbox.protection.mode == "none"
        with pytest.raises(UserError, match="--unsafe-code-execution") as told:
            sandbox.run(Case(f"open({str(mark)!r}, 'w')", ""))
    assert told.value.exit_code == 4
    assert not mark.exists()


NO_LANDLOCK: dict[Any, str | None] = {
    (mode, os.geteuid()): "this kernel has no Landlock" for mode in room.MODES
}


def test_landlock_tells_its_version() -> None:
    import ctypes

    assert landlock.abi(ctypes.CDLL(None, use_errno=True)) >= 0


def test_unsafe_runs_bare_and_says_so(bare: Sandbox, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    outcome = bare.run(Case(f"def f(): open({str(mark)!r}, 'w').close()", "f()"))
    assert outcome.passed
    assert mark.exists()
    assert bare.protection.mode == "unsafe"
    assert not bare.protection.contained


def test_a_machine_that_fails_is_an_infra_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(unsafe=True) as sandbox:
        sandbox._place.python = "/nowhere/python"
        outcome = sandbox.run(Case("", ""))
    assert outcome.status == "infra_error"
    assert not outcome.decided
    assert "/nowhere/python" in outcome.detail
