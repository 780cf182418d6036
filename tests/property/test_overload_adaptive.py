"""The adaptive limit against simulated services: so many workers behind a queue, requests always at hand."""

from __future__ import annotations

import heapq
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.overload.adaptive import FLOOR, PROBE_SECONDS, AdaptiveLimit


class Service:
    """Works on `capacity` requests at a time, each for `seconds` (give or take a third); the others wait in it."""

    def __init__(self, capacity: int, seconds: float, seed: int) -> None:
        self.random = Random(seed)
        self.seconds = seconds
        self.free_at = [0.0] * capacity
        self.open: list[tuple[float, float]] = []
        self.now = 0.0

    def become(self, capacity: int, seconds: float) -> None:
        self.seconds = seconds
        busy = sorted(self.free_at)[:capacity]
        self.free_at = busy + [self.now] * (capacity - len(busy))
        heapq.heapify(self.free_at)

    def window(self, limit: AdaptiveLimit, offered: int) -> None:
        """One turn of the limit, under a load of `offered` requests that come again as soon as they are answered."""
        until = self.now + (0.1 if limit.rising else 1.0)
        while True:
            while len(self.open) < min(limit.limit, offered):
                start = max(heapq.heappop(self.free_at), self.now)
                end = start + self.seconds * self.random.uniform(0.7, 1.3)
                heapq.heappush(self.free_at, end)
                heapq.heappush(self.open, (end, self.now))
            if self.open[0][0] > until:
                break
            self.now, began = heapq.heappop(self.open)
            limit.sample((self.now - began) * 1000)
        self.now = until
        limit.turn(self.now, full=offered >= limit.limit)


def run(limit: AdaptiveLimit, service: Service, seconds: float, *, offered: int = 10_000) -> list[int]:
    """The limits of that much time."""
    until, limits = service.now + seconds, []
    while service.now < until:
        service.window(limit, offered)
        limits.append(limit.limit)
    return limits


def usual(limits: list[int]) -> int:
    return sorted(limits)[len(limits) // 2]


CAPACITIES = st.sampled_from([5, 20, 50])
SEEDS = st.integers(0, 1000)


@settings(max_examples=6, deadline=None)
@given(CAPACITIES, st.sampled_from([0.05, 0.2]), SEEDS)
def test_it_comes_to_rest_near_the_knee(capacity: int, seconds: float, seed: int) -> None:
    """Overloaded without end, it keeps every worker of the service busy and its queue short."""
    limit = AdaptiveLimit(1000)
    limits = run(limit, Service(capacity, seconds, seed), 120.0)
    assert capacity * 0.9 <= usual(limits[-60:]) <= capacity * 3 + 10


@settings(max_examples=4, deadline=None)
@given(CAPACITIES, SEEDS)
def test_a_stall_is_got_over(capacity: int, seed: int) -> None:
    """Ten seconds in which everything takes a hundred times as long, and within a minute the limit is back."""
    limit, service = AdaptiveLimit(1000), Service(capacity, 0.05, seed)
    run(limit, service, 60.0)
    service.become(capacity, 5.0)
    assert min(run(limit, service, 10.0)) >= FLOOR
    service.become(capacity, 0.05)
    run(limit, service, 60.0)
    assert usual(run(limit, service, 20.0)) >= capacity * 0.9


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_what_is_slower_for_good_is_usual_before_long(seed: int) -> None:
    """A service that takes four times as long from now on is not strangled: the next probe learns it."""
    limit, service = AdaptiveLimit(1000), Service(50, 0.05, seed)
    run(limit, service, 60.0)
    service.become(50, 0.2)
    run(limit, service, 2 * PROBE_SECONDS)
    assert usual(run(limit, service, 30.0)) >= 45


@given(st.integers(1, 100), st.lists(st.floats(0.001, 1e6), min_size=1, max_size=400), st.booleans())
def test_it_stays_between_floor_and_ceiling(ceiling: int, times: list[float], full: bool) -> None:
    """Whatever is measured, and wherever the configuration moves the ceiling."""
    limit = AdaptiveLimit(ceiling)
    for number, ms in enumerate(times):
        limit.sample(ms)
        limit.turn(float(number), full=full)
        assert min(FLOOR, ceiling) <= limit.limit <= ceiling
    limit.follow(3)
    assert limit.limit <= 3


def test_a_limit_that_nobody_reaches_does_not_grow() -> None:
    """Few requests say nothing of what many would do."""
    limit = AdaptiveLimit(1000)
    run(limit, Service(50, 0.05, 1), 60.0, offered=10)
    assert limit.limit <= 20
