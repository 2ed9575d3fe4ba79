"""Hostile programs under each protection, judged from outside, and the same bare as a control."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import KEY, KEY_VARIABLE, PROGRAMS, RIGHT, SMALL, TESTS, Program, World

from evalsuite.sandbox import Case, Sandbox
from evalsuite.sandbox.canary import CANARY, CANARY_TESTS


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    os.environ[KEY_VARIABLE] = KEY
    with World() as made:
        yield made
    del os.environ[KEY_VARIABLE]


# On a slow machine, too, a program gets to what it is here for.
PATIENT = replace(SMALL, cpu_seconds=60, wall_seconds=120.0)


def boxes(sandbox: Sandbox) -> list[str]:
    return [path.name for path in sandbox._place.root.glob("box-*")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name.replace(" ", "-"))
def test_is_held_and_fails(
    program: Program, sandbox: Sandbox, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "timeout" not in program.status:
        # What another limit is to stop has to get there.
        monkeypatch.setattr(sandbox, "limits", PATIENT)
    outcome = sandbox.run(program.case(world))
    damage = world.damage(outcome)
    if damage:
        world.restore()
    assert damage == []
    assert outcome.status in program.status, outcome
    assert boxes(sandbox) == []


def test_the_run_goes_on_between_hostile_ones(sandbox: Sandbox, world: World) -> None:
    right = Case(RIGHT, TESTS, names=("f",))
    hostile = [
        p.case(world) for p in PROGRAMS if p.name in ("fork bomb", "kill everybody", "a crash")
    ]
    cases = [right, hostile[0], right, hostile[1], right, hostile[2], right]
    outcomes = list(sandbox.run_many(cases, workers=2))
    assert [o.passed for o in outcomes] == [True, False, True, False, True, False, True]


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if p.bare], ids=lambda p: p.name.replace(" ", "-")
)
def test_the_world_notices_the_same_program_bare(
    program: Program, bare: Sandbox, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare, "limits", PATIENT)
    outcome = bare.run(program.case(world))
    until = time.monotonic() + 5
    # What was killed takes a moment to be dead on a busy machine.
    while program.bare not in (damage := world.damage(outcome)) and time.monotonic() < until:
        time.sleep(0.05)
    world.restore()
    assert program.bare in damage


def test_a_canary_that_is_not_held_says_so(bare: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    tests = CANARY_TESTS.format(secret=str(secret), folder=str(tmp_path), parent=os.getppid())
    outcome = bare.run(Case(CANARY, tests))
    assert outcome.status == "failed"
    for attempt in ("read a file outside", "write a file outside", "fork", "TCP socket"):
        assert attempt in outcome.detail


def test_a_program_is_another_user_when_root_starts_it(sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root drops to another user")
    program = (
        "import os\ndef f():\n    return os.getresuid() + os.getresgid() + tuple(os.getgroups())"
    )
    outcome = sandbox.run(Case(program, "assert 0 not in f(), f()", names=("f",)))
    assert outcome.passed, outcome
