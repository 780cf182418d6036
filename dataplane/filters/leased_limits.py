"""Rate limits on lease from Redis: the step of a route whose requests mostly find what they need at hand.

A request that all leases have something for is let through at once; one that the store has nothing for is refused at
once; else it waits for the store like one of an exact limit. Shadow limits count along, and nobody waits for them.
Of several limits one may have something while another has not, and be used up by the time that one has: a request whose
leases do not come together in two tries asks the store for all of them at once.
"""

from __future__ import annotations

import math
from asyncio import Future
from collections.abc import Sequence
from typing import Final

from dataplane.errors import GatewayError
from dataplane.exchange import Exchange
from dataplane.filters.limit_rules import Limit
from dataplane.filters.local_limits import lines
from dataplane.filters.shared_limits import SharedLimits
from dataplane.limits.lease import Lease, LeaseHolder

_MOST_TRIES: Final = 2
"""Of one request: others may be quicker to use what a lease brought. Then it asks for itself, as in exact mode."""


class LeasedLimits(SharedLimits):
    """As SharedLimits, with leases."""

    def __call__(self, x: Exchange) -> Future[None] | None:
        """Let the request through, raise a GatewayError, or return what becomes one of the two."""
        if self.store.lost:
            self.decide_without(x)
            return None
        limits = [limit for limit in self.limits_for(x) if limit.applies is None or limit.applies(x.path)]
        missing = self.decide_by_lease(x, limits)
        if missing is None:
            return None
        waiting = WaitingForLease(x, self, limits)
        waiting.wait_for(missing)
        return waiting.future

    def decide_by_lease(self, x: Exchange, limits: Sequence[Limit]) -> Lease | None:
        """The last of the leases that nothing is at hand of; None: let through. Raises TooManyRequests."""
        now = self.store.now()
        nodes: int = self.live.nodes
        leases: list[Lease] = []
        missing: Lease | None = None
        refusing: Limit | None = None
        longest = 0.0
        for limit in limits:
            assert limit.leases is not None
            lease = limit.leases.find(limit.store_key + limit.key(x), now)
            leases.append(lease)
            if limit.shadow or lease.has(now):
                continue
            if lease.empty_until <= now:
                missing = lease
            elif lease.empty_until - now > longest:
                longest, refusing = lease.empty_until - now, limit
        if refusing is not None:
            raise self.refusal(x, refusing, longest, self.wall())
        if missing is None:
            self._use(x, limits, leases, now, nodes)
            return None
        for limit, lease in zip(limits, leases, strict=True):
            if not limit.shadow and not lease.has(now) and lease is not missing:
                lease.take(now, nodes)
        return missing  # taken by the one that waits for it: the answers of one call come in order

    def _use(self, x: Exchange, limits: Sequence[Limit], leases: Sequence[Lease], now: float, nodes: int) -> None:
        tightest = math.inf
        told: Limit | None = None
        reset = 0.0
        for limit, lease in zip(limits, leases, strict=True):
            if not limit.shadow:
                lease.use(now, nodes)
                left = lease.left + lease.held
                if left < tightest:
                    tightest, told, reset = left, limit, lease.reset
            elif lease.has(now):
                lease.use(now, nodes)
            elif lease.empty_until > now:
                self.traffic.shadowed += 1
            else:
                lease.take(now, nodes)
        if told is not None:
            x.limit_lines = lines(told, tightest, reset, self.wall())


class WaitingForLease(LeaseHolder):
    """A request that waits for leases."""

    __slots__ = ("future", "limits", "step", "tries", "x")

    def __init__(self, x: Exchange, step: LeasedLimits, limits: list[Limit]) -> None:
        self.x = x
        self.step = step
        self.limits = limits
        self.tries = 0
        self.future: Future[None] = step.loop.create_future()

    def wait_for(self, lease: Lease) -> None:
        """Hear of this one, which is asked for unless it is on its way."""
        self.tries += 1
        lease.waiting.append(self)
        lease.take(self.step.store.now(), self.step.live.nodes)

    def try_again(self) -> None:
        """As LeaseHolder has it."""
        if self.future.done():
            return  # the client is gone
        if self.step.store.lost:
            self.failed()
            return
        try:
            missing = self.step.decide_by_lease(self.x, self.limits)
        except GatewayError as error:
            self.future.set_exception(error)
            return
        if missing is None:
            self.future.set_result(None)
        elif self.tries < _MOST_TRIES:
            self.wait_for(missing)
        else:
            self.step.ask(self.x, self.limits, self.future)

    def failed(self) -> None:
        """As LeaseHolder has it."""
        if self.future.done():
            return
        try:
            self.step.decide_without(self.x)
        except GatewayError as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)
