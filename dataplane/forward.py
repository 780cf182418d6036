"""The attempt loop: pick an endpoint, send the request, wait for the head of its answer.

An attempt is repeated only when it cannot have been processed: no connection came about, or a kept-alive connection was
closed under a request that may be sent twice (RFC 9110 9.2.2, 9112 9.3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.attempt import IDEMPOTENT, answered, send, take
from dataplane.errors import ConnectionLost, GatewayError, NoEndpoint
from dataplane.runtime import Route, Upstream
from dataplane.streaming import stop_sending
from dataplane.upstream.connecting import connect
from dataplane.upstream.resolving import first_addresses

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection
    from dataplane.upstream.pool import Pool


async def forward(x: Exchange, route: Route, upstream: Upstream) -> UpstreamConnection:
    """A connection on which the answer's head has arrived; raises a GatewayError. The caller releases it."""
    if upstream.bulkhead is not None:
        place = upstream.bulkhead.come(x)  # `finish` gives it back
        if place is not None:
            await place
    at_hand = x.at_hand()
    fresh = False
    tried: tuple[Pool, ...] = ()
    while True:
        pool = upstream.balancer.pick(x, tried)
        if pool is None:
            await first_addresses(upstream)
            pool = upstream.balancer.pick(x, tried)
            if pool is None:
                raise NoEndpoint
        connection = None if fresh else take(pool, x)
        reused = connection is not None
        try:
            if connection is None:
                connection = await connect(pool, upstream)
            await send(x, route, upstream, connection, at_hand)
        except BaseException as error:
            x.upstream_ms = (pool.clock() - x.upstream_started) * 1000.0 if x.upstream_started else 0.0
            if connection is not None:
                await stop_sending(connection)
                connection.release()
            if connection is not None and reused and _was_stale(error, connection) and _may_repeat(x, at_hand):
                fresh = True
                upstream.traffic.repeated += 1
                continue
            if isinstance(error, GatewayError):
                upstream.traffic.failed(error)
                pool.failed(error)
            raise
        answered(x, upstream, connection)
        return connection


def _was_stale(error: BaseException, connection: UpstreamConnection) -> bool:
    """Whether a kept-alive connection was closed before the endpoint can have seen the request."""
    return isinstance(error, ConnectionLost) and not connection.heard


def _may_repeat(x: Exchange, at_hand: list[bytes] | None) -> bool:
    return x.method in IDEMPOTENT and at_hand is not None
