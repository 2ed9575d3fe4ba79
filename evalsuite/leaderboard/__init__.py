"""Numbers out of samples, and the files of a run: written, read, explained in words."""

from evalsuite.leaderboard.aggregate import CAPABILITIES, aggregate, capability_tasks
from evalsuite.leaderboard.explain import explain
from evalsuite.leaderboard.files import (
    AskedQuestion,
    Run,
    load_run,
    read_leaderboard,
    write_leaderboard,
    write_samples,
)
from evalsuite.leaderboard.wording import listing

__all__ = [
    "CAPABILITIES",
    "AskedQuestion",
    "Run",
    "aggregate",
    "capability_tasks",
    "explain",
    "listing",
    "load_run",
    "read_leaderboard",
    "write_leaderboard",
    "write_samples",
]
