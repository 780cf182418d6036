"""Rate limits counted in memory: the step of a route whose limits are this node's share.

A request that one limit refuses takes nothing from the others. Every limited answer tells the tightest of them, in the
customary X-RateLimit fields and in those of the IETF draft (draft-ietf-httpapi-ratelimit-headers: RateLimit,
RateLimit-Policy). Shadow limits come last: they count what they would refuse of what all others let through.
"""

from __future__ import annotations

import math
from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dataplane.errors import TooManyRequests
from dataplane.exchange import Exchange
from dataplane.filters.limit_rules import Limit

if TYPE_CHECKING:
    from dataplane.live import Live


class LocalLimits:
    """The step of a route whose limits are counted in memory."""

    def __init__(self, route: str, limits: Sequence[Limit], consumers: Mapping[str, Limit], live: Live) -> None:
        self.route = route
        self.live = live
        self.traffic = live.traffic.route(route)
        self._clock = live.clock
        # Shadow limits last: see above.
        self._limits = tuple(sorted(limits, key=lambda limit: limit.shadow))
        self._consumers = consumers

    def __call__(self, x: Exchange) -> Future[None] | None:
        """Let the request through, or raise TooManyRequests."""
        self.decide(x)
        return None

    def wall(self) -> float:
        """The time of day, in epoch seconds."""
        epoch: float = self.live.epoch
        return self._clock() + epoch

    def decide(self, x: Exchange) -> None:
        """Count the request here; raises TooManyRequests."""
        now = self._clock()
        nodes: int = self.live.nodes
        tightest = math.inf
        told: Limit | None = None
        limits = self.limits_for(x)
        for limit in limits:
            if limit.applies is not None and not limit.applies(x.path):
                continue
            left = limit.counts.take(limit.key(x), now, nodes)
            if limit.shadow:
                if left < 0.0:
                    self.traffic.shadowed += 1
            elif left < 0.0:
                raise self._refused(x, limits, limit, -left, now, nodes)
            elif left < tightest:
                tightest, told = left, limit
        if told is not None:
            x.limit_lines = lines(told, tightest, told.counts.reset(tightest, now, nodes), now + self.live.epoch)

    def limits_for(self, x: Exchange) -> tuple[Limit, ...]:
        """The limits of the route and of the consumer, enforced ones first."""
        if x.consumer is None or not self._consumers:
            return self._limits
        own = self._consumers.get(x.consumer)
        if own is None:
            return self._limits
        return (*self._limits, own) if own.shadow else (own, *self._limits)

    def _refused(
        self, x: Exchange, limits: Sequence[Limit], refusing: Limit, wait: float, now: float, nodes: int
    ) -> TooManyRequests:
        """Give back what was taken, and tell the one that refuses for longest."""
        seen = False
        longest, told = wait, refusing
        for limit in limits:
            if limit is refusing:
                seen = True
                continue
            if limit.shadow or (limit.applies is not None and not limit.applies(x.path)):
                continue
            key = limit.key(x)
            left = limit.counts.take(key, now, nodes) if seen else 0.0
            if left >= 0.0:
                limit.counts.give_back(key)
            elif -left > longest:
                longest, told = -left, limit
        return self.refusal(x, told, longest, now + self.live.epoch)

    def refusal(self, x: Exchange, limit: Limit, wait: float, wall: float) -> TooManyRequests:
        """Count a refusal, and say it."""
        self.traffic.limited += 1
        self.live.events.often("rate_limit.exceeded", self.route, limit=limit.where)
        x.limit_lines = lines(limit, 0.0, wait, wall)
        return TooManyRequests(limit.message, retry_after=max(1, math.ceil(wait)), detail=f"over {limit.where}")


def lines(limit: Limit, left: float, reset: float, wall: float) -> bytes:
    """The header lines of an answer: so many left, all of them back in `reset` seconds from `wall` (epoch seconds)."""
    remaining = int(left)
    return b'%b%d\r\nX-RateLimit-Reset: %d\r\nRateLimit: "%b";r=%d;t=%d' % (
        limit.head,
        remaining,
        int(wall + reset) + 1,
        limit.name,
        remaining,
        int(reset) + 1,
    )
