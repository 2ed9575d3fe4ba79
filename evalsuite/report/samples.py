"""The samples of a page: an index of all of them, and their texts in parts, read item by item.

All models' answers to an item stand in one part beside its prompt, so that what they share is there
once and memory holds one part at a time. Knows runs on disk and the rows of rows.py; knows no HTML.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.leaderboard.merge import Origin
from evalsuite.leaderboard.sample_files import DocId, SampleFile
from evalsuite.leaderboard.tables import METRIC, Table
from evalsuite.records import Leaderboard
from evalsuite.report import words
from evalsuite.report.rows import Row, Texts, gold_choices, is_choice, make_row, options
from evalsuite.report.shards import BYTES, Shards

_MISSING, _UNSCORED = math.inf, math.nan  # in an item's scores: the model lacks it, it has no score
_ROW_BYTES = 150  # a row without its texts, about
_LEVELS = 80  # different scores of a task that are worth a table of them
_CHOSEN = ("acc", "acc_norm", "acc_mutual_info")  # metrics by which a choice is right or wrong


@dataclass(frozen=True, slots=True)
class Samples:
    """`data` is what the page's script reads; `chances` what guessing scores, by task."""

    data: Mapping[str, Any]
    chances: Mapping[str, float]
    shown: int
    note: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An item as one model answered it: `doc` is its id, `lines` are lm-eval's, one a filter."""

    doc: DocId
    lines: Sequence[Mapping[str, Any]]
    row: Row


