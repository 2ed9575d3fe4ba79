"""A page's texts in parts, each unpacked only when something of it is shown.

A part lies in the page itself, or past some samples in a script of its own in report_data/ beside
it: of all that a page opened from a disk may do, only a classic script loads a file. Knows packing
and files; knows no run, no sample and no HTML.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalsuite.files import Closing, write_atomically

INSIDE = 20_000  # samples; the texts of more lie beside the page
BYTES = 400_000  # of a part before packing: milliseconds to load and unpack, and few enough files
FOLDER = "report_data"
CALL = "evalsuiteShard"  # the page's function that a part's script hands its content to
_NAME = re.compile(r"[0-9a-f]{16}\.js")


def pack(data: Mapping[str, Any]) -> str:
    """JSON as gzip in base64: about a tenth of its size, and no character that HTML could read.

    The same data give the same text (no time stamp inside).
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


class Shards(Closing):
    """The parts of one page, `folder` being where report_data/ goes; None keeps them for the page.

    A part's file is named by its content: a page never meets another page's part under a name that
    it knows. Parts are written before the page that names them, and `prune` removes those of the
    page before it afterwards, so whatever is interrupted leaves a whole page.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder / FOLDER if folder is not None else None
        self._inside = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (closed by close)
            max_size=64 * 2**20, mode="w+", encoding="ascii"
        )
        self.names: list[str] = []

    @property
    def beside(self) -> bool:
        """Whether the parts lie beside the page."""
        return self._folder is not None

    def add(self, part: Mapping[str, Any]) -> str:
        """Packs a part; returns the name under which the page's script asks for it."""
        packed = pack(part)
        if self._folder is None:
            name = f"shard-{len(self.names)}"
            self._inside.write(packed + "\n")
        else:
            name = hashlib.sha256(packed.encode()).hexdigest()[:16] + ".js"
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / name, f'{CALL}("{name}","{packed}");\n')
        self.names.append(name)
        return name

    def inside(self) -> Iterator[tuple[str, str]]:
        """(name, packed part) of the parts that the page itself has to hold."""
        self._inside.seek(0)
        for name, line in zip(self.names, self._inside, strict=False):
            yield name, line.rstrip("\n")

    def close(self) -> None:
        self._inside.close()


def prune(folder: Path, kept: list[str]) -> None:
    """Removes from `folder`/report_data the parts that no page names any more, and nothing else."""
    place = folder / FOLDER
    if not place.is_dir():
        return
    for path in place.iterdir():
        if _NAME.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)
    if not any(place.iterdir()):
        place.rmdir()
