"""The gate's error rates in a simulation, and its speed on a million pairs.

Draws pairs of runs of 17 tasks at their real sizes: on each item both models are right, both wrong,
or exactly one is (the discordance). Without a change either is as likely the one; a change moves
that balance. Every drawn run is tested by the functions that `evalsuite compare` uses.

    python benchmarks/gate.py            the table of docs/gate.md (10,000 runs a line)
    python benchmarks/gate.py --pairs 1000000     compares two baseline files of a million items
    python benchmarks/gate.py --pairs 1000000 --run-folders     two run folders, by the command
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gate_folders import write_run
from numpy.typing import NDArray

from evalsuite.gate import (
    GateResult,
    Side,
    compare_runs,
    keep_items,
    write_baseline,
    write_outputs,
)
from evalsuite.gate.records import ModelSide
from evalsuite.leaderboard import load_run
from evalsuite.leaderboard.items import KEY_LENGTH, Items
from evalsuite.report import build_report
from evalsuite.stats import find_regressions, paired_counts, wilson

# The documents that lm-eval 0.4.13 scores in each task.
SIZES = {
    "boolq": 3270,
    "piqa": 1838,
    "social_iqa": 1954,
    "hellaswag": 10042,
    "winogrande": 1267,
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "openbookqa": 500,
    "nq_open": 3610,
    "triviaqa": 17944,
    "race": 1045,
    "gsm8k": 1319,
    "minerva_math": 5000,
    "humaneval": 164,
    "mbpp": 500,
    "mmlu": 14042,
    "truthfulqa_mc1": 817,
}
DISCORDANCES = (0.195, 0.10, 0.30)
RUNS = 10_000
MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class Rates:
    """Of `runs` simulated comparisons, how many found a regression at all, and in each task."""

    runs: int
    alarms: int
    mean: int
    tasks: Mapping[str, int]

    @property
    def share(self) -> float:
        return self.alarms / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.alarms, self.runs)


def simulate(
    drops: Mapping[str, float], discordance: float, runs: int = RUNS, seed: int = 0
) -> Rates:
    """Comparisons in which the named tasks lose `drops` (shares of 1); the others stay.

    Raises:
        ValueError: a drop that is larger than the discordance.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array(list(SIZES.values()))
    lost = np.array([drops.get(task, 0.0) for task in SIZES])
    if (lost > discordance).any():
        raise ValueError("a drop can't be larger than the discordance")
    better = np.empty((runs, len(sizes)))
    worse = np.empty_like(better)
    for i, (n, drop) in enumerate(zip(sizes, lost, strict=True)):
        chances = [(discordance - drop) / 2, (discordance + drop) / 2, 1 - discordance]
        drawn = rng.multinomial(n, chances, size=runs)
        better[:, i], worse[:, i] = drawn[:, 0], drawn[:, 1]
    found = find_regressions(paired_counts(sizes, better, worse), MARGIN)
    alarms = found.regressed.any(-1) | found.mean_regressed
    return Rates(
        runs,
        int(alarms.sum()),
        int(found.mean_regressed.sum()),
        dict(zip(SIZES, found.regressed.sum(0).tolist(), strict=True)),
    )


def table(runs: int, seed: int) -> str:
    """The table of docs/gate.md, in markdown."""
    lines = [
        "| discordance | alarms without a change | gsm8k down 5 points, found in gsm8k | "
        "everything down 1 point |",
        "|---|---|---|---|",
    ]
    for discordance in DISCORDANCES:
        still = simulate({}, discordance, runs, seed)
        gsm8k = simulate({"gsm8k": 0.05}, discordance, runs, seed + 1)
        every = simulate(dict.fromkeys(SIZES, 0.01), discordance, runs, seed + 2)
        low, high = still.interval
        lines.append(
            f"| {discordance:.3f} | {still.share:.2%} ({low:.2%} to {high:.2%}) | "
            f"{gsm8k.tasks['gsm8k'] / runs:.1%} (any alarm {gsm8k.share:.1%}) | "
            f"{every.share:.1%} (by the mean {every.mean / runs:.1%}) |"
        )
    return "\n".join(lines)


