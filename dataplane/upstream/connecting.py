"""New connections to endpoints: a place in the pool, the guard's word on the address, then the dial.

The guard is asked about the resolved address (resolving.py found it), at the moment of connecting, so that no name can
lead to where the gateway must not go (EDGE; the metadata services of clouds are refused by default).
"""

from __future__ import annotations

import asyncio

from dataplane.errors import ConnectFailed, ConnectNotAllowed, ConnectTimeout, GatewayError, PoolExhausted
from dataplane.http1.upstream import UpstreamConnection
from dataplane.runtime import Endpoint, Guard, Upstream
from dataplane.upstream.pool import Pool, has_something_to_read
from dataplane.upstream.spreading import blocked


async def connect(pool: Pool, upstream: Upstream) -> UpstreamConnection:
    """A new connection, or one that is given back while all allowed ones are in use.

    Raises ConnectFailed, ConnectTimeout or PoolExhausted.
    """
    if pool.open < pool.max_open:
        pool.open += 1
    else:
        connection = await _wait_for_one(pool, upstream)
        if connection is not None:
            return connection
    try:
        connection = await _dial(pool, upstream, pool.endpoint)
        if connection.lost:
            raise ConnectFailed(detail=f"{pool.address}: closed at once")
    except BaseException:
        pool.vacate()
        raise
    connection.placed = True
    pool.deadlines.add(connection)
    return connection


async def _wait_for_one(pool: Pool, upstream: Upstream) -> UpstreamConnection | None:
    """A connection that was given back, or None: a place to make one. First come, first served."""
    if pool.idle:
        # Whoever asks wants none that was used before: the oldest makes room, and its place comes to who waits.
        pool.idle.popleft()[1].abort()
    waiter = pool.join()
    try:
        async with asyncio.timeout(upstream.connect or None):
            while True:
                connection = await waiter
                if connection is None or not (connection.lost or has_something_to_read(connection.transport)):
                    return connection
                connection.abort()  # closed meanwhile: its place is ours, now or once the transport has let go of it
                waiter = pool.join(first=True)
    except BaseException as error:
        pool.leave(waiter)
        if isinstance(error, TimeoutError):
            raise PoolExhausted(retry_after=1) from None
        raise


async def _dial(pool: Pool, upstream: Upstream, endpoint: Endpoint) -> UpstreamConnection:
    failure: GatewayError = ConnectFailed(detail="no address")
    for address in allowed_addresses(upstream.guard, endpoint):
        try:
            async with asyncio.timeout(upstream.connect or None):
                _, connection = await pool.loop.create_connection(
                    lambda: UpstreamConnection(pool),
                    address,
                    endpoint.port,
                    ssl=endpoint.tls,
                    server_hostname=endpoint.server_name,
                )
                return connection
        except TimeoutError:
            failure = ConnectTimeout(detail=pool.address)
        except OSError as error:  # ssl.SSLError is one
            failure = ConnectFailed(detail=f"{pool.address}: {error}")
    raise failure


def allowed_addresses(guard: Guard, endpoint: Endpoint) -> list[str]:
    """The addresses to try, in this order, without those that the guard refuses. Raises ConnectFailed for none."""
    if not _host_allowed(guard, endpoint.host):
        raise ConnectNotAllowed(detail=f"{endpoint.host} is not among security.allowedHosts")
    allowed = [address for address in endpoint.ips if not blocked(guard, address)]
    if not allowed:
        raise ConnectNotAllowed(detail=f"{endpoint.host} has addresses in security.blockedIPs only")
    return allowed


def _host_allowed(guard: Guard, host: str) -> bool:
    if not guard.allowed_hosts:
        return True
    return any(host == name or (name[:2] == "*." and host.endswith(name[1:])) for name in guard.allowed_hosts)
