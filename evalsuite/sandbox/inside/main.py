"""The first thing a sandboxed process runs: reads its job, gives up its powers, plays its role.

The job is JSON on standard input. The report descriptor tells the harness that the confinement is
in force, and carries the verdict of the tests; a candidate loses it before its program begins.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

from . import candidate, tests_side
from .confine import confine


def main() -> None:
    """Runs one job to its end, then leaves without running anybody's exit handlers."""
    with os.fdopen(0, "rb", closefd=False) as file:
        job: dict[str, Any] = json.loads(file.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    report: int = job["report"]
    try:
        if job["path"] is not None:
            sys.path[:] = job["path"]
        os.chdir(job["box"])
        confine(job["guard"])
    except BaseException as error:
        _tell(report, {"status": "infra_error", "detail": f"not confined: {error}"})
        os._exit(1)
    _tell(report, {"status": "ready"})
    read, write = job["wire"]
    # What was made so far is ours: it needn't be looked at again each time garbage is collected.
    gc.freeze()
    if job["role"] == "candidate":
        os.close(report)
        candidate.serve(job["source"], read, write)
    else:
        _tell(report, tests_side.verdict(job, read, write))
    os._exit(0)


def _tell(report: int, what: dict[str, str]) -> None:
    os.write(report, (json.dumps(what) + "\n").encode("ascii"))
