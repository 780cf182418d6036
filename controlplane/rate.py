"""Requests over time since the start, in bounded memory: where there are too many points, two become one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

POINTS = 240
WIDTH = 5.0
"""Seconds that one point covers at first; it doubles whenever the points are used up."""


class Rate:
    """Counts in equal intervals. A report counts at the time it was made, even when it arrives late."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._start = now()
        self._width = WIDTH
        self._counts: list[int] = []

    def add(self, at: float, count: int) -> None:
        """Count requests at a time in epoch seconds; node clocks are wrong now and then: it is kept within our own."""
        now = self._now()
        index = self._index(max(self._start, min(at, now)), now)
        self._counts[index] += count

    def points(self) -> list[tuple[float, float]]:
        """(epoch seconds at which an interval begins, requests per second in it), oldest first."""
        now = self._now()
        self._index(now, now)
        # The newest interval still fills. Nodes report every few seconds, all at once: to divide by the time so far
        # would show peaks that never were.
        return [(self._start + index * self._width, count / self._width) for index, count in enumerate(self._counts)]

    def _index(self, at: float, now: float) -> int:
        """The interval of `at`, with the intervals up to `now` in place."""
        while (needed := math.floor(max(0.0, now - self._start) / self._width) + 1) > POINTS:
            self._width *= 2
            counts = [*self._counts, 0]
            self._counts = [sum(counts[index : index + 2]) for index in range(0, len(self._counts), 2)]
        self._counts += [0] * (needed - len(self._counts))
        return min(len(self._counts) - 1, math.floor((at - self._start) / self._width))
