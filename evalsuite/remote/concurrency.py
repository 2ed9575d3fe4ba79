"""How many calls to keep in flight at a server: more while that helps, fewer when it says so.

Additive increase as in TCP (Chiu and Jain 1989), but a refusal cuts to what the server was holding
when it refused, since that is what it allows. Knows counts, times and refusals; no HTTP, no calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

START, MOST = 16, 256
_MORE_A_ROUND = 2.0  # calls; each try beyond a limit costs a refusal or two
_SMALLEST_ROUND = 8  # replies; fewer say nothing about a rate
_GROWTH = 1.05  # a rate that is larger by this is one that has grown
_QUEUEING = 1.15  # replies that take longer by this, without a better rate, wait in a queue
_AGEING = 0.99  # a round; what was once the best rate is forgotten when the server has slowed down
# Of what a server answered while one call waited in vain: the rest of the time is for waiting less.
_OF_WHAT_WAS_ANSWERED = 0.5
# After a refusal that asked everybody to wait, the next try for more comes so many waits later.
_WAITS_BETWEEN_TRIES = 30.0

Outcome = Literal["answered", "refused", "failed", "late", "unsent"]


class Pace:
    """The calls that may be in flight at one endpoint, shared by all who ask it in one event loop.

    A round is as many replies as calls may be in flight. While it grows, the number doubles with
    every round; that ends with the first refusal, or when replies take longer and the rate of
    replies does not rise. From there on it tries `_MORE_A_ROUND` more each round.
    """

    def __init__(
        self, start: int = START, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most = most
        self.in_flight = 0
        self.answered = 0  # replies so far
        self._limit = float(min(start, most))
        self._clock = clock
        self._doubling = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._no_more_before = 0.0
        self._in_a_row = 0  # sends without a reply since the last reply
        self._best = (0.0, 0.0)  # replies a second, and seconds a reply
        self._start_round()

    @property
    def limit(self) -> int:
        """How many calls may be in flight just now."""
        return max(1, int(self._limit))

    # ---- slots

    async def take(self, *, first: bool = False) -> None:
        """Waits for a slot; `first`: before all others that wait."""
        if self._free() and (first or not self._waiting):
            self.in_flight += 1
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(future) if first else self._waiting.append(future)
        self._hand_out()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.in_flight -= 1
                self._hand_out()
            elif future in self._waiting:
                self._waiting.remove(future)
            raise

    def give(
        self,
        outcome: Outcome,
        seconds: float = 0.0,
        wait: float | None = None,
        meanwhile: int = 0,
    ) -> None:
        """Frees a slot. `seconds` is what a reply took, `wait` how long a refusal asks to wait.

        "late" is a call that was given up after a long time; `meanwhile` so many others were
        answered since it took its slot.
        """
        full = self.in_flight >= self.limit
        self.in_flight -= 1
        if outcome == "answered":
            self._answered(seconds, full)
        elif outcome == "refused":
            self._refused(wait)
        elif outcome == "failed":
            self._failed()
        elif outcome == "late":
            self._late(meanwhile)
        self._hand_out()

    def close_until(self, moment: float) -> None:
        """Nobody sends before `moment`, by this pace's clock."""
        self._not_before = max(self._not_before, moment)

    def _free(self) -> bool:
        return self.in_flight < self.limit and self._clock() >= self._not_before

    def _hand_out(self) -> None:
        while self._waiting and self._free():
            future = self._waiting.popleft()
            if not future.done():  # else whoever waited was cancelled
                self.in_flight += 1
                future.set_result(None)
        shut = self._not_before - self._clock()
        if self._waiting and shut > 0:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(shut, self._hand_out)

    # ---- how many

    def _answered(self, seconds: float, full: bool) -> None:
        self._in_a_row = 0
        self.answered += 1
        self._replies += 1
        self._seconds += seconds
        # Slots that nobody wanted say nothing about more of them.
        if full and self._clock() >= self._no_more_before:
            more = 1.0 if self._doubling else _MORE_A_ROUND / self._limit
            self._limit = min(self._limit + more, float(self.most))
        if self._replies >= self._round:
            self._end_round()

    def _end_round(self) -> None:
        latency = max(self._seconds / self._replies, 1e-9)
        if self._doubling:
            rate = self._replies / max(self._clock() - self._began, 1e-9)
        else:
            # By Little's law; counted over so short a time it would swing, as replies to calls
            # that began together come together.
            rate = self._began_with / latency
        best_rate, best_latency = self._best
        faster = rate / best_rate - 1 if best_rate else 1.0
        slower = latency / best_latency - 1 if best_latency else 0.0
        # A better rate is worth longer replies, as of batches, but not if it grows much less.
        if faster > _GROWTH - 1 and slower < 2 * faster:
            self._best = (rate, latency)
        elif latency > _QUEUEING * best_latency:
            self._doubling = False
            # By Little's law so many were in flight when the rate was as good.
            self._limit = min(self._limit, max(1.0, _GROWTH * best_rate * best_latency))
        else:
            self._best = (best_rate * _AGEING, best_latency)
        self._start_round()

    def _start_round(self) -> None:
        self._began, self._round = self._clock(), max(self.limit, _SMALLEST_ROUND)
        self._began_with, self._replies, self._seconds = self.limit, 0, 0.0

    def _refused(self, wait: float | None) -> None:
        self._doubling = False
        self._in_a_row += 1
        # Half at most by one refusal: calls may just have ended by themselves.
        self._limit = min(self._limit, max(1.0, float(self.in_flight), self._limit / 2))
        if wait is not None:
            self._no_more_before = self._clock() + _WAITS_BETWEEN_TRIES * wait
            # Processes that were refused together should not come back together.
            self.close_until(self._clock() + wait + random.uniform(0, min(0.1 * wait, 1.0)))

    def _failed(self) -> None:
        self._in_a_row += 1
        if self._in_a_row >= 2 * self.limit:
            self._doubling = False
            self._limit = max(1.0, self._limit / 2)

    def _late(self, meanwhile: int) -> None:
        # A server that computes one call after another lets the last of many wait too long, and may
        # go on with what was given up: more of the same would keep it busy with nothing else.
        # By Little's law it answers `meanwhile` calls in time at most. One call that hangs at a
        # server with many answers cuts nothing.
        cut = max(1.0, _OF_WHAT_WAS_ANSWERED * meanwhile)
        if cut < self._limit:
            self._limit, self._doubling = cut, False
        self._failed()

    @property
    def shut_out(self) -> bool:
        """Whether the server has refused or failed everything for a while."""
        return self._in_a_row > 2 * self.limit + 2


class Permit:
    """One worker's slot at a pace, taken before a call is sent and given back with its answer."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self.held = pace, False
        self._before = 0  # replies when the slot was taken

    async def take(self, *, first: bool = False) -> None:
        """Waits for a slot, unless one is held."""
        if not self.held:
            await self._pace.take(first=first)
            self.held, self._before = True, self._pace.answered

    def give(self, outcome: Outcome, seconds: float = 0.0, wait: float | None = None) -> None:
        """Gives the slot back, if one is held."""
        if self.held:
            self.held = False
            meanwhile = self._pace.answered - self._before
            self._pace.give(outcome, seconds, wait, meanwhile)


@lru_cache(maxsize=64)
def pace_of(url: str, model: str, most: int = MOST) -> Pace:
    """The pace of an endpoint: what was learned by one set of calls serves the next."""
    return Pace(min(START, most), most)
