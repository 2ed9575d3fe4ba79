"""The sandbox's whole matrix: hostile programs and canonical solutions under each protection.

    python benchmarks/sandbox.py --data DIR [--mode bwrap+landlock+seccomp] [--workers 2] [--quick]

Prints a table of every hostile program with its outcome and what the world around it noticed, then
how many canonical and how many deliberately wrong solutions of HumanEval and MBPP passed, and how
long they took. Exit code 1 when a program did damage, passed or stopped the run, when a canonical
solution failed, or when a wrong one passed.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "tests" / "sandbox")]

from hostile import KEY, KEY_VARIABLE, PROGRAMS, World  # noqa: E402

from evalsuite.sandbox import (  # noqa: E402
    MODES,
    Case,
    Limits,
    Sandbox,
    humaneval_case,
    mbpp_case,
)

# What the hostile programs get: they want to be waited for.
SMALL = Limits(cpu_seconds=2, wall_seconds=6.0, memory_bytes=512 << 20)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with the benchmarks' data sets")
    parser.add_argument("--mode", choices=MODES, action="append", help="default: both")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="no wrong solutions")
    parser.add_argument("--no-hostile", action="store_true", help="solutions alone")
    options = parser.parse_args()
    good = True
    for mode in options.mode or MODES:
        with Sandbox(only=mode) as sandbox:
            if not sandbox.protection.contained:
                print(f"{mode}: not here: {'; '.join(sandbox.protection.reasons)}")
                continue
            print(f"== {mode}, user {os.geteuid()} {'; '.join(sandbox.protection.reasons)}")
            if not options.no_hostile:
                good &= hostile(mode)
            if options.data:
                good &= solutions(sandbox, options.data, options.workers, options.quick)
    return 0 if good else 1


def hostile(mode: Any) -> bool:
    """Every hostile program, one after the other; whether all were held and failed."""
    held = 0
    os.environ[KEY_VARIABLE] = KEY
    with World() as world, Sandbox(SMALL, only=mode) as sandbox:
        for program in PROGRAMS:
            outcome = sandbox.run(program.case(world))
            noticed = world.damage(outcome)
            if noticed:
                world.restore()
            noticed += [path.name for path in sandbox._place.root.glob("box-*")]
            good = not noticed and outcome.status in program.status
            held += good
            print(
                f"{'held' if good else 'NOT HELD':9} {program.name:36} {outcome.status:8} "
                f"{outcome.seconds:5.2f} s  {'; '.join(noticed) or outcome.detail[:70]}",
                flush=True,
            )
    print(f"hostile programs held and failed: {held} of {len(PROGRAMS)}")
    return held == len(PROGRAMS)


def solutions(sandbox: Sandbox, data: Path, workers: int | None, quick: bool) -> bool:
    """Canonical and wrong solutions of both benchmarks; whether each ended as it should."""
    humaneval = rows(data / "openai__openai_humaneval/openai_humaneval/test.jsonl")
    mbpp = rows(data / "google-research-datasets__mbpp/full/test.jsonl")
    sets: list[tuple[str, list[Case], bool]] = [
        (
            "HumanEval canonical",
            [humaneval_case(r, r["prompt"] + r["canonical_solution"]) for r in humaneval],
            True,
        ),
        ("MBPP canonical", [mbpp_case(r, r["code"]) for r in mbpp], True),
    ]
    if not quick:
        none = [humaneval_case(r, r["prompt"] + "    return None\n") for r in humaneval]
        changed = [
            humaneval_case(r, off(r["prompt"] + r["canonical_solution"], (r["entry_point"],)))
            for r in humaneval
        ]
        mutants = [mbpp_case(r, off(r["code"], mbpp_case(r, "").names)) for r in mbpp]
        sets += [
            ("HumanEval return None", none, False),
            ("HumanEval off by one", changed, False),
            ("MBPP off by one", mutants, False),
        ]
    good = True
    for name, cases, should_pass in sets:
        began = time.perf_counter()
        outcomes = list(sandbox.run_many(cases, workers))
        seconds = time.perf_counter() - began
        passed = sum(outcome.passed for outcome in outcomes)
        wrong = [i for i, outcome in enumerate(outcomes) if outcome.passed is not should_pass]
        good &= not wrong
        counts = dict(collections.Counter(outcome.status for outcome in outcomes))
        print(f"{name:22} {passed} of {len(cases)} passed in {seconds:.1f} s  {counts}")
        for index in wrong[:10]:
            print(f"    row {index}: {outcomes[index].status} {outcomes[index].detail[:120]}")
    return good


def off(program: str, names: tuple[str, ...]) -> str:
    """The program with its entry points' results changed a little: a mutant that is never right."""
    change = """
def _off(value):
    if type(value) is bool: return not value
    if type(value) in (int, float, complex): return value + 1
    if type(value) is str: return value + "x"
    if type(value) is list: return value + [0]
    if type(value) is tuple: return value + (0,)
    if type(value) is dict: return {**value, "off": 1}
    if type(value) is set: return value | {"off"}
    return "off" if value is None else None
def _changed(function): return lambda *a, **k: _off(function(*a, **k))
"""
    ast.parse(program)  # a mutant that doesn't compile would be wrong for the wrong reason
    return program + change + "\n".join(f"{name} = _changed({name})" for name in names)


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
