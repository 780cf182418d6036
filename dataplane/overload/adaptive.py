"""A limit that follows latency: as many requests at a time as the upstreams answer without a queue of their own. Pure.

The rule is the gradient of Netflix's concurrency-limits and of Envoy's adaptive concurrency: what latency should be,
over what it is, shrinks the limit; a headroom of its square root lets it grow. They differ in how they know what
latency should be. A long average (Gradient2) forgets it under lasting overload, and the limit runs away. Envoy goes
down to a few requests every minute to measure it, and refuses the rest. Here it is the lowest median of late, and
when that is old, one window at half the limit measures anew: requests wait meanwhile, none is refused for it, and a
service that has become slower for good is understood within PROBE_SECONDS.

Times to the head of an answer are milliseconds, moments are seconds.
"""

from __future__ import annotations

import math
from typing import Final

FLOOR: Final = 4
"""Never fewer: a single slow request must not stop everything. It is also where the limit begins."""
TOLERANCE: Final = 1.5
"""Latency may rise by so much before the limit falls: below it lies noise."""
STEEPEST: Final = 0.5
LEAST_SAMPLES: Final = 10
MOST_SAMPLES: Final = 256
PROBE_SECONDS: Final = 30.0


class AdaptiveLimit:
    """`limit` is never below FLOOR (or the ceiling, where that is lower), and never above the ceiling."""

    def __init__(self, ceiling: int, inside: int = 0) -> None:
        self.ceiling = ceiling
        self.limit = self._bounded(inside)  # who is there already is not more than there may be
        self.usual = 0.0  # what latency should be; 0: not known yet
        self.probing = False
        self._full = False
        self._samples: list[float] = []
        self._next = 0
        self.rising = True  # doubling, until latency rises for the first time: then a window may be short
        self._resumed = 0  # the limit to go on with after a probe
        self._probe_at = 0.0

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.limit} of {self.ceiling}, usually {self.usual:.1f} ms>"

    def sample(self, ms: float) -> None:
        """One answer's time. Of a window's, the newest MOST_SAMPLES count."""
        if len(self._samples) < MOST_SAMPLES:
            self._samples.append(ms)
        else:
            self._samples[self._next] = ms
            self._next = (self._next + 1) % MOST_SAMPLES

    def follow(self, ceiling: int) -> None:
        """The configuration's highest limit."""
        self.ceiling = ceiling
        self.limit = self._bounded(self.limit)

    def turn(self, now: float, *, full: bool) -> int:
        """Close the window, if it has seen enough, and give the limit for the next one.

        `full`: whether the limit was reached since the last call; one that nobody reaches does not grow.
        """
        self._full = self._full or full
        if len(self._samples) < LEAST_SAMPLES:
            return self.limit
        full, self._full = self._full, False
        median = sorted(self._samples)[len(self._samples) // 2]
        self._samples.clear()
        self._next = 0
        if self.probing:
            self.probing = False
            self.limit = self._bounded(self._resumed)
            self._know(median, now)
            return self.limit
        if not self.usual or median < self.usual:
            self._know(median, now)
        if full and now >= self._probe_at:
            self.probing = True
            self._resumed = self.limit
            self.limit = self._bounded(self.limit // 2)
            return self.limit
        self.limit = self._bounded(self._moved(median, full))
        return self.limit

    def _know(self, median: float, now: float) -> None:
        self.usual = median
        self._probe_at = now + PROBE_SECONDS

    def _moved(self, median: float, full: bool) -> int:
        gradient = max(STEEPEST, min(1.0, TOLERANCE * self.usual / median)) if median > 0.0 else 1.0
        if gradient < 1.0:
            self.rising = False
            return math.ceil(self.limit * gradient + math.sqrt(self.limit) * gradient)
        if not full:
            return self.limit
        return self.limit * 2 if self.rising else self.limit + math.ceil(math.sqrt(self.limit))

    def _bounded(self, limit: int) -> int:
        return min(self.ceiling, max(min(FLOOR, self.ceiling), limit))
