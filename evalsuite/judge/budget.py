"""The bill: known before the first call, agreed to by a person, and never passed.

Each call's worst case is set aside before it is sent, and what it really cost is booked when it
ends. Knows dollars and calls; must not know prompts, games or HTTP.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from evalsuite.records import UserError

# What sums of many small costs may differ by in their last bits.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a judge's games will take. Dollars are None when no price is known, 0 when free.

    `calls` are still to be sent (exact, but for replies without a verdict, which are asked for
    again), `calls_at_most` with every one of those; `from_store` are there already. `basis` says
    how tokens were counted, `prices_of` which day's prices these are.
    """

    calls: int
    calls_at_most: int
    from_store: int
    prompt_tokens: int
    prompt_tokens_at_most: int
    completion_tokens: int
    completion_tokens_at_most: int
    dollars: float | None
    dollars_at_most: float | None
    basis: str
    prices_of: str = ""

    def describe(self, judge: str, *, billed: bool = True) -> str:
        """The cost line. `billed` False: a server of one's own, where list prices cost nothing."""
        stored = f" ({self.from_store:,} more in the store)" if self.from_store else ""
        calls = f"{self.calls:,} call{'' if self.calls == 1 else 's'} of {judge}{stored}"
        tokens = (
            f"about {self.prompt_tokens:,} tokens in and {self.completion_tokens:,} out "
            f"({self.basis})"
        )
        if self.dollars is None or self.dollars_at_most is None:
            return f"{calls}, {tokens}; no price is known"
        if self.dollars_at_most == 0:
            return f"{calls}, {tokens}; free"
        if not billed:
            tokens += "; nobody is billed, at list prices it would be"
        return (
            f"{calls}, {tokens}: about ${self.dollars:.2f}, at most ${self.dollars_at_most:.2f} "
            f"at the prices of {self.prices_of}"
        )


def agree(
    estimate: CostEstimate,
    judge: str,
    budget: float | None,
    *,
    paid: bool,
    ask: Callable[[str], str] | None = None,
) -> None:
    """Makes sure that a person agreed to the bill: by --budget, or by a yes at a terminal.

    `ask` shows a question and returns the line typed; by default the terminal, if there is one.
    Calls that the store answers are free, so nothing is asked when none is left.

    Raises:
        UserError: nobody agreed.
    """
    if not paid or estimate.calls == 0:
        return
    line = estimate.describe(judge)
    if budget is not None:
        return
    if ask is None and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        ask = _ask_at_terminal
    if ask is None:
        raise UserError(f"judging would cost money: {line}. Allow it with --budget USD")
    if ask(f"{line}. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("not judged: nobody agreed to the cost. --judge none runs without")


def _ask_at_terminal(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


class BudgetSpentError(Exception):
    """No further call fits into what is left."""


class Budget:
    """Dollars that may be spent: `limit` (None: no limit) less what was `spent` before.

    For one event loop; its methods are not meant for threads.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit, self.spent, self.reserved = limit, spent, 0.0
        self._changed = asyncio.Condition()

    async def reserve(self, worst: float) -> None:
        """Sets `worst` dollars aside for a call, waiting for others to end when that may help.

        Raises:
            BudgetSpentError: it does not fit even when everything else has ended.
        """
        async with self._changed:
            while not self._fits(self.reserved + worst):
                if self.reserved == 0:
                    raise BudgetSpentError(
                        f"${self.spent:.4f} of ${self.limit or 0:.4f} is spent, and the next call "
                        f"can cost ${worst:.4f}"
                    )
                await self._changed.wait()
            self.reserved += worst

    async def settle(self, worst: float, cost: float) -> None:
        """Books what the call cost and frees the rest of what was set aside for it."""
        async with self._changed:
            self.reserved = max(0.0, self.reserved - worst)
            # What is left after every call has ended is rounding, and would be waited for forever.
            if self.reserved < _ROUNDING:
                self.reserved = 0.0
            self.spent += cost
            self._changed.notify_all()

    def _fits(self, more: float) -> bool:
        return self.limit is None or self.spent + more <= self.limit
