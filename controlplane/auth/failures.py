"""Requests and logins that were refused: counted by reason, and told as events.

Those that do not stop are told once a minute for each reason and address, with their number.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from controlplane.auth.address import neighbourhood
from controlplane.events import Events

APART = 60.0
"""Seconds between two events of one reason and address; those between count in the next."""
KEYS = 1000


class Failures:
    """`counts` by reason: missing, unknown, expired, disabled, role, csrf, password, throttled, refresh, provider."""

    def __init__(self, events: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # when, and how many since
        self.counts: dict[str, int] = {}

    def saw(self, reason: str, address: str, name: str = "") -> None:
        """One more; `name` is whom it claimed to be, where it claimed."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        key = reason, neighbourhood(address)
        at, since = self._told.pop(key, (float("-inf"), 0))
        if (now := self._clock()) < at + APART:
            self._told[key] = (at, since + 1)
            return
        self._told[key] = (now, 0)
        if len(self._told) > KEYS:
            self._told.popitem(last=False)
        self._events.saw("auth.failure", subject=reason, times=since + 1, address=address, account=name[:128])
