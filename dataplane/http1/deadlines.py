"""Deadlines without a timer per request: connections write down when they expire, one sweep looks.

A phase begins with an assignment to `deadline`; the sweep costs one comparison per connection every INTERVAL seconds
(1 000 connections: about 0.05% of a core). What is late is late by at most one interval. Time is `time.monotonic`: the
loop's own clock stands still within a turn and counts whole milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

INTERVAL: Final = 0.1
NEVER: Final = float("inf")


class Expiring(Protocol):
    """Something with a deadline, in seconds of the monotonic clock."""

    deadline: float

    def expired(self, now: float) -> None: ...


class Deadlines:
    """The set of everything that can expire; `also` are called with each sweep."""

    __slots__ = ("_clock", "_due", "_handle", "_members", "also", "lag")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._members: set[Expiring] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.also: list[Callable[[], None]] = []
        self.lag = 0.0
        """How late the last sweep was, in seconds: the lag of the event loop."""

    def add(self, member: Expiring) -> None:
        self._members.add(member)

    def discard(self, member: Expiring) -> None:
        self._members.discard(member)

    def sweep(self) -> None:
        """Tell everything that is late."""
        now = self._clock()
        for member in [member for member in self._members if member.deadline <= now]:
            member.deadline = NEVER
            member.expired(now)
        for call in self.also:
            call()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep now, and from here on every INTERVAL."""
        now = self._clock()
        self.lag = max(0.0, now - self._due) if self._due else 0.0
        self._due = now + INTERVAL
        self._handle = loop.call_later(INTERVAL, self.start, loop)  # first: nothing that fails may end the sweeps
        self.sweep()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
