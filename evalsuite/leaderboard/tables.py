"""Samples and judged games as Parquet, for pandas, DuckDB or a notebook.

Written row by row in groups, so that memory holds one group whatever the run's size. Knows columns
and pyarrow; what stands in them is its callers' to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evalsuite.files import Closing
from evalsuite.records import Game

SAMPLES = "samples.parquet"
GAMES = "matches.parquet"
METRIC = "metric."  # before a metric's name, so that none is taken for another column
_ROWS = 20_000  # of a group, or fewer that hold this many letters
_LETTERS = 32 * 2**20
_NAME = pa.string()  # a few names over and over, which Parquet keeps as numbers by itself
_SAMPLE = {
    "model": _NAME,
    "task": _NAME,
    "doc_id": pa.string(),
    "doc_hash": pa.string(),
    "prompt_hash": pa.string(),
    "metric": _NAME,
    "score": pa.float64(),
    "truncated": pa.int32(),
    "error": pa.string(),
    "target": pa.string(),
    "answer": pa.string(),
    "extracted": pa.string(),
    "answers": pa.int32(),
}
_GAME = {
    **{"run": _NAME, "judge": _NAME, "preset": _NAME, "question_id": pa.string()},
    **{"category": _NAME, "turn": pa.int32(), "repeat": pa.int32(), "first": _NAME},
    **{"second": _NAME, "verdict": _NAME, "winner": _NAME, "score_first": pa.float64()},
    **{"score_second": pa.float64(), "preference": pa.float64(), "length_first": pa.int64()},
    **{"length_second": pa.int64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64()},
    **{"cost": pa.float64(), "served": _NAME, "error": pa.string(), "raw_reply": pa.string()},
}


class Table(Closing):
    """A Parquet file that is whole or not there: `finish` puts it in its place.

    Without a row there is no file, and one that was there before is removed.

    Raises:
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, pa.DataType]) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.part")
        self._schema = pa.schema(list(columns.items()))
        self._rows: list[Mapping[str, Any]] = []
        self._letters = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """A row; columns that it lacks are null. Lone surrogates, which no file has, become "?"."""
        self._rows.append(row)
        self._letters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self._rows) >= _ROWS or self._letters > _LETTERS:
            self._write()

    def finish(self) -> None:
        self._write()
        if self._writer is None:
            self._path.unlink(missing_ok=True)
            return
        self._writer.close()
        self._writer = None
        self._beside.replace(self._path)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._beside.unlink(missing_ok=True)

    def _write(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._beside, self._schema, compression="zstd")
        columns = [
            pa.array([_value(row.get(column.name)) for row in self._rows], column.type)
            for column in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._letters = [], 0


def samples_table(path: Path, metrics: Iterable[str]) -> Table:
    """The table of samples, a row for each model's answer to an item.

    `score` is the item's number under the task's main `metric`; each of `metrics` has a column of
    its own, "metric." before its name.
    """
    own = {METRIC + name: pa.float64() for name in dict.fromkeys(metrics)}
    return Table(path, {**_SAMPLE, **own})


def write_games(path: Path, runs: Iterable[tuple[str, Iterable[Game]]]) -> None:
    """The judged games of (name, games) of each run, a row a game.

    Raises:
        UserError: a damaged matches.jsonl.
        OSError: the file can't be written.
    """
    with Table(path, _GAME) as table:
        for name, games in runs:
            for game in games:
                table.add({"run": name, **_game(game)})
        table.finish()


def _game(game: Game) -> dict[str, Any]:
    scores: Sequence[float | None] = (*(game.scores or ()), None, None)
    return {
        **{name: value for name, value in game.line().items() if name in _GAME},
        "question_id": str(game.question_id),
        "score_first": scores[0],
        "score_second": scores[1],
        "length_first": game.lengths[0],
        "length_second": game.lengths[1],
        "prompt_tokens": game.tokens.get("prompt"),
        "completion_tokens": game.tokens.get("completion"),
    }


def _value(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode()
    return value
