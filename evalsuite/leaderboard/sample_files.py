"""A samples file by item: where each item's lines stand in it, and those lines when asked for.

For readers of runs that are larger than memory. Knows lm-eval's lines as JSON objects with a
`doc_id`; holds places in the file, no texts.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from pathlib import Path
from typing import Any

from evalsuite.files import Closing
from evalsuite.records import UserError

DocId = int | str
# lm-eval writes doc_id first; a line that begins otherwise is parsed whole.
_BEGINNING = re.compile(rb'\{"doc_id": ?(\d{1,18})[,}]')


class SampleFile(Closing):
    """The lines of a model's task, by item. One item has a line for each of the task's filters.

    `docs` are the items' ids in order of appearance: numbers where they are, else texts.

    Raises:
        UserError: the file can't be read, or a line is no sample.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = array("q")
        self._first: dict[DocId, int] = {}
        self._more: dict[DocId, list[int]] = {}
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise UserError(f"{path}: can't be read ({error.strerror})") from error
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    @property
    def docs(self) -> list[DocId]:
        return list(self._first)

    def __contains__(self, doc: DocId) -> bool:
        return doc in self._first

    def lines(self, doc: DocId) -> list[dict[str, Any]]:
        """An item's lines in the file's order; none when the file lacks the item.

        Raises:
            UserError: a line that is no JSON object.
        """
        if doc not in self._first:
            return []
        return [self._line(n) for n in (self._first[doc], *self._more.get(doc, ()))]

    def close(self) -> None:
        self._file.close()

    def _index(self) -> None:
        place = 0
        for number, line in enumerate(self._file):
            self._starts.append(place)
            place += len(line)
            match = _BEGINNING.match(line)
            doc = int(match[1]) if match else _doc_id(self._parsed(line, number))
            if self._first.setdefault(doc, number) != number:
                self._more.setdefault(doc, []).append(number)
        self._starts.append(place)

    def _line(self, number: int) -> dict[str, Any]:
        start, end = self._starts[number], self._starts[number + 1]
        return self._parsed(os.pread(self._file.fileno(), end - start, start), number)

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            sample = json.loads(line)
            if not isinstance(sample, dict):
                raise ValueError("it holds no JSON object")
        except ValueError as error:
            raise UserError(f"{self._path}, line {number + 1}: no sample ({error})") from error
        return sample


def _doc_id(sample: dict[str, Any]) -> DocId:
    doc = sample.get("doc_id")
    return doc if isinstance(doc, int) else str(doc)
