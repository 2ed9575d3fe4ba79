"""Kills runs of the demo at random moments, resumes them, and compares with a run left in peace.

    python benchmarks/resume.py --runs 10 --seed 1

Each run is killed by SIGKILL again and again, after a random time each, until it ends by itself.
Its leaderboard.json must then equal that of the undisturbed run but for `run.times`, and the store
must show no more batches begun than committed plus one a kill. Prints one JSON line a run; exit
code 1 when one of them differs.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=60, help="documents of each task")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        began = time.monotonic()
        command = [sys.executable, "-m", "evalsuite", "run", "--limit", str(options.limit)]
        command += ["--progress", "none"]
        finish(start(command, place / "peace"))
        usual = time.monotonic() - began
        wanted = board(place / "peace")
        all_equal = True
        for number in range(options.runs):
            kills = disturb(command, place / str(number), usual, rng)
            begun, committed = counts(place / str(number) / "store.db")
            equal = board(place / str(number)) == wanted and begun <= committed + kills
            all_equal &= equal
            row = {"run": number, "kills": kills, "begun": begun, "committed": committed}
            print(json.dumps({**row, "equal": equal}), flush=True)
    return 0 if all_equal else 1


def disturb(command: list[str], place: Path, usual: float, rng: random.Random) -> int:
    """Starts and kills a run until it ends by itself; returns how often it was killed."""
    kills = 0
    while True:
        process = start(command, place)
        try:
            # The later a kill, the more of the run is there to be lost.
            process.wait(timeout=rng.uniform(0.1, 1.0) * usual)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            if finished(place):  # killed on its way out, with everything written
                return kills
            continue
        finish(process)
        return kills


def finished(place: Path) -> bool:
    """Whether the run's manifest says that it has ended."""
    manifest = place / "run" / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text())["status"] == "finished"


def start(command: list[str], place: Path) -> subprocess.Popen[bytes]:
    place.mkdir(exist_ok=True)
    where = ["--output", str(place / "run"), "--store", str(place / "store.db")]
    return subprocess.Popen([*command, *where], stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        raise SystemExit(f"a run ended with exit code {process.returncode}")


def board(place: Path) -> dict[str, Any]:
    """leaderboard.json without its times; a resumed run must not have taken another folder."""
    if (place / "run-2").exists():
        raise SystemExit(f"{place / 'run'} was not resumed but begun again beside it")
    content: dict[str, Any] = json.loads((place / "run" / "leaderboard.json").read_text())
    content["run"].pop("times")
    return content


def counts(store: Path) -> tuple[int, int]:
    """Batches begun and committed over all starts."""
    db = sqlite3.connect(store)
    begun, committed = db.execute("SELECT SUM(begun), SUM(committed) FROM batches").fetchone()
    db.close()
    return int(begun), int(committed)


if __name__ == "__main__":
    sys.exit(main())
