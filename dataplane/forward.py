"""The attempt loop: pick an endpoint, send the request, wait for the head of its answer.

An attempt is repeated only when it cannot have been processed: no connection came about, or a kept-alive connection was
closed under a request that may be sent twice (RFC 9110 9.2.2, 9112 9.3.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from dataplane.errors import ConnectionLost, GatewayError, NoEndpoint
from dataplane.headers import request_head
from dataplane.http1.body import NO_BODY
from dataplane.http1.chunks import framed, last_chunk
from dataplane.metrics import UpstreamTraffic
from dataplane.routing import Found
from dataplane.runtime import Route, Upstream
from dataplane.upstream import Pool, has_something_to_read

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def forward(x: Exchange, route: Route, upstream: Upstream, counts: UpstreamTraffic) -> UpstreamConnection:
    """A connection on which the answer's head has arrived; raises a GatewayError. The caller releases it."""
    if not upstream.turns:
        raise NoEndpoint
    at_hand = x.body.take() if x.body.complete else None
    fresh = False
    while True:
        pool = upstream.picked()
        connection = None if fresh else _take(pool, x)
        reused = connection is not None
        try:
            if connection is None:
                connection = await pool.connect(upstream)
            answered = _send(x, route, upstream, connection, at_hand)
            await answered
        except BaseException as error:
            x.upstream_ms = (pool.clock() - x.upstream_started) * 1000.0 if x.upstream_started else 0.0
            if connection is not None:
                await connection.stop_sending()
                connection.release()
            if connection is not None and reused and _was_stale(error, connection) and _may_repeat(x, at_hand):
                fresh = True
                counts.repeated += 1
                continue
            if isinstance(error, GatewayError):
                counts.failed(error)
            raise
        x.upstream_status = connection.status
        x.upstream_ms = (pool.clock() - x.upstream_started) * 1000.0
        counts.answered(x.upstream_ms)
        return connection


def _take(pool: Pool, x: Exchange) -> UpstreamConnection | None:
    """An idle connection; for a request that cannot be repeated, one that is not visibly closing."""
    connection = pool.take()
    if x.method not in IDEMPOTENT:
        while connection is not None and has_something_to_read(connection.transport):
            connection.abort()
            connection = pool.take()
    return connection


def _was_stale(error: BaseException, connection: UpstreamConnection) -> bool:
    """Whether a kept-alive connection was closed before the endpoint can have seen the request."""
    return isinstance(error, ConnectionLost) and not connection.heard


def _may_repeat(x: Exchange, at_hand: list[bytes] | None) -> bool:
    return x.method in IDEMPOTENT and at_hand is not None


def _send(
    x: Exchange, route: Route, upstream: Upstream, connection: UpstreamConnection, at_hand: list[bytes] | None
) -> asyncio.Future[None]:
    """Write the request, or begin to; the future is done when the head of the answer is there."""
    pool = connection.pool
    endpoint, found = upstream.endpoints[pool], cast(Found, x.found)
    x.attempts += 1
    x.upstream_host = endpoint.address
    x.upstream_started = now = pool.clock()
    target = endpoint.base + route.rewrite(x.path, found.params, found.rest)
    if x.query is not None:
        target = f"{target}?{x.query}"
    head = request_head(x, endpoint, target, route)
    answered = connection.begin(x, now, route.response_seconds or upstream.response, upstream.idle)
    if at_hand is None:
        connection.write(head)
        connection.sender = pool.loop.create_task(_send_body(x, connection))
    else:
        connection.request_sent = True
        if x.body is NO_BODY:
            connection.write(head)
        elif x.body.length is None:
            connection.writelines([head, *framed(at_hand), last_chunk(x.body)])
        else:
            connection.writelines([head, *at_hand])
    return answered


async def _send_body(x: Exchange, connection: UpstreamConnection) -> None:
    """Stream the request body up as it comes; ends early, and quietly, when either side is gone.

    The one who waits for the answer hears of the upstream's end through the connection, and of the client's by being
    cancelled; what is left to do here is never to let a body that was cut short look whole.
    """
    body = x.body
    chunked = body.length is None
    connection.sending()
    try:
        if x.expect_continue and not body.received:
            x.connection.write(_CONTINUE)
        while chunks := await body.read():
            connection.writelines(framed(chunks) if chunked else chunks)
            await connection.drain()
        if chunked:
            connection.write(last_chunk(body))
        connection.sent()
    except ConnectionLost:
        body.discard()
    except GatewayError:
        connection.abort()
