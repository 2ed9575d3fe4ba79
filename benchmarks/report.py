"""How long a report takes to build, how much memory that needs, and how soon a browser shows it.

    python benchmarks/report.py                    12 models x 17 tasks, then 100,000 samples
    python benchmarks/report.py million            1,000,000 samples: 5 GB of files, some minutes
    python benchmarks/report.py large --single-file

Makes runs of made-up texts in the layout that a run leaves on disk, builds each report in a process
of its own, and opens it in Chromium from the disk (playwright; left out where there is none).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.leaderboard import aggregate, write_leaderboard, write_samples
from evalsuite.records import MetricResult, TaskInfo, TaskResult

DATE = "2026-11-23T10-00-00.000000"
CAPABILITIES = ("commonsense", "qa", "math", "language")
_BUILD = """import sys, time
from pathlib import Path
from evalsuite.report import build_report
began = time.perf_counter()
build_report([Path(sys.argv[1])], single_file=sys.argv[2] == "1")
seconds = time.perf_counter() - began
# What wait4 tells counts the memory of whoever started this process, too.
status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
print(seconds, int(status.split()[0]) / 1000)"""


@dataclass(frozen=True, slots=True)
class Size:
    """`items` a task and `letters` of text a sample; targets are in the figures' own units."""

    models: int
    tasks: int
    items: int
    letters: int
    targets: dict[str, float] = field(default_factory=dict)


