"""A gate: so many may be inside at a time, the others wait in a bounded queue, heavier ones first.

Within a weight it is first come, first served. Whoever takes a place gives it back once, with `leave`; one that still
waits leaves the queue the same way. A place is the waiter's from the moment it is granted, before its owner runs
again, so that a place granted to someone who is just leaving is given back like any other: no wake-up is lost. Time
in the queue is watched by a sweep (`expire`), not by a timer for each waiter.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dataplane.errors import GatewayError

NO_LIMIT: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Places:
    """How many may be inside, how many may wait, and how long (seconds)."""

    limit: int
    most_waiting: int
    timeout: float


class Waiter:
    """One in the queue. `future` is done when it has its place, and fails when it gets none."""

    def __init__(self, future: asyncio.Future[None], weight: int, name: str, since: float) -> None:
        self.future = future
        self.weight = weight
        self.name = name
        self.since = since
        self.waited = 0.0  # seconds, once it waits no more
        self.queued = True
        self.granted = False


class Gate:
    """`inside` is never more than `limit`, unless the limit fell; whoever may wait does so only while it is reached."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self.loop = loop
        self.clock = clock
        self.limit = NO_LIMIT
        self.most_waiting = 0
        self.timeout = 0.0
        self.inside = 0
        self.waiting = 0
        self._queues: dict[int, OrderedDict[Waiter, None]] = {}
        self._weights: list[int] = []  # of those who wait, ascending

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.inside} inside of {self.limit}, {self.waiting} waiting>"

    # ---- for those who come and go

    def enter(self, weight: int, name: str) -> Waiter | None:
        """None: inside. A waiter: its future says when. Raises what `refused` makes where there is no room to wait."""
        if self.inside < self.limit:
            self.inside += 1
            return None
        return self._wait(weight, name)

    def leave(self, waiter: Waiter | None) -> None:
        """Give the place back, or stop waiting for it; to be called once by everyone who came in or was to wait."""
        if waiter is None or waiter.granted:
            self.inside -= 1
            if self.waiting:
                self.admit()
        elif waiter.queued:
            self._remove(waiter, self.clock())
            self.moved()

    # ---- for the owner

    def refused(self, name: str, why: str) -> GatewayError:
        """Count one that gets no place, and say what its request is answered with."""
        raise NotImplementedError

    def moved(self) -> None:
        """Called when the length of the queue has changed."""

    def admit(self) -> None:
        """Let in those who wait, as far as there are places; to be called when the limit has grown."""
        now = self.clock()
        while self.waiting and self.inside < self.limit:
            waiter = next(iter(self._queues[self._weights[-1]]))
            self._remove(waiter, now)
            if not waiter.future.done():  # else its owner has been cancelled, and has not run since
                waiter.granted = True
                self.inside += 1
                waiter.future.set_result(None)
        self.moved()

    def expire(self) -> None:
        """Refuse those who have waited too long."""
        if not self.waiting:
            return
        now = self.clock()
        for weight in list(self._weights):
            queue = self._queues[weight]
            while queue:
                waiter = next(iter(queue))
                if now - waiter.since < self.timeout:
                    break
                self._refuse(waiter, now, "waited too long")
        self.moved()

    def follow(self, places: Places | None) -> None:
        """Do as the configuration that is served now says; None: there is no limit any more."""
        if places is None:
            self.limit = NO_LIMIT
        else:
            self.limit, self.most_waiting, self.timeout = places.limit, places.most_waiting, places.timeout
        if self.waiting:
            self.admit()

    def longest_wait(self) -> float:
        """How long the first of each weight waits by now, in seconds: the longest of them."""
        now = self.clock()
        return max((now - next(iter(queue)).since for queue in self._queues.values() if queue), default=0.0)

    # ---- the queue

    def _wait(self, weight: int, name: str) -> Waiter:
        if self.waiting >= self.most_waiting:
            self._make_room(weight, name)
        waiter = Waiter(self.loop.create_future(), weight, name, self.clock())
        queue = self._queues.get(weight)
        if queue is None:
            queue = self._queues[weight] = OrderedDict()
            insort(self._weights, weight)
        queue[waiter] = None
        self.waiting += 1
        self.moved()
        return waiter

    def _make_room(self, weight: int, name: str) -> None:
        """A full queue: the lightest, of those the last to come, gives way to a heavier one; else nobody does."""
        if not self.waiting or self._weights[0] >= weight:
            raise self.refused(name, "the queue is full")
        self._refuse(next(reversed(self._queues[self._weights[0]])), self.clock(), "gave way to a higher priority")

    def _refuse(self, waiter: Waiter, now: float, why: str) -> None:
        self._remove(waiter, now)
        if not waiter.future.done():
            waiter.future.set_exception(self.refused(waiter.name, why))
            waiter.future.exception()  # seen: its owner may be leaving, and never ask

    def _remove(self, waiter: Waiter, now: float) -> None:
        waiter.queued = False
        waiter.waited = now - waiter.since
        queue = self._queues[waiter.weight]
        del queue[waiter]
        self.waiting -= 1
        if not queue:
            del self._queues[waiter.weight]
            self._weights.remove(waiter.weight)
