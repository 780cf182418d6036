"""Live state of upstreams: a pool of connections for each endpoint, found by key, alive through every configuration.

The policy (how many, how long, where to) comes with each call from the compiled `Upstream`, so an edit takes effect at
the next connection and nothing has to be carried over.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from dataplane.errors import ConnectFailed, ConnectTimeout, GatewayError, PoolExhausted
from dataplane.http1.deadlines import NEVER, Deadlines
from dataplane.http1.upstream import UpstreamConnection
from dataplane.runtime import Endpoint, Guard, Upstream

if TYPE_CHECKING:
    from typing import Any

PoolKey = tuple[str, str, str]
"""(upstream, scheme and address, what its TLS was made of)"""

_FREE_SECONDS = 1.0
"""A connection counts as free once it was idle this long: between two requests of a busy client it is not."""


class Pool:
    """The connections to one endpoint."""

    def __init__(self, key: PoolKey, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self.key = key
        self.address = key[1]
        self.loop = loop
        self.clock: Callable[[], float] = time.monotonic
        self.deadlines = deadlines
        self.idle: deque[tuple[float, UpstreamConnection]] = deque()
        self.open = 0
        self.keep_idle = 60.0
        self.keep_alive = True
        self.max_free = 10
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<Pool {self.address} {self.open} open, {len(self.idle)} idle, {len(self._waiters)} waiting>"

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
        if not self.keep_alive or self.max_free == 0:
            connection.transport.close()
            return
        now = self.clock()
        connection.deadline = now + self.keep_idle
        self.idle.append((now, connection))
        self._wake()

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection of this pool is gone, whoever ended it."""
        self.open -= 1
        self.deadlines.discard(connection)
        if not connection.busy:
            self.idle = deque(entry for entry in self.idle if entry[1] is not connection)
        self._wake()

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

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def connect(self, upstream: Upstream) -> UpstreamConnection:
        """A new connection, or one that becomes idle while all allowed ones are in use.

        Raises ConnectFailed, ConnectTimeout or PoolExhausted.
        """
        endpoint = upstream.endpoints[self]
        if self.open >= upstream.max_sockets:
            connection = await self._wait_for_one(upstream)
            if connection is not None:
                return connection
        self.open += 1
        try:
            connection = await self._dial(upstream, endpoint)
        except BaseException:
            self.open -= 1
            self._wake()
            raise
        if connection.lost:
            raise ConnectFailed(detail=f"{self.address}: closed at once")
        self.deadlines.add(connection)
        return connection

    async def _wait_for_one(self, upstream: Upstream) -> UpstreamConnection | None:
        try:
            async with asyncio.timeout(upstream.connect or None):
                while True:
                    waiter = self.loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
                    connection = self.take()
                    if connection is not None or self.open < upstream.max_sockets:
                        return connection
        except TimeoutError:
            raise PoolExhausted(retry_after=1) from None

    async def _dial(self, upstream: Upstream, endpoint: Endpoint) -> UpstreamConnection:
        addresses = await _resolve(self.loop, upstream, endpoint)
        failure: GatewayError = ConnectFailed(detail="no address")
        for address in addresses:
            try:
                async with asyncio.timeout(upstream.connect or None):
                    _, connection = await self.loop.create_connection(
                        lambda: UpstreamConnection(self),
                        address,
                        endpoint.port,
                        ssl=endpoint.tls,
                        server_hostname=endpoint.server_name,
                    )
                    return connection
            except TimeoutError:
                failure = ConnectTimeout(detail=self.address)
            except OSError as error:  # ssl.SSLError is one
                failure = ConnectFailed(detail=f"{self.address}: {error}")
        raise failure


async def _resolve(loop: asyncio.AbstractEventLoop, upstream: Upstream, endpoint: Endpoint) -> list[str]:
    """The addresses to try, in the resolver's order; those that the guard refuses are left out."""
    guard = upstream.guard
    if not _host_allowed(guard, endpoint.host):
        raise ConnectFailed(detail=f"{endpoint.host} is not among security.allowedHosts")
    try:
        found = [str(ip_address(endpoint.host))]
    except ValueError:
        found = await _look_up(loop, upstream, endpoint)
    allowed = [address for address in found if not _blocked(guard, address)]
    if not allowed:
        raise ConnectFailed(detail=f"{endpoint.host} resolves to addresses in security.blockedIPs only")
    return allowed


async def _look_up(loop: asyncio.AbstractEventLoop, upstream: Upstream, endpoint: Endpoint) -> list[str]:
    try:
        async with asyncio.timeout(upstream.dns or None):
            infos = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ConnectTimeout(detail=f"looking up {endpoint.host}") from None
    except OSError as error:
        raise ConnectFailed(detail=f"looking up {endpoint.host}: {error}") from error
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _host_allowed(guard: Guard, host: str) -> bool:
    if not guard.allowed_hosts:
        return True
    return any(host == name or (name[:2] == "*." and host.endswith(name[1:])) for name in guard.allowed_hosts)


def _blocked(guard: Guard, address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    candidates = (found, mapped) if mapped is not None else (found,)
    return any(ip.version == net.version and ip in net for ip in candidates for net in guard.blocked)


def has_something_to_read(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer closed or spoke and the loop has not seen it yet: one poll that does not wait."""
    sock: Any = transport.get_extra_info("socket")
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN | select.POLLHUP)
    return bool(poller.poll(0))
