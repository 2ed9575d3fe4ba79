"""The LLaMA paper's values beside measured ones, for its four base models.

Knows the paper's table (llama_paper.csv) and the records; knows no task files, engines or pages.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files

from evalsuite.records import Leaderboard, ModelScore, PaperValue, TaskScore

SOURCE = "Touvron et al. 2023, table"
_ALSO = {"llama-30b": "llama-33b"}  # its name in files and repositories

Key = tuple[str, int]  # task, number of examples


@lru_cache(maxsize=1)
def paper_values() -> Mapping[str, Mapping[Key, tuple[str, float, str]]]:
    """By model, task and number of examples: the metric, the paper's value of 1, and its source."""
    text = (files("evalsuite.leaderboard") / "llama_paper.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    values: dict[str, dict[Key, tuple[str, float, str]]] = {}
    for row in csv.DictReader(lines):
        key = row["task"], int(row["num_fewshot"])
        for model in (name for name in row if name.startswith("llama-")):
            found = row["metric"], float(row[model]) / 100, f"{SOURCE} {row['table']}"
            values.setdefault(model, {})[key] = found
    return values


def with_paper(
    board: Leaderboard, base_models: Mapping[str, str], shots: Mapping[str, int]
) -> Leaderboard:
    """The leaderboard with the paper's value beside each that the paper has too.

    `base_models` are registry names by a model's name in the leaderboard, `shots` the numbers of
    examples by task. Other models, tasks and numbers of examples stay as they are.
    """
    models = tuple(_with(m, base_models.get(m.name, ""), shots) for m in board.models)
    return replace(board, models=models)


def _with(model: ModelScore, name: str, shots: Mapping[str, int]) -> ModelScore:
    known = paper_values().get(_ALSO.get(name, name))
    if known is None:
        return model
    tasks = {
        task: _beside(score, known.get((task, shots.get(task, -1))))
        for task, score in model.tasks.items()
    }
    return replace(model, tasks=tasks)


def _beside(score: TaskScore, known: tuple[str, float, str] | None) -> TaskScore:
    if known is None or known[0] not in score.metrics:
        return score
    metric, value, source = known
    measured = score.metrics[metric]
    inside = None if measured.ci is None else measured.ci[0] <= value <= measured.ci[1]
    return replace(score, paper=PaperValue(metric, value, measured.value - value, inside, source))
