"""Failed tries to log in: at most so many a minute for an account, and for an address.

A try counts when it begins, so that many at once get no further than one after the other; one that succeeds is taken
back. Each replica counts for itself, in memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 5
WINDOW = 60.0
"""Seconds."""
KEYS = 20_000
"""Accounts and addresses that are remembered; the one that tried longest ago goes first."""


class Throttle:
    """Tries that failed or still run, by key."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, most: int = MOST, window: float = WINDOW, keys: int = KEYS
    ) -> None:
        self._clock = clock
        self._most = most
        self._window = window
        self._limit = keys
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Throttle of {len(self._tries)} accounts and addresses>"

    def begin(self, *keys: str) -> float:
        """Count a try for all keys, unless one of them has no more: then seconds to wait, and nothing is counted."""
        now = self._clock()
        recent = {key: [at for at in self._tries.get(key, ()) if at > now - self._window] for key in keys}
        full = [tries for tries in recent.values() if len(tries) >= self._most]
        wait = max((tries[-self._most] + self._window - now for tries in full), default=0.0)
        if wait > 0.0:
            return wait
        for key, tries in recent.items():
            self._tries[key] = [*tries, now]
            self._tries.move_to_end(key)
        while len(self._tries) > self._limit:
            self._tries.popitem(last=False)
        return 0.0

    def succeeded(self, *keys: str) -> None:
        """The try that began last did not fail. Failures before it still count: an own account clears no address."""
        for key in keys:
            tries = self._tries.get(key)
            if tries:
                tries.pop()
                if not tries:
                    del self._tries[key]
