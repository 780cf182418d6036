"""How many requests a credential may make: a token bucket for each, refilled evenly over a minute.

The bucket is full at first, so a burst of a whole minute's requests passes; then a caller that waits as long as
Retry-After says goes on at the even rate.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MINUTE = 60.0
KEYS = 20_000
"""Credentials that are remembered; the one used longest ago goes first, and comes back with a full bucket."""


class Allowance:
    """The buckets. `per_minute` 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic, *, keys: int = KEYS) -> None:
        self._size = float(per_minute)
        self._clock = clock
        self._limit = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was

    def __repr__(self) -> str:
        return f"<Allowance of {self._size:g} a minute, {len(self._buckets)} credentials>"

    def take(self, key: str) -> float:
        """Take one; 0.0 where there was one, else seconds until there is."""
        if not self._size:
            return 0.0
        now = self._clock()
        left, since = self._buckets.pop(key, (self._size, now))
        left = min(self._size, left + (now - since) * self._size / MINUTE)
        wait = 0.0 if left >= 1.0 else (1.0 - left) * MINUTE / self._size
        self._buckets[key] = (left if wait else left - 1.0, now)
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return wait
