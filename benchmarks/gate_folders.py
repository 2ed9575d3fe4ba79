"""Runs on disk of any size, for timing the gate: samples of 1.2 kB a line in lm-eval's form.

Everything but the samples' texts goes through the suite's own writers. Both runs of a pair ask the
same questions; which answers are right is drawn.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from evalsuite.leaderboard import aggregate, write_leaderboard
from evalsuite.records import MetricResult, TaskInfo, TaskResult

MODEL = "model"
_DATE = "2026-11-23T10-00-00.000000"
_WORDS = ("river copper lantern quiet window harbour seven engine meadow paper under before " * 5)[
    :300
]
_LINE = (
    '{{"doc_id": {i}, "doc": {{"question": "{question}", "choices": ["north", "south"]}}, '
    '"target": "0", "arguments": {{"gen_args_0": {{"arg_0": "{question}", "arg_1": " north"}}, '
    '"gen_args_1": {{"arg_0": "{question}", "arg_1": " south"}}}}, '
    '"resps": [[["-1.25", "False"]], [["-2.5", "False"]]], '
    '"filtered_resps": [["-1.25", "False"], ["-2.5", "False"]], "filter": "none", '
    '"metrics": ["acc"], "doc_hash": "{digest}", "prompt_hash": "{digest}", '
    '"target_hash": "{digest}", "acc": {right}, "truncated": 0}}\n'
)


def write_run(folder: Path, tasks: Sequence[str], items: int, share: float, seed: int) -> Path:
    """A finished run of one model with `items` samples over `tasks`, `share` of them right."""
    rng = np.random.default_rng(seed)
    (folder / MODEL).mkdir(parents=True)
    results, infos = [], {}
    for task, part in zip(tasks, np.array_split(np.arange(items), len(tasks)), strict=True):
        right = (rng.random(len(part)) < share).astype(float)
        path = folder / MODEL / f"samples_{task}_{_DATE}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_lines(task, right.tolist()))
        info = TaskInfo(task, "qa", "1.0", "multiple_choice", 0, "acc")
        infos[task] = dataclasses.asdict(info)
        metric = MetricResult("acc", float(right.mean()), 0.01, True, "share", tuple(right))
        results.append(TaskResult(MODEL, info, (metric,), len(part)))
    write_leaderboard(folder, aggregate(results, (), [MODEL]))
    manifest = {
        "schema": 1,
        "status": "finished",
        "created": "2026-11-23T10:00:00+00:00",
        "models": [{"name": MODEL, "folder": MODEL}],
        "tasks": infos,
        "versions": {"lm_eval": "0.4.13"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _lines(task: str, right: Sequence[float]) -> Iterator[str]:
    for i, its in enumerate(right):
        digest = hashlib.sha256(f"{task}/{i}".encode()).hexdigest()
        question = f"{task} {i}: {_WORDS}"
        yield _LINE.format(i=i, question=question, digest=digest, right=its)
