"""Reads the files that a batch leaves behind: one result a call, matched by its custom id.

Lines come in any order, and a file may be cut short or hold what nobody sent. A call whose results
contradict each other has none. Knows bytes and ids only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call: the `body` of its answer, or None and the `error` in words."""

    body: str | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Results:
    """The results of the calls asked for, by custom id.

    `broken` counts lines that can't be read, `strange` those of calls that are not in the batch,
    `doubtful` calls with results that contradict each other, which are left out.
    """

    results: dict[str, Result]
    broken: int
    strange: int
    doubtful: int


def read_results(files: Sequence[bytes], wanted: Collection[str]) -> Results:
    """The results in a batch's output and error files for the custom ids in `wanted`.

    A line that stands twice counts once. Of an answer and an error for the same call the answer
    counts: it was made.
    """
    broken = strange = 0
    seen: dict[str, list[Result]] = {}
    for content in files:
        for raw in content.split(b"\n"):
            if not raw.strip():
                continue
            read = _read(raw)
            if read is None:
                broken += 1
                continue
            name, result = read
            if name not in wanted:
                strange += 1
                continue
            its = seen.setdefault(name, [])
            if result not in its:
                its.append(result)
    results: dict[str, Result] = {}
    doubtful = 0
    for name, its in seen.items():
        answers = [result for result in its if result.body is not None]
        if len(answers) > 1:
            doubtful += 1
            continue
        results[name] = answers[0] if answers else its[0]
    return Results(results, broken, strange, doubtful)


def _read(raw: bytes) -> tuple[str, Result] | None:
    """A line's custom id and result; None when it is no line of the protocol."""
    try:
        loaded = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    name = loaded.get("custom_id") if isinstance(loaded, dict) else None
    if not isinstance(name, str):
        return None
    response, error = loaded.get("response"), loaded.get("error")
    if isinstance(response, dict):
        status, body = response.get("status_code"), response.get("body")
        if status == 200 and body is not None:
            return name, Result(json.dumps(body, ensure_ascii=False, sort_keys=True))
        if isinstance(status, int) and status != 200:
            return name, Result(None, f"answered {status} ({_message(body) or 'no reason given'})")
    if isinstance(error, dict):
        return name, Result(None, _message(error) or "an error without a reason")
    return None


def _message(body: Any) -> str:
    """The message in an error's body, else its code."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        inner = inner.get("message") or inner.get("code")
    return " ".join(inner.split()) if isinstance(inner, str) else ""
