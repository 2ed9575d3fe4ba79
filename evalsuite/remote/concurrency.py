"""How many calls to keep in flight at a server: more while that helps, fewer when it says so.

Additive increase as in TCP (Chiu and Jain 1989) with CUBIC's plateau below a limit that was found
(Ha, Rhee and Xu 2008), and Vegas's look at queues. A cut goes to what the server was holding when
it refused, since that is what it allows. Knows counts, times and refusals; no HTTP, no calls.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from evalsuite.remote.refusals import Refusals

START, MOST = 32, 256
_SMALLEST_ROUND = 24  # tries; fewer say nothing about a rate
_GROWTH = 1.05  # a rate that is larger by this is one that has grown
_QUEUEING = 1.15  # replies that take longer by this, without a better rate, wait in a queue
_AGEING = 0.99  # a round; what was once the best rate is forgotten when the server has slowed down
_SURE = 3.0  # standard errors that a round's mean must lie above another's
_SLOW_ROUNDS = 3  # in a row; what holds up one round may have been this machine
_LONGEST_PLATEAU = 16  # rounds below a limit that was found again, until it is tried once more
_LARGEST_STEP = 1 / 12  # of the limit, a round: a queue shows itself before it is long
_NEAR = 0.1  # limits that differ by this share are the same one
# A server that refuses this and that is asked less once in so many rounds: does it refuse less?
_BETWEEN_TRIALS, _TRIAL = 64, 0.75
_TRIAL_FROM = 32  # calls; with fewer it would take long
_TRIAL_REFUSALS = 10  # tries as many as should bring these
# Of what a server answered while one call waited in vain: the rest of the time is for waiting less.
_OF_WHAT_WAS_ANSWERED = 0.5
# After a refusal that asked everybody to wait, the next try for more comes so many waits later.
_WAITS_BETWEEN_TRIES = 30.0

Outcome = Literal["answered", "refused", "failed", "late", "unsent"]


@dataclass(slots=True)
class _Trial:
    """Fewer calls than `limit` for a while, to see whether less than `share` is refused then."""

    limit: float
    share: float
    begun: bool = False
    tries: int = 0
    refused: int = 0


class Pace:
    """The calls that may be in flight at one endpoint, shared by all who ask it in one event loop.

    A round is as many tries as calls may be in flight. At first the number doubles with every
    round; that ends when refusals become more than they were with fewer in flight (see
    refusals.py), or when replies take longer and the rate of replies does not rise. From there on
    it stays, longer each time that the same limit is found again, and tries one more, two more,
    four more in the rounds that follow, up to a twelfth.
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
        self._refusals = Refusals()
        self._best = (0.0, 0.0)  # replies a second, and seconds a reply
        self._step, self._plateau, self._hold = 1.0, 1, 0  # calls; rounds, and those still to come
        self._ceiling = math.inf  # where it was too much the last time
        self._eased: tuple[float, float] | None = None  # limit and latency before a queue was cut
        self._slow = 0  # rounds in a row whose replies took longer
        self._settled = 0.0  # rounds that began before this moment say nothing of latency
        self._trial: _Trial | None = None
        self._next_trial = _BETWEEN_TRIALS
        self._began_with = self.limit
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
        self._refusals.answered()
        self.answered += 1
        self._replies += 1
        self._full += full
        self._seconds += seconds
        self._squares += seconds * seconds
        # Slots that nobody wanted say nothing about more of them.
        if full and self._doubling:
            self._limit = min(self._limit + 1.0, float(self.most))
        self._tried()

    def _refused(self, wait: float | None) -> None:
        self._in_a_row += 1
        self._refused_now += 1
        too_many = self._refusals.refused()
        # One that asks everybody to wait is costly: the first is believed.
        if too_many or (wait is not None and not self._refusals.expected):
            # Half at most by one refusal: calls may just have ended by themselves.
            self._cut(max(float(self.in_flight), self._limit / 2))
        if wait is not None:
            self._no_more_before = self._clock() + _WAITS_BETWEEN_TRIES * wait
            # Processes that were refused together should not come back together.
            self.close_until(self._clock() + wait + random.uniform(0, min(0.1 * wait, 1.0)))
        self._tried()

    def _cut(self, to: float) -> None:
        """It was too much: `to` calls at most, and the next try for more after a while."""
        if self._hold < self._plateau:  # else it has just been cut: the same event
            again = abs(self._limit - self._ceiling) <= max(_NEAR * self._ceiling, 2.0)
            # What looks like a limit may be chance where refusals come anyway.
            longest = _LONGEST_PLATEAU / 4 if self._refusals.expected else _LONGEST_PLATEAU
            self._plateau = min(2 * self._plateau, int(longest)) if again else 1
            self._ceiling = self._limit
        self._limit = min(self._limit, max(1.0, to))
        if self._limit < (1 - _NEAR) * self._ceiling - 2:
            self._plateau = 1  # far below: where the limit is now is not known
        self._hold, self._step = self._plateau, 1.0
        self._doubling, self._trial = False, None

    def _tried(self) -> None:
        if self._replies + self._refused_now >= self._round:
            self._end_round()

    def _end_round(self) -> None:
        full = self._full > self._replies / 2
        self._next_trial -= 1
        if self._trial is not None:
            self._end_trial(self._trial)
        else:
            self._refusals.count()
        if self._replies:
            self._watch_latency()
        if not self._doubling and self._trial is None:
            if self._hold > 0:
                self._hold -= 1
            elif self._next_trial <= 0 and self._limit >= _TRIAL_FROM and self._refusals.expected:
                self._trial = _Trial(self._limit, self._refusals.usual)
                self._limit = max(1.0, _TRIAL * self._limit)
            elif (
                full
                and not self._slow
                and self._clock() >= max(self._no_more_before, self._settled)
            ):
                self._limit = min(self._limit + self._step, float(self.most))
                # That many were not too much, and the next round may try twice as many more.
                self._step = min(2 * self._step, max(1.0, self._limit * _LARGEST_STEP))
        self._start_round()

    def _end_trial(self, trial: _Trial) -> None:
        """Goes back to as many as before, unless the server refuses less when it is asked less."""
        if trial.begun:  # the first round still hears of calls sent before
            trial.tries += self._replies + self._refused_now
            trial.refused += self._refused_now
        trial.begun = True
        if trial.tries < _TRIAL_REFUSALS / trial.share:
            return
        self._trial, self._next_trial = None, _BETWEEN_TRIALS
        if trial.refused / trial.tries < trial.share / 2:
            self._ceiling, self._hold, self._step = trial.limit, _LONGEST_PLATEAU, 1.0
            self._refusals.forget(trial.tries, trial.refused)
        else:
            self._limit = trial.limit
            self._refusals.count()

    def _watch_latency(self) -> None:
        if self._began < self._settled:
            return
        latency = max(self._seconds / self._replies, 1e-9)
        error = (max(self._squares / self._replies - latency**2, 0.0) / self._replies) ** 0.5
        if self._doubling:
            rate = self._replies / max(self._clock() - self._began, 1e-9)
        else:
            # By Little's law; counted over so short a time it would swing, as replies to calls
            # that began together come together.
            rate = self._before / latency
        best_rate, best_latency = self._best
        faster = rate / best_rate - 1 if best_rate else 1.0
        slower = latency / best_latency - 1 if best_latency else 0.0
        # A better rate is worth longer replies, as of batches, but not if it grows less than they.
        if faster > _GROWTH - 1 and slower < faster:
            self._best = (rate, latency)
        elif latency > _QUEUEING * best_latency and latency - best_latency > _SURE * error:
            self._slow += 1
            if self._doubling or self._slow >= _SLOW_ROUNDS or self._eased is not None:
                self._ease(latency)
            return
        else:
            self._best = (best_rate * _AGEING, best_latency)
        self._slow, self._eased = 0, None

    def _ease(self, latency: float) -> None:
        """Replies wait in a queue: as few calls as keep the server busy without one."""
        best_rate, best_latency = self._best
        # Until then come replies to calls that waited in the queue as it was.
        self._settled = self._clock() + 2 * max(latency, self.in_flight / best_rate)
        if self._doubling:
            # By Little's law so many were in flight when the rate was as good.
            self._cut(_GROWTH * best_rate * best_latency)
        elif self._eased is None:
            self._eased = (self._limit, latency)
            self._cut(_GROWTH * self._before * best_latency / latency)
        else:
            limit, before = self._eased
            self._eased = None
            if latency > before / _GROWTH:
                # Fewer calls did not make it faster, so it was no queue: replies are longer now.
                self._limit = max(self._limit, limit)
                self._best = (self._limit / latency, latency)

    def _start_round(self) -> None:
        self._began, self._round = self._clock(), max(self.limit, _SMALLEST_ROUND)
        # Replies of a round are to calls of the one before.
        self._before, self._began_with = self._began_with, self.limit
        self._replies = self._refused_now = self._full = 0
        self._seconds = self._squares = 0.0

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
            self._cut(cut)
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