SIZES = {
    "table": Size(12, 17, 10, 600, {"build s": 1, "page MB": 1.5, "ready s": 0.4}),
    "large": Size(
        5, 10, 2_000, 1_200, {"build s": 20, "peak MB": 2_000, "ready s": 1, "item ms": 100}
    ),
    "million": Size(10, 10, 10_000, 1_200, {}),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", default=["table", "large"], help="table large million")
    parser.add_argument("--single-file", action="store_true", help="all texts in the page")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and use those made before")
    options = parser.parse_args()
    if unknown := [name for name in options.sizes if name not in SIZES]:
        parser.error(f"no such size: {', '.join(unknown)}; there are {', '.join(SIZES)}")
    failed = False
    for name in options.sizes:
        with tempfile.TemporaryDirectory() as passing:
            run = (options.folder or Path(passing)) / name
            if not (run / "leaderboard.json").exists():
                print(f"{name}: making {run} …", flush=True)
                make_run(run, SIZES[name])
            figures = build(run, options.single_file)
            figures |= browse(run / "report.html", SIZES[name])
        for what, value in figures.items():
            target = SIZES[name].targets.get(what)
            missed = target is not None and value > target
            failed = failed or missed
            said = "" if target is None else f"   target {target:g}{': MISSED' if missed else ''}"
            print(f"{name:8} {what:14} {value:10.3f}{said}", flush=True)
    return int(failed)


# ---- runs of made-up texts ----------------------------------------------------------------------


def make_run(path: Path, size: Size) -> None:
    """A run of `size` on disk: tasks of choices and of written answers by turns."""
    words, weights = _vocabulary()
    results = []
    infos = [
        TaskInfo(
            f"task_{t}",
            CAPABILITIES[t % len(CAPABILITIES)],
            "1",
            *(("multiple_choice", 0, "acc") if t % 2 else ("generate_until", 0, "exact_match")),
        )
        for t in range(size.tasks)
    ]
    for t, info in enumerate(infos):
        rng = random.Random(t)
        questions = [
            _text(rng, words, weights, size.letters * 2 // 3) for _ in range(size.items)
        ]  # all models see the same
        for m in range(size.models):
            rng = random.Random(f"{t}/{m}")
            right = [rng.random() < 0.85 - 0.04 * m for _ in questions]
            lines = _lines(info, questions, right, rng, words, weights, size.letters // 3)
            write_samples(path, f"model-{m}", info.name, DATE, lines)
            scores = tuple(map(float, right))
            metric = MetricResult(
                info.primary, statistics.fmean(scores), 0.01, True, "share", scores
            )
            ids = tuple(map(str, range(size.items)))
            results.append(TaskResult(f"model-{m}", info, (metric,), size.items, ids, 0, 0))
    names = [f"model-{m}" for m in range(size.models)]
    manifest = {
        "schema": 1,
        "models": [{"name": name, "folder": name} for name in names],
        "tasks": {info.name: asdict(info) for info in infos},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    write_leaderboard(path, aggregate(results, [], names))


def _lines(
    info: TaskInfo,
    questions: list[str],
    right: list[bool],
    rng: random.Random,
    words: list[str],
    weights: list[float],
    letters: int,
) -> Iterator[dict[str, Any]]:
    for doc, (question, is_right) in enumerate(zip(questions, right, strict=True)):
        base = {"doc_id": doc, "doc": {"question": question}, "target": "1"}
        known = {"filter": "none", "metrics": [info.primary], info.primary: float(is_right)}
        known |= {"doc_hash": f"{doc:064x}", "prompt_hash": f"{doc:064x}"}
        if info.output_type == "generate_until":
            said = _text(rng, words, weights, letters)
            its: dict[str, Any] = {"arguments": [(question, {"until": ["\n\n"]})]}
            its |= {"resps": [[said]], "filtered_resps": [said]}
        else:
            parts = random.Random(doc)
            ends = [" " + _text(parts, words, weights, letters // 4) for _ in range(4)]
            best = 1 if is_right else rng.choice((0, 2, 3))
            scores = [(-5.0 if i == best else -rng.uniform(6, 20), False) for i in range(4)]
            its = {"arguments": [(question, end) for end in ends]}
            its |= {"resps": [[score] for score in scores], "filtered_resps": scores}
        yield {**base, **its, **known}


def _vocabulary() -> tuple[list[str], list[float]]:
    """Words as frequent as a language's: gzip makes about a third of a text of them."""
    rng = random.Random(0)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(6_000)]
    return words, list(itertools.accumulate(1 / rank for rank in range(5, 6_005)))


def _text(rng: random.Random, words: list[str], weights: list[float], letters: int) -> str:
    text = " ".join(rng.choices(words, cum_weights=weights, k=letters // 5))
    return text[:letters]


# ---- figures ------------------------------------------------------------------------------------


def build(run: Path, single_file: bool = False) -> dict[str, float]:
    """Seconds, most memory and sizes of a report built in a process of its own."""
    shutil.rmtree(run / "report_data", ignore_errors=True)
    reading, writing = os.pipe()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", _BUILD, str(run), str(int(single_file))],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_CLOSE, reading)],
    )
    os.close(writing)
    with os.fdopen(reading) as said:
        seconds, peak = (float(figure) for figure in said.read().split() or (0, 0))
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{run}: the report could not be built")
    beside = list((run / "report_data").glob("*.js"))
    return {
        "build s": seconds,
        "build CPU s": usage.ru_utime + usage.ru_stime,
        "peak MB": peak,
        "page MB": (run / "report.html").stat().st_size / 1e6,
        "beside MB": sum(part.stat().st_size for part in beside) / 1e6,
        "parts beside": len(beside),
    }


def browse(page: Path, size: Size, items: int = 15) -> dict[str, float]:
    """Seconds until the page can be used, and how long opening an item and filtering take."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        print("no Chromium or playwright here: the browser's figures are left out")
        return {}
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        ready = []
        for _ in range(3):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            opened = context.new_page()
            opened.goto(page.as_uri())
            opened.wait_for_selector("html[data-ready]", timeout=120_000)
            ready.append(opened.evaluate("performance.getEntriesByName('ready')[0].startTime"))
        rng = random.Random(1)
        chosen = [
            f"#sample=model-{rng.randrange(size.models)}/task_{rng.randrange(size.tasks)}"
            f"/{rng.randrange(size.items)}"
            for _ in range(items)
        ]
        opening = [opened.evaluate(_OPEN, link) for link in chosen]
        filtering = [opened.evaluate(_FILTER, number % 2) for number in range(4)]
        browser.close()
    return {
        "ready s": statistics.median(ready) / 1000,
        "item ms": statistics.median(opening),
        "slowest item ms": max(opening),
        "filter ms": statistics.median(filtering),
    }


_OPEN = """(link) => new Promise((resolve) => {
  const began = performance.now();
  const about = document.querySelector("#sample-body");
  about.replaceChildren();
  location.hash = link;
  const look = () => {
    if (about.querySelector("pre")) resolve(performance.now() - began);
    else setTimeout(look, 1);
  };
  look();
})"""
_FILTER = """(model) => new Promise((resolve) => {
  const status = document.querySelector("#samples .status");
  const select = document.querySelector('#samples [name="model"]');
  status.textContent = "";
  select.value = String(model);
  const began = performance.now();
  select.dispatchEvent(new Event("input", { bubbles: true }));
  const look = () => {
    if (status.textContent) resolve(performance.now() - began);
    else setTimeout(look, 1);
  };
  look();
})"""


if __name__ == "__main__":
    began = time.time()
    code = main()
    print(f"{time.time() - began:.0f} s in all")
    sys.exit(code)
