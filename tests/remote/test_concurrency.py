"""The number of calls in flight against simulated servers, in simulated time.

A server takes `limit` calls at once and each takes `latency`; beyond the
limit it refuses or queues.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable

import pytest

from evalsuite.remote.concurrency import START, Pace, Permit


class World:
    """A client that always wants another slot, and a server; `run` goes on for some seconds."""

    def __init__(
        self,
        limit: Callable[[float], int],
        *,
        queues: bool = False,
        wait: float | None = None,
        refuses: float = 0.0,
        latency: Callable[[], float] = lambda: 0.2,
        most: int = 256,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.pace = Pace(most=most, clock=lambda: self.now)
        self.limit, self.queues, self.wait = limit, queues, wait
        self.refusing: Callable[[], float] = lambda: refuses
        self.latency = latency
        self.rng = random.Random(seed)
        self.events: list[tuple[float, int, str, float]] = []
        self.queue: deque[float] = deque()
        self.busy = self.answered = self.refused = self.number = 0
        self.limits: list[tuple[float, int]] = []

    def event(self, delay: float, kind: str, began: float) -> None:
        self.number += 1
        heapq.heappush(self.events, (self.now + delay, self.number, kind, began))

    def send(self) -> None:
        self.pace.in_flight += 1
        if self.rng.random() < self.refusing() or (
            self.busy >= self.limit(self.now) and not self.queues
        ):
            self.event(0.002, "refused", self.now)
        elif self.busy >= self.limit(self.now):
            self.queue.append(self.now)
        else:
            self.busy += 1
            self.event(self.latency(), "answered", self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            while self.pace._free():
                self.send()
            if not self.events:  # shut: nothing happens before the gate opens
                self.now = self.pace._not_before
                continue
            self.now, _, kind, began = heapq.heappop(self.events)
            if kind == "answered":
                self.busy -= 1
                self.answered += 1
                self.pace.give("answered", self.now - began)
                if self.queue:
                    self.busy += 1
                    self.event(self.latency(), "answered", self.queue.popleft())
            else:
                self.refused += 1
                self.pace.give("refused", wait=self.wait)
            self.limits.append((self.now, self.pace.limit))

    def mean_limit(self, after: float) -> float:
        some = [limit for when, limit in self.limits if when >= after]
        return sum(some) / len(some)


@pytest.mark.parametrize("allowed", [8, 64, 200])
def test_refusals_keep_the_number_at_what_the_server_holds(allowed: int) -> None:
    world = World(lambda now: allowed)
    world.run(20)
    assert world.mean_limit(3) == pytest.approx(allowed, rel=0.05, abs=1)
    assert world.answered > 0.95 * allowed * 20 / 0.2 - 4 * allowed
    assert world.refused < 0.04 * world.answered + 2 * 64


def test_a_server_that_queues_is_not_given_much_more_than_it_works_on() -> None:
    world = World(lambda now: 64, queues=True)
    world.run(20)
    assert 60 <= world.mean_limit(5) <= 80
    assert world.answered > 0.95 * 320 * 20


def test_a_machine_that_stalls_now_and_then_does_not_take_that_for_a_queue() -> None:
    world, rng = World(lambda now: 64), random.Random(5)
    while world.now < 60:
        world.run(rng.expovariate(2.0))
        # Whatever came meanwhile is noticed late, and all of it together.
        world.now += rng.uniform(0.05, 0.3)
        world.events = [(max(when, world.now), *rest) for when, *rest in world.events]
        heapq.heapify(world.events)
    assert world.mean_limit(3) > 40  # with cuts after each slow round: 9


def test_refusals_that_ask_to_wait_stop_everybody_and_are_rare() -> None:
    world = World(lambda now: 64, wait=1.0)
    world.run(3)
    at_first = world.refused  # it had doubled once too often
    assert at_first <= 64
    world.run(57)
    assert world.refused - at_first < 10
    assert world.answered > 0.88 * 320 * 60
    assert world.mean_limit(3) == pytest.approx(64, abs=4)


def test_it_follows_a_server_that_allows_less_and_then_more() -> None:
    world = World(lambda now: 64 if now < 10 or now > 20 else 10)
    world.run(9.9)
    assert world.pace.limit == pytest.approx(64, abs=4)
    world.run(9.9)
    assert world.pace.limit == pytest.approx(10, abs=2)
    world.run(20)
    assert world.pace.limit == pytest.approx(64, abs=4)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_refusals_at_random_do_not_bring_it_down(share: float) -> None:
    world = World(lambda now: 10_000, refuses=share)
    world.run(60)
    assert world.mean_limit(10) > 150


@pytest.mark.parametrize("seed", range(5))
def test_a_hard_limit_is_held_closely_under_refusals_at_random(seed: int) -> None:
    world = World(lambda now: 64, refuses=0.05, seed=seed)
    world.run(60)
    assert world.mean_limit(10) == pytest.approx(64, rel=0.08)
    assert world.answered > 0.93 * 320 * 60
    # One in twenty at random, and few for trying more.
    assert world.refused < 0.12 * world.answered


def test_a_limit_that_falls_and_rises_is_followed_under_refusals_at_random() -> None:
    world = World(lambda now: 64 if now < 10 or now > 20 else 10, refuses=0.05)
    world.run(19.9)
    assert world.pace.limit == pytest.approx(10, abs=3)
    world.run(30)
    assert world.pace.limit == pytest.approx(64, rel=0.15)


def test_a_server_that_refuses_the_more_the_more_it_is_asked_is_asked_less() -> None:
    # Refuses a share that grows slowly with what is in flight, so that no step shows it.
    world = World(lambda now: 10_000)
    world.refusing = lambda: min(0.5, max(0.0, world.pace.in_flight - 100) / 400)
    world.run(120)
    assert world.mean_limit(60) < 230


def test_replies_that_take_longer_for_another_reason_do_not_bring_it_down() -> None:
    world = World(lambda now: 64)
    world.latency = lambda: 0.2 if world.now < 10 else 0.5
    world.run(40)
    assert world.mean_limit(30) == pytest.approx(64, rel=0.08)


def test_replies_of_very_different_lengths_do_not_stop_it() -> None:
    rng = random.Random(3)
    world = World(lambda now: 10_000, latency=lambda: rng.uniform(1, 9), most=128)
    world.run(200)
    assert world.mean_limit(100) > 100


def test_it_never_passes_the_most_and_slots_nobody_wants_do_not_count() -> None:
    world = World(lambda now: 10_000, most=4)
    world.run(5)
    assert max(limit for _, limit in world.limits) == 4
    idle = Pace(clock=lambda: 0.0)
    for _ in range(100):
        idle.in_flight += 1
        idle.give("answered", 0.2)
    assert idle.limit == START


def test_a_server_that_only_fails_gets_few_calls_at_once() -> None:
    pace = Pace()
    for _ in range(200):
        pace.in_flight += 1
        pace.give("failed")
    assert pace.limit == 1
    assert pace.shut_out


def test_a_late_call_cuts_to_half_of_what_was_answered_meanwhile_and_no_more() -> None:
    pace = Pace()
    for meanwhile, limit in [(1000, START), (8, 4), (8, 4), (3, 1), (0, 1)]:
        pace.in_flight += 1
        pace.give("late", meanwhile=meanwhile)
        assert pace.limit == limit


def test_a_permit_tells_how_many_were_answered_since_it_was_taken() -> None:
    async def calls() -> int:
        pace = Pace()
        early, late = [Permit(pace) for _ in range(6)], Permit(pace)
        for permit in early[:2]:
            await permit.take()
            permit.give("answered", 0.1)
        await late.take()
        for permit in early:
            await permit.take()
            permit.give("answered", 0.1)
        late.give("late")
        return pace.limit

    assert asyncio.run(calls()) == 3


def test_slots_go_round_in_order_and_a_cancelled_wait_loses_none() -> None:
    async def story() -> list[str]:
        pace, order = Pace(most=1), []

        async def ask(name: str, first: bool = False) -> None:
            await pace.take(first=first)
            order.append(name)

        await ask("holder")
        waits = [asyncio.create_task(ask(name)) for name in "abc"]
        await asyncio.sleep(0)
        waits.append(asyncio.create_task(ask("again", first=True)))
        await asyncio.sleep(0)
        waits[1].cancel()  # b
        for _ in range(3):
            pace.give("unsent")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert pace.in_flight == 1
        pace.give("answered", 0.1)
        # Handed over and cancelled in the same moment: the slot must come back.
        await ask("d")
        late = asyncio.create_task(ask("late"))
        await asyncio.sleep(0)
        pace.give("unsent")
        late.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pace.in_flight == 0
        await asyncio.wait(waits)
        return order

    assert asyncio.run(story()) == ["holder", "again", "a", "c", "d"]


def test_a_closed_gate_opens_by_itself() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        pace = Pace()
        began = loop.time()
        pace.close_until(pace._clock() + 0.1)
        await asyncio.wait_for(asyncio.gather(pace.take(), pace.take()), 5)
        return loop.time() - began

    assert asyncio.run(story()) >= 0.09
