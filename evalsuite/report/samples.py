"""The samples of a page: which ones it holds, and all of them as one packed text.

Knows runs on disk and the rows of rows.py; knows no HTML.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.leaderboard.merge import Origin
from evalsuite.records import Leaderboard
from evalsuite.report import words
from evalsuite.report.rows import Row, Texts, gold_choices, is_choice, make_row, options

SHOWN = 20_000  # a page with more opens slowly; past it each task shows its first ones


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of a model's task: `rows` at most as many as asked for, of `total` items.

    `chance` is what guessing among the choices scores, None when nothing is chosen.
    """

    rows: tuple[Row, ...]
    total: int
    chance: float | None


def task_rows(
    samples: Iterable[Mapping[str, Any]],
    *,
    model: int,
    task: int,
    primary: str,
    limit: int,
    texts: Texts,
) -> TaskRows:
    """The first `limit` items of a task. Lines of one item under several filters become one row."""
    metric, _, wanted = primary.partition(",")
    docs: dict[str, list[Mapping[str, Any]]] = {}
    guesses: list[float] = []
    seen: set[str] = set()
    for sample in samples:
        doc = str(sample.get("doc_id"))
        if doc not in seen:
            seen.add(doc)
            if is_choice(sample):
                guesses.append(max(1, len(gold_choices(sample))) / options(sample))
            if len(docs) < limit:
                docs[doc] = []
        if doc in docs:
            docs[doc].append(sample)
    chosen_by = metric in ("acc", "acc_norm", "acc_mutual_info")
    chance = sum(guesses) / len(guesses) if chosen_by and len(guesses) == len(seen) > 0 else None
    rows = tuple(
        make_row(lines, model, task, metric, wanted or "none", texts) for lines in docs.values()
    )
    return TaskRows(rows, len(seen), chance)


def pack(data: Mapping[str, Any]) -> str:
    """JSON as gzip in base64: about a tenth of its size, and no character that HTML could read.

    The same data give the same text (no time stamp inside).
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def row_json(row: Row) -> dict[str, Any]:
    """A row as the page's script reads it; what is empty is left out."""
    out: dict[str, Any] = {
        "m": row.model,
        "t": row.task,
        "d": row.doc,
        "s": row.score,
        "prompt": row.prompt,
        "target": row.target,
        "metrics": row.metrics,
    }
    if row.choices:
        out["choices"] = [[c.text, c.logprob, int(c.greedy)] for c in row.choices]
        out["gold"] = row.gold
        out["picked"] = row.picked
    if row.answers:
        out["answers"] = row.answers
    if row.extracted:
        out["extracted"] = row.extracted
    if row.truncated:
        out["cut"] = row.truncated
    return out


@dataclass(frozen=True, slots=True)
class Samples:
    """`data` is what the page's script reads; `chances` what guessing scores, by task."""

    data: Mapping[str, Any]
    chances: Mapping[str, float]
    shown: int
    note: str


def collect(
    board: Leaderboard,
    origins: Mapping[str, Origin],
    tasks: Sequence[str],
    shown: int,
    texts: Texts,
) -> Samples:
    """The rows of all models' `tasks`; of more than `shown`, the first of each model and task.

    Their texts go into `texts`, whose table is part of the data.
    """
    pairs = [(m, t) for m, model in enumerate(board.models) for t in tasks if t in model.tasks]
    total = sum(
        max((x.n for x in board.models[m].tasks[t].metrics.values()), default=0) for m, t in pairs
    )
    limit = total if total <= shown else max(1, shown // max(1, len(pairs)))
    rows: list[dict[str, Any]] = []
    chances: dict[str, float] = {}
    found = 0
    for m, t in pairs:
        model = board.models[m]
        origin = origins[model.name]
        part = task_rows(
            origin.run.samples(origin.name, t),
            model=m,
            task=tasks.index(t),
            primary=model.tasks[t].primary,
            limit=max(1, limit),
            texts=texts,
        )
        found += part.total
        rows += [row_json(row) for row in part.rows]
        if part.chance is not None:
            chances.setdefault(t, part.chance)
    data = {
        "models": [model.name for model in board.models],
        "tasks": list(tasks),
        "texts": texts.table,
        "rows": rows,
    }
    return Samples(data, chances, len(rows), _note(len(rows), found, limit))


def _note(shown: int, found: int, limit: int) -> str:
    where = "<model>/samples_<task>_<date>.jsonl in the run’s folder"
    if not found:
        return "This run has no samples on disk."
    if shown == found:
        return f"All {words.plural(shown, 'sample')} are here; as files: {where}."
    return (
        f"{shown:,} of {found:,} samples are here, the first {limit:,} of each model and task; "
        f"all of them are in {where}."
    )