def row_json(row: Row) -> dict[str, Any]:
    """A row as the page's script reads it; what is empty, or in the index, is left out."""
    out: dict[str, Any] = {
        "m": row.model,
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


def collect(
    board: Leaderboard,
    origins: Mapping[str, Origin],
    tasks: Sequence[str],
    shards: Shards,
    table: Table | None = None,
) -> Samples:
    """All samples of all models' `tasks`: the index as data, the texts into `shards`.

    Each goes into `table`, too, so that the files are read once for both.

    Raises:
        UserError: a damaged samples file.
    """
    texts = Texts()
    part: list[list[dict[str, Any]]] = []
    firsts: list[int] = []  # of each part, the number of its first item
    names: list[str] = []
    indices: list[_Index] = []
    items = rows = waiting = 0

    def finish() -> None:
        nonlocal texts, part, waiting
        if part:
            firsts.append(items - len(part))
            names.append(shards.add({"texts": texts.table, "items": part}))
        texts, part, waiting = Texts(), [], 0

    for number, task in enumerate(tasks):
        index = _Index(len(board.models))
        for answered in read_items(board, origins, number, task, lambda: texts):
            index.add(answered)
            part.append([row_json(a.row) for a in answered])
            items += 1
            rows += len(answered)
            waiting += len(answered)
            if table is not None:
                for its in answered:
                    model = board.models[its.row.model]
                    table.add(_table_row(model.name, task, model.tasks[task].primary, its, texts))
            if texts.size + _ROW_BYTES * waiting > BYTES:
                finish()
        indices.append(index)
    finish()
    data = {
        "models": [model.name for model in board.models],
        "tasks": list(tasks),
        "items": [index.json() for index in indices],
        "shards": names,
        "firsts": firsts,
    }
    chances = {
        task: chance
        for task, index in zip(tasks, indices, strict=True)
        if (chance := index.chance(board, task)) is not None
    }
    return Samples(data, chances, rows, _note(rows, shards.beside))


def _table_row(model: str, task: str, primary: str, its: Answered, texts: Texts) -> dict[str, Any]:
    """A sample as the table of samples has it: its answer is the choice it picked or its words."""
    row, first = its.row, its.lines[0]
    words = [row.choices[row.picked].text] if row.picked is not None else [*row.answers]
    lost = next((str(line["error"]) for line in its.lines if "error" in line), None)
    return {
        "model": model,
        "task": task,
        "doc_id": str(its.doc),
        "doc_hash": first.get("doc_hash"),
        "prompt_hash": first.get("prompt_hash"),
        "metric": primary,
        "score": row.score if lost is None else None,
        "truncated": row.truncated,
        "error": lost,
        "target": texts.table[row.target],
        "answer": texts.table[words[0]] if words else None,
        "extracted": texts.table[row.extracted[0]] if row.extracted else None,
        "answers": len(words),
        **({METRIC + name: value for name, value in row.metrics.items()} if lost is None else {}),
    }


def read_items(
    board: Leaderboard,
    origins: Mapping[str, Origin],
    number: int,
    task: str,
    texts: Callable[[], Texts],
) -> Iterator[list[Answered]]:
    """Each item of a task with what every model that has it answered, in the models' order.

    `texts()` is the table that an item's texts go into; an item lies whole in one.

    Raises:
        UserError: a damaged samples file.
    """
    files: dict[str, dict[int, Path]] = {}
    mains: dict[int, tuple[str, str]] = {}
    for m, model in enumerate(board.models):
        if task in model.tasks:
            metric, _, wanted = model.tasks[task].primary.partition(",")
            mains[m] = (metric, wanted or "none")
            origin = origins[model.name]
            for member, path in origin.run.samples_files(origin.name, task):
                files.setdefault(member, {})[m] = path
    for member, paths in files.items():
        with ExitStack() as stack:
            opened = {m: stack.enter_context(SampleFile(path)) for m, path in paths.items()}
            for doc in dict.fromkeys(doc for file in opened.values() for doc in file.docs):
                answered = []
                for m, file in opened.items():
                    if lines := file.lines(doc):
                        row = make_row(lines, m, number, *mains[m], texts())
                        name = f"{member} {doc}" if member else doc
                        answered.append(Answered(name, lines, row))
                yield answered


@dataclass
class _Index:
    """What the page knows of a task's items without their texts: ids, and each model's score."""

    models: int
    docs: list[DocId] = field(default_factory=list)
    scores: array[float] = field(default_factory=lambda: array("d"))  # item by item, [models] each
    guesses: dict[int, list[float]] = field(default_factory=dict)  # a model's sum and its choices
    seen: dict[int, int] = field(default_factory=dict)

    def add(self, answered: Sequence[Answered]) -> None:
        self.docs.append(answered[0].doc)
        scores = [_MISSING] * self.models
        for its in answered:
            m = its.row.model
            scores[m] = _UNSCORED if its.row.score is None else its.row.score
            self.seen[m] = self.seen.get(m, 0) + 1
            if is_choice(its.lines[0]):
                both = self.guesses.setdefault(m, [0.0, 0])
                both[0] += max(1, len(gold_choices(its.lines[0]))) / options(its.lines[0])
                both[1] += 1
        self.scores.extend(scores)

    def json(self) -> dict[str, Any]:
        """`docs` as a count when they are 0, 1, 2, …; `scores` as letters into `levels`.

        Without `levels` scores are numbers, null without a score, "" where a model lacks the item.
        """
        plain = self.docs == list(range(len(self.docs)))
        out: dict[str, Any] = {"docs": len(self.docs) if plain else self.docs}
        known = {score: _plain(score) for score in self.scores if not math.isnan(score)}
        levels = [None, *known.values()]
        if len(levels) > _LEVELS:
            out["scores"] = [_plain(score) for score in self.scores]
            return out
        letters = {score: chr(_LETTER + i) for i, score in enumerate(known, start=1)}
        out["levels"] = levels
        out["scores"] = "".join(letters.get(score, chr(_LETTER)) for score in self.scores)
        return out

    def chance(self, board: Leaderboard, task: str) -> float | None:
        """What guessing scores: of the first model whose items are all choices among some."""
        for m, seen in sorted(self.seen.items()):
            total, n = self.guesses.get(m, (0.0, 0))
            if board.models[m].tasks[task].primary.partition(",")[0] in _CHOSEN and n == seen > 0:
                return total / n
        return None


_LETTER = 0x30  # letters from "0" on; the 80 that follow hold one that JSON escapes, the backslash


def _plain(score: float) -> float | str | None:
    if math.isnan(score):
        return None
    return "" if score == _MISSING else score


def _note(rows: int, beside: bool) -> str:
    where = "<model>/samples_<task>_<date>.jsonl in the run’s folder"
    if not rows:
        return "This run has no samples on disk."
    here = f"All {words.plural(rows, 'sample')} are here; as files: {where}."
    if beside:
        here += " Their texts lie in report_data beside this page: keep the two together."
    return here
