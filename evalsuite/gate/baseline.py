"""A baseline as one small file: item keys and scores, no texts, for a repository to hold.

Knows the file's format and the gate's records. The same run gives the same bytes. Keys and scores
are packed (zlib in base64): 100,000 items take about a megabyte.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.files import write_atomically
from evalsuite.gate.records import ModelSide, Side
from evalsuite.leaderboard.items import KEY_LENGTH, Items
from evalsuite.records import Failure, UserError

FORMAT = "evalsuite baseline"
SCHEMA = 1
_LARGEST = 1 << 30  # bytes that a packed array may unpack to


def write_baseline(side: Side, path: Path) -> None:
    """Writes a side as a baseline file.

    Raises:
        UserError: `path` is a folder, or the file can't be written.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file for the baseline")
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "label": side.label,
        "runs": side.runs,
        "settings": dict(side.settings),
        "models": [
            {
                "name": model.name,
                "tasks": {task: _packed(items) for task, items in model.tasks.items()},
                "games": {
                    judge: {name: _packed(items) for name, items in opponents.items()}
                    for judge, opponents in model.games.items()
                },
                "untested": dict(model.untested),
            }
            for model in side.models
        ],
        # What an error says may hold any text; that something failed is all a baseline needs.
        "failed": [[f.model, f.task, f.stage] for f in side.failed],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: can't be made ({error.strerror})") from error
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_baseline(path: Path) -> Side:
    """A baseline file as a side.

    Raises:
        UserError: it can't be read, is no baseline, or one of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as a baseline ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path}: neither the folder of a run nor a baseline (`evalsuite baseline RUN FILE` "
            "writes one)"
        )
    if content.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: baseline of schema {content.get('schema')!r}, this version of evalsuite "
            f"reads {SCHEMA}; write it again"
        )
    try:
        models = tuple(_model(entry) for entry in content["models"])
        failed = tuple(Failure(m, t, s, "failed") for m, t, s in content["failed"])
        settings = {str(k): str(v) for k, v in content["settings"].items()}
        return Side(str(content["label"]), models, settings, failed, int(content["runs"]))
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise UserError(f"{path}: a damaged baseline ({error!r}); write it again") from error


def _model(entry: Any) -> ModelSide:
    return ModelSide(
        str(entry["name"]),
        {task: _unpacked(its) for task, its in entry["tasks"].items()},
        {
            judge: {name: _unpacked(its) for name, its in opponents.items()}
            for judge, opponents in entry["games"].items()
        },
        {str(task): str(why) for task, why in entry["untested"].items()},
    )


def _packed(items: Items) -> dict[str, Any]:
    binary = np.isin(items.scores, (0.0, 1.0)).all()
    return {
        "n": len(items.keys),
        "unit": items.unit,
        "higher_is_better": items.higher_is_better,
        "asked": dict(items.asked),
        "keys": _pack(np.frombuffer(bytes.fromhex("".join(items.keys.tolist())), np.uint8)),
        # One bit an item where all are right or wrong, else 64-bit numbers.
        ("bits" if binary else "scores"): _pack(
            np.packbits(items.scores == 1) if binary else items.scores.astype("<f8")
        ),
        **({} if items.groups is None else {"groups": _pack(items.groups.astype("<i4"))}),
    }


def _unpacked(entry: Any) -> Items:
    n = int(entry["n"])
    text = _unpack(entry["keys"], np.dtype(np.uint8)).tobytes().hex()
    if len(text) != n * KEY_LENGTH or n == 0:
        raise ValueError(f"{n} items, {len(text)} digits of keys")
    keys = np.frombuffer(text.encode(), f"S{KEY_LENGTH}").astype(f"U{KEY_LENGTH}")
    if "bits" in entry:
        bits = _unpack(entry["bits"], np.dtype(np.uint8))
        if len(bits) != -(-n // 8):
            raise ValueError("not one score for each key")
        scores = np.unpackbits(bits, count=n).astype(np.float64)
    else:
        scores = _unpack(entry["scores"], np.dtype("<f8")).astype(np.float64)
    groups = None
    if "groups" in entry:
        groups = _unpack(entry["groups"], np.dtype("<i4")).astype(np.int64)
    if len(scores) != n or (groups is not None and len(groups) != n):
        raise ValueError("not one score and one group for each key")
    if (keys[1:] <= keys[:-1]).any() or np.isinf(scores).any():
        raise ValueError("keys must be sorted and scores finite")
    asked = {str(name): str(value) for name, value in entry["asked"].items()}
    return Items(keys, scores, groups, asked, str(entry["unit"]), bool(entry["higher_is_better"]))


def _pack(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _unpack(text: str, kind: np.dtype[Any]) -> NDArray[Any]:
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(base64.b64decode(text, validate=True), _LARGEST)
    if not unpacker.eof:
        raise ValueError("a packed array is cut or far too long")
    return np.frombuffer(raw, kind)
