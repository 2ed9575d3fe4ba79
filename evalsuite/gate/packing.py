"""A task's items as JSON: keys, scores and groups packed (zlib in base64), about 10 bytes an item.

Knows the items of leaderboard/items.py; knows no file and no run.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.leaderboard.items import KEY_LENGTH, Items

_LARGEST = 1 << 30  # bytes that a packed array may unpack to


def packed(items: Items) -> dict[str, Any]:
    """Items as a JSON object; keys, scores and groups are packed arrays."""
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


def unpacked(entry: Any) -> Items:
    """The items of `packed`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, zlib.error: it is damaged.
    """
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