def compare_pairs(pairs: int, folder: Path, seed: int = 0) -> tuple[dict[str, float], GateResult]:
    """Seconds to write two baseline files of `pairs` items in 17 tasks and to compare them."""
    rng = np.random.default_rng(seed)
    sides = []
    parts = np.array_split(np.arange(pairs), len(SIZES))
    every = {task: np.sort(_keys(rng, len(part))) for task, part in zip(SIZES, parts, strict=True)}
    for name in ("before", "after"):
        tasks = {
            task: Items(keys, (rng.random(len(keys)) < 0.65).astype(float), None, {})
            for task, keys in every.items()
        }
        sides.append(Side(name, (ModelSide("model", tasks),), {}))
    seconds = {}
    began = time.perf_counter()
    for side in sides:
        write_baseline(side, folder / f"{side.label}.json")
    seconds["write"] = time.perf_counter() - began
    began = time.perf_counter()
    result = compare_runs([folder / "before.json"], [folder / "after.json"])
    write_outputs(result, folder / "gate")
    seconds["compare"] = time.perf_counter() - began
    return seconds, result


def compare_folders(pairs: int, folder: Path) -> dict[str, float]:
    """Seconds that two run folders of `pairs` items take, the command started as a person would.

    "keep" is what a run's end takes for its items, "compare" the whole command (Python's start,
    gate.json, junit.xml, summary.md and the report's section included), "without items.json" the
    same when samples have to be read.

    Raises:
        RuntimeError: the command failed, or its two ways don't say the same.
    """
    before, after = (
        write_run(folder / name, list(SIZES), pairs, 0.65, seed)
        for seed, name in enumerate(("before", "after"))
    )
    build_report([after])
    seconds = {}
    began = time.perf_counter()
    for run in (before, after):
        keep_items(load_run(run))
    seconds["keep"] = (time.perf_counter() - began) / 2
    seconds["compare"], said = _command(before, after)
    for run in (before, after):
        (run / "items.json").unlink()
    seconds["without items.json"], again = _command(before, after)
    if said != again:
        raise RuntimeError("kept items and samples don't say the same")
    return seconds


def _command(before: Path, after: Path) -> tuple[float, str]:
    """How long `evalsuite compare` takes, and its gate.json."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "evalsuite", "compare", str(before), str(after)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
    return seconds, (after / "gate.json").read_text()


def _keys(rng: np.random.Generator, n: int) -> NDArray[np.str_]:
    numbers = np.unique(rng.integers(0, 1 << 48, size=n + n // 100 + 9))[:n]
    return np.array([f"{number:0{KEY_LENGTH}x}" for number in numbers])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, help="time a comparison of so many pairs instead")
    parser.add_argument("--run-folders", action="store_true", help="with --pairs: of run folders")
    options = parser.parse_args()
    if options.run_folders:
        pairs = options.pairs or 1_000_000
        with tempfile.TemporaryDirectory() as folder:
            took = compare_folders(pairs, Path(folder))
            size = sum(f.stat().st_size for f in (Path(folder) / "after").rglob("*.jsonl"))
        print(
            f"{pairs:,} pairs of two run folders with {size / 1e6:,.0f} MB of samples each: "
            f"`evalsuite compare` took {took['compare']:.2f} s, without items.json "
            f"{took['without items.json']:.2f} s; a run's end keeps them in {took['keep']:.2f} s"
        )
        return
    if options.pairs:
        with tempfile.TemporaryDirectory() as folder:
            seconds, _ = compare_pairs(options.pairs, Path(folder))
            size = (Path(folder) / "before.json").stat().st_size
        print(
            f"{options.pairs:,} pairs compared in {seconds['compare']:.2f} s, two files of "
            f"{size / 1e6:.1f} MB read, gate.json, junit.xml and summary.md written"
        )
        return
    began = time.perf_counter()
    print(table(options.runs, options.seed))
    print(f"\n{options.runs} runs a cell, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
