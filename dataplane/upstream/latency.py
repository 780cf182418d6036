"""How fast an endpoint is of late: a moving average that believes bad news at once and good news slowly.

Peak EWMA, as Finagle balances by: an answer slower than the average becomes the average, a faster one weighs by the
time since the last. Without answers the average fades, so that an endpoint that was slow once is tried again.
"""

from __future__ import annotations

import math
from typing import Final

FADE_SECONDS: Final = 10.0
"""After this time what was measured weighs e times less (Finagle's and linkerd's default)."""
FAILURE_MS: Final = 1000.0
"""A failed attempt counts as one of at least this long: a fast failure must not look like a fast endpoint."""
_UNKNOWN: Final = 1e9


class PeakEwma:
    """`ms` is the average as it was at time `at` (seconds)."""

    __slots__ = ("at", "known", "ms")

    def __init__(self) -> None:
        self.ms = 0.0
        self.at = 0.0
        self.known = False

    def observe(self, ms: float, now: float) -> None:
        """One attempt took that long."""
        faded = self.faded(now)
        if ms >= faded:
            self.ms = ms
        else:
            kept = math.exp((self.at - now) / FADE_SECONDS)
            self.ms = self.ms * kept + ms * (1.0 - kept)
        self.at = now
        self.known = True

    def faded(self, now: float) -> float:
        """The average, in milliseconds, with nothing new since."""
        return self.ms * math.exp((self.at - now) / FADE_SECONDS)

    def cost(self, now: float, busy: int) -> float:
        """How long a new request would take behind those that are there.

        An endpoint that nothing is known of gets one request to learn from, and no second one before that is answered.
        """
        if not self.known:
            return _UNKNOWN + busy if busy else 0.0
        return self.faded(now) * (busy + 1)
