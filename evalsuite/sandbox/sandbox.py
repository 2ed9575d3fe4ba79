"""The sandbox as the rest of the suite sees it: what holds here, one case, many cases.

It is probed before its first use by a program that tries to get out; a protection that a program
got out of is not used. Knows no task and no model.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from evalsuite.files import Closing
from evalsuite.records import UserError
from evalsuite.sandbox.canary import CANARY, CANARY_TESTS
from evalsuite.sandbox.case_run import run_case
from evalsuite.sandbox.inside import main as _compiled_once  # noqa: F401
from evalsuite.sandbox.place import Place
from evalsuite.sandbox.records import Case, Limits, Mode, Outcome, Protection

# The strongest first.
MODES: tuple[Mode, ...] = ("bwrap+landlock+seccomp", "landlock+seccomp")
_SECRET = "a key that no program may read"
_known: dict[tuple[Mode, int], str | None] = {}


class Sandbox(Closing):
    """Runs programs that a model wrote, each under tests in a process of their own.

    `only` names one protection instead of the strongest that works. `unsafe` runs programs bare,
    with limits but without any protection: only for somebody who asked for it by name.
    Safe to use from several threads; closing it removes its folder.

    Raises:
        UserError: there is no folder for it on this machine.
    """

    def __init__(
        self, limits: Limits | None = None, *, only: Mode | None = None, unsafe: bool = False
    ) -> None:
        self.limits = limits or Limits()
        self._place = Place()
        if unsafe:
            self.protection = Protection("unsafe", ("asked for: nothing holds a program",))
        else:
            self.protection = _probe(self._place, MODES if only is None else (only,))

    def run(self, case: Case) -> Outcome:
        """Runs one case. What a program does is an outcome, never an exception.

        A failure of this machine is tried once more, then it is an `infra_error`.

        Raises:
            UserError: there is no protection on this machine, and none may be done without.
        """
        if self.protection.mode == "none":
            raise UserError(
                f"no sandbox on this machine: {'; '.join(self.protection.reasons)}. "
                "Code from models is not run without one unless --unsafe-code-execution is given",
                exit_code=4,
            )
        outcome = _attempt(self._place, self.protection.mode, case, self.limits)
        if outcome.status == "infra_error":
            outcome = _attempt(self._place, self.protection.mode, case, self.limits)
        return outcome

    def run_many(self, cases: Iterable[Case], workers: int | None = None) -> Iterator[Outcome]:
        """Outcomes in the cases' order, `workers` at a time (default: one a usable core)."""
        workers = workers or len(os.sched_getaffinity(0))
        waiting: deque[Future[Outcome]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="sandbox") as pool:
            try:
                for case in cases:
                    waiting.append(pool.submit(self.run, case))
                    # Some are started ahead, never a whole benchmark's results kept back.
                    if len(waiting) > 4 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def close(self) -> None:
        """Removes the sandbox's folder."""
        self._place.close()


def probe(only: Mode | None = None) -> Protection:
    """What would hold a program on this machine, shown by a canary that tries to get out."""
    with Sandbox(only=only) as sandbox:
        return sandbox.protection


def _attempt(place: Place, mode: Mode, case: Case, limits: Limits) -> Outcome:
    try:
        return run_case(place, mode, case, limits)
    except OSError as error:
        return Outcome("infra_error", f"{type(error).__name__}: {error}", 0.0)


def _probe(place: Place, modes: tuple[Mode, ...]) -> Protection:
    reasons: list[str] = []
    for mode in modes:
        key = (mode, os.geteuid())
        if key not in _known:
            _known[key] = _canary(place, mode)
        failure = _known[key]
        if failure is None:
            return Protection(mode, (*reasons, *_remarks(place)))
        reasons.append(f"{mode}: {failure}")
    return Protection("none", tuple(reasons))


def _remarks(place: Place) -> tuple[str, ...]:
    if os.geteuid() == 0 and place.drop_to is None:
        return ("no other user to drop to: programs stay root, without capabilities",)
    if os.uname().machine != "x86_64":
        return (f"never tested on {os.uname().machine}",)
    return ()


def _canary(place: Place, mode: Mode) -> str | None:
    """Why this protection can't be used, or None when the canary stayed inside."""
    if mode.startswith("bwrap") and shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt install bubblewrap)"
    # Readable for everybody, so that only the sandbox can be what keeps a program from it.
    folder = place.root / f"outside-{mode.partition('+')[0]}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    secret = folder / "secret"
    secret.write_text(_SECRET, encoding="utf-8")
    secret.chmod(0o666)
    tests = CANARY_TESTS.format(secret=str(secret), folder=str(folder), parent=os.getpid())
    outcome = _attempt(place, mode, Case(CANARY, tests), Limits())
    if not outcome.passed:
        return outcome.detail
    return _touched(folder, secret)


def _touched(folder: Path, secret: Path) -> str | None:
    """What the canary did out here, whatever it says itself."""
    before = 0o666
    if secret.read_text(encoding="utf-8") != _SECRET or secret.stat().st_mode & 0o777 != before:
        return "a file outside was changed"
    if sorted(folder.iterdir()) != [secret]:
        return "a file was made outside"
    return None
