"""What makes two computations the same one: the only place that decides a key.

A response's key covers the engine's identity (weights, tokenizer, every setting that changes
numbers) and the request; a plan's key covers the run, the identity and all of its requests.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping

from evalsuite.records import GenerateRequest, Request, ScoreRequest

# Raise it when a request's bytes below change their meaning: old entries are then never matched.
_VERSION = 1


def identity_hash(identity: Mapping[str, str | int | float | bool]) -> bytes:
    """32 bytes that stand for an engine: equal exactly when every setting is equal."""
    text = json.dumps(dict(identity), sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(f"{_VERSION}\n{text}".encode(), digest_size=32).digest()


def request_key(identity: bytes, request: Request) -> bytes:
    """16 bytes that stand for one request to one engine."""
    hasher = hashlib.blake2b(identity, digest_size=16)
    match request:
        case ScoreRequest(context, continuation):
            hasher.update(b"score %d %d " % (len(context), len(continuation)))
            hasher.update(array("q", context).tobytes())
            hasher.update(array("q", continuation).tobytes())
        case GenerateRequest():
            rest = [
                request.max_new_tokens,
                list(request.stop),
                request.temperature,
                request.top_p,
                # A greedy answer is the same under every seed.
                request.seed if request.temperature > 0 else None,
            ]
            hasher.update(b"generate %d " % len(request.prompt))
            hasher.update(array("q", request.prompt).tobytes())
            hasher.update(json.dumps(rest).encode())
    return hasher.digest()


def plan_key(run: str, identity: bytes, keys: Iterable[bytes]) -> bytes:
    """16 bytes that stand for the work of one run on one engine: all of its request keys."""
    hasher = hashlib.blake2b(identity, digest_size=16)
    hasher.update(run.encode())
    for key in keys:
        hasher.update(key)
    return hasher.digest()
