"""New connections to endpoints: a place in the pool, the name's addresses, the guard's word on each, then the dial.

The guard is asked about the resolved address, at the moment of connecting, so that no name can lead to where the
gateway must not go (EDGE; the metadata services of clouds are refused by default).
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from dataplane.errors import ConnectFailed, ConnectTimeout, GatewayError, PoolExhausted
from dataplane.http1.upstream import UpstreamConnection
from dataplane.runtime import Endpoint, Guard, Upstream
from dataplane.upstream.pool import Pool


async def connect(pool: Pool, upstream: Upstream) -> UpstreamConnection:
    """A new connection, or one that becomes idle while all allowed ones are in use.

    Raises ConnectFailed, ConnectTimeout or PoolExhausted.
    """
    endpoint = pool.endpoint
    if pool.open >= upstream.max_sockets:
        connection = await _wait_for_one(pool, upstream)
        if connection is not None:
            return connection
    pool.open += 1
    try:
        connection = await _dial(pool, upstream, endpoint)
    except BaseException:
        pool.open -= 1
        pool.wake()
        raise
    if connection.lost:
        raise ConnectFailed(detail=f"{pool.address}: closed at once")
    pool.deadlines.add(connection)
    return connection


async def _wait_for_one(pool: Pool, upstream: Upstream) -> UpstreamConnection | None:
    try:
        async with asyncio.timeout(upstream.connect or None):
            while True:
                waiter = pool.loop.create_future()
                pool.waiters.append(waiter)
                await waiter
                connection = pool.take()
                if connection is not None or pool.open < upstream.max_sockets:
                    return connection
    except TimeoutError:
        raise PoolExhausted(retry_after=1) from None


async def _dial(pool: Pool, upstream: Upstream, endpoint: Endpoint) -> UpstreamConnection:
    addresses = await _resolve(pool.loop, upstream, endpoint)
    failure: GatewayError = ConnectFailed(detail="no address")
    for address in addresses:
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
