"""Programs to outcomes: what the store has is taken from it, the rest is run in the sandbox.

The one place where the sandbox meets the store. It knows neither tasks nor models.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalsuite.config import RunConfig
from evalsuite.files import Closing
from evalsuite.progress import Progress
from evalsuite.sandbox import Case, Outcome, Sandbox
from evalsuite.store import Store
from evalsuite.store.outcomes import Outcomes, program_key

if TYPE_CHECKING:
    from evalsuite.harness.task_set import TaskSet
    from evalsuite.store.run_folder import RunFolder


def open_execution(
    config: RunConfig, task_set: TaskSet, folder: RunFolder, store: Store, progress: Progress
) -> Execution | None:
    """What runs the programs of a run's tasks; None when they have none."""
    if not task_set.code:
        return None
    outcomes = Outcomes(store, folder.run, refresh=config.refresh)
    return Execution(Sandbox(unsafe=config.unsafe_code_execution), outcomes, progress)


class Execution(Closing):
    """Runs the programs of one run, over all usable cores; every outcome is kept as it comes.

    `protection` is what holds them.
    """

    def __init__(self, sandbox: Sandbox, outcomes: Outcomes, progress: Progress) -> None:
        self._sandbox, self._outcomes, self._progress = sandbox, outcomes, progress
        self.protection = sandbox.protection

    def close(self) -> None:
        """Removes the sandbox's folder."""
        self._sandbox.close()

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        """Outcomes of `cases`, in their order.

        Those of the store are used where the same program met the same tests under the same
        protection and limits; what could not be run is tried again.

        Raises:
            UserError: there is no protection on this machine, or the store can't be written.
        """
        keys = [self._key(case) for case in cases]
        kept = self._outcomes.get(keys)
        found = {key: Outcome(**value) for key, value in kept.items()}
        missing = {key: case for key, case in zip(keys, cases, strict=True) if key not in found}
        self._progress.start("running programs", len(set(keys)), len(found), unit="programs")
        ran = self._sandbox.run_many(missing.values())
        for key, outcome in zip(missing, ran, strict=True):
            found[key] = outcome
            if outcome.decided:
                self._outcomes.keep(key, dataclasses.asdict(outcome))
            self._progress.advance(1)
        self._progress.finish()
        return [found[key] for key in keys]

    def _key(self, case: Case) -> bytes:
        return program_key(
            {
                "case": dataclasses.asdict(case),
                "limits": dataclasses.asdict(self._sandbox.limits),
                "protection": self._sandbox.protection.mode,
                "python": platform.python_version(),
            }
        )
