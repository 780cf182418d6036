"""An endpoint as it lives: its connections and how they fare, found by key, alive through every configuration.

Here is what needs no waiting; `connecting.py` makes new connections. The policy (how many, how long, where to) comes
with each call from the compiled `Upstream`, so an edit takes effect at once and nothing has to be carried over.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from dataplane.http1.deadlines import NEVER, Deadlines
from dataplane.http1.outbox import Outbox
from dataplane.http1.upstream import UpstreamConnection
from dataplane.upstream.latency import FAILURE_MS, PeakEwma

if TYPE_CHECKING:
    from typing import Any

    from dataplane.errors import GatewayError
    from dataplane.runtime import Endpoint
    from dataplane.upstream.endpoint_health import EndpointHealth

PoolKey = tuple[str, str, Hashable]
"""(upstream, the endpoint's URL, what its connections are made under: TLS, guard)"""

_FREE_SECONDS: Final = 1.0
"""A connection counts as free once it was idle this long: between two requests of a busy client it is not."""


class Pool:
    """The connections to one endpoint."""

    def __init__(
        self,
        key: PoolKey,
        endpoint: Endpoint,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        health: EndpointHealth,
        outbox: Outbox,
    ) -> None:
        self.key = key
        self.health = health
        self.outbox = outbox
        self.endpoint = endpoint  # as the configuration that is served has it
        self.address = key[1]
        self.loop = loop
        self.clock: Callable[[], float] = health.clock
        self.deadlines = deadlines
        self.idle: deque[tuple[float, UpstreamConnection]] = deque()
        self.open = 0
        self.keep_idle = 60.0
        self.keep_alive = True
        self.max_free = 10
        self.max_open = 100
        self.waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self.latency: PeakEwma | None = None  # where the policy asks for it

    def __repr__(self) -> str:
        return f"<Pool {self.address} {self.open} open, {len(self.idle)} idle, {len(self.waiters)} waiting>"

    @property
    def busy(self) -> int:
        """Requests that are with the endpoint or wait for a connection to it."""
        return self.open - len(self.idle) + len(self.waiters)

    def take(self) -> UpstreamConnection | None:
        """The connection that was used last, if any is idle: those used least age out."""
        while self.idle:
            _, connection = self.idle.pop()
            if not connection.lost:
                connection.deadline = NEVER
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        """Take back a connection that stands between two exchanges."""
        if self.keep_alive and self.waiters and self._hand_over(connection):
            return
        if not self.keep_alive or self.max_free == 0:
            connection.transport.close()
            return
        now = self.clock()
        connection.deadline = now + self.keep_idle
        self.idle.append((now, connection))

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection of this pool is gone, whoever ended it."""
        if not connection.placed:
            return  # whoever dials still holds its place
        self.deadlines.discard(connection)
        if not connection.busy:
            self.idle = deque(entry for entry in self.idle if entry[1] is not connection)
        self.vacate()

    def answered(self, status: int, ms: float) -> None:
        """An attempt here has its answer's head, after that many milliseconds."""
        latency = self.latency
        if latency is not None:
            # An error may come sooner than an answer would: it never makes the endpoint look faster.
            now = self.clock()
            latency.observe(ms if status < 500 else max(ms, latency.faded(now)), now)
        if status >= 500:
            self.health.failed(f"status {status}")
        elif self.health.failures:
            self.health.succeeded()

    def failed(self, error: GatewayError) -> None:
        """An attempt here came to no answer, or to one that broke off. Never called for what the client did."""
        latency = self.latency
        if latency is not None and error.by_endpoint:
            now = self.clock()
            latency.observe(max(FAILURE_MS, latency.faded(now)), now)
        if error.by_endpoint:
            self.health.failed(error.kind)

    def measure(self, wanted: bool) -> None:
        """Keep the endpoint's latency from now on, or no more."""
        if not wanted:
            self.latency = None
        elif self.latency is None:
            self.latency = PeakEwma()

    def trim(self) -> None:
        """Close what is free beyond `max_free`, the longest idle first."""
        now = self.clock()
        while len(self.idle) > self.max_free and self.idle[0][0] < now - _FREE_SECONDS:
            self.idle.popleft()[1].transport.close()

    def close(self) -> None:
        """The endpoint is no longer configured: idle connections end now, busy ones after their exchange."""
        self.keep_alive = False
        while self.idle:
            self.idle.popleft()[1].transport.close()

    # ---- places: `open` counts connections and those who are about to make one, up to `max_open`

    def vacate(self) -> None:
        """A place is free: the first who waits has it from now on, unless an edit has left fewer places."""
        if self.open > self.max_open or not self._hand_over(None):
            self.open -= 1

    def allow(self, places: int) -> None:
        """So many connections may be open; where there are more places than before, those who wait have them."""
        self.max_open = places
        while self.open < places and self._hand_over(None):
            self.open += 1

    def join(self, *, first: bool = False) -> asyncio.Future[UpstreamConnection | None]:
        """Wait for a connection, or a place to make one (None); `first`: before all others. Then `leave` or use it."""
        waiter: asyncio.Future[UpstreamConnection | None] = self.loop.create_future()
        if first:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        self.allow(self.max_open)
        return waiter

    def leave(self, waiter: asyncio.Future[UpstreamConnection | None]) -> None:
        """Whoever waits gives up; what it was given in this very moment goes to the next."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        elif waiter.done() and not waiter.cancelled():
            connection = waiter.result()
            if connection is None:
                self.vacate()
            elif not connection.lost:
                self.put(connection)

    def _hand_over(self, connection: UpstreamConnection | None) -> bool:
        """Give a connection, or with None a place for one, to the first who waits. False: nobody does.

        It is theirs at once, so that nobody who comes later can take it before they run.
        """
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False


def has_something_to_read(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer closed or spoke and the loop has not seen it yet: one poll that does not wait."""
    sock: Any = transport.get_extra_info("socket")
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN | select.POLLHUP)
    return bool(poller.poll(0))
