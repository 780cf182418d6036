"""A bulkhead: how many exchanges one upstream may hold at a time, so that a slow one does not take the others down.

Those beyond wait, first come, first served, up to a number and a time; the rest get 503. An exchange has one place at a
time, from before its first attempt until it is over, retries included. Going on with another upstream (a fallback)
gives the first one's place back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataplane.errors import BulkheadFull, GatewayError
from dataplane.overload.gate import Gate

if TYPE_CHECKING:
    from dataplane.events import Events
    from dataplane.exchange import Exchange


class Bulkhead(Gate):
    """The places of one upstream, through every configuration that limits it."""

    def __init__(
        self, upstream: str, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], events: Events
    ) -> None:
        super().__init__(loop, clock)
        self.upstream = upstream
        self.rejected = 0
        self._events = events

    def come(self, x: Exchange) -> asyncio.Future[None] | None:
        """Take a place for the exchange now, or when the future is done; raises BulkheadFull, now or by the future.

        May be called again with every attempt.
        """
        before = x.bulkhead
        if before is not None:
            if before is self:
                return None
            before.go(x)
        waiter = self.enter(0, "")
        x.bulkhead, x.bulkhead_waiter = self, waiter
        return waiter.future if waiter is not None else None

    def go(self, x: Exchange) -> None:
        """Give the exchange's place back, or stop waiting for it."""
        x.bulkhead = None
        self.leave(x.bulkhead_waiter)

    def refused(self, name: str, why: str) -> GatewayError:
        self.rejected += 1
        self._events.often("bulkhead.full", self.upstream, why=why, waiting=self.waiting, limit=self.limit)
        return BulkheadFull(detail=f"{self.upstream}: {why}", retry_after=max(1, math.ceil(self.timeout)))
