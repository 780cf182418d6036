"""The attempt loop: pick an endpoint, send the request, wait for the head of its answer.

An attempt is repeated only when it cannot have been processed: no connection came about, or a kept-alive connection was
closed under a request that may be sent twice (RFC 9110 9.2.2, 9112 9.3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dataplane.errors import ConnectionLost, GatewayError, NoEndpoint
from dataplane.headers import CRLF, request_head
from dataplane.metrics import Traffic
from dataplane.routing import Found
from dataplane.runtime import Route, Upstream
from dataplane.upstream import Pool, has_something_to_read

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def forward(x: Exchange, route: Route, upstream: Upstream, traffic: Traffic) -> UpstreamConnection:
    """A connection on which the answer's head has arrived; raises a GatewayError. The caller ends it with `finish`."""
    if not upstream.turns:
        raise NoEndpoint
    counts = traffic.upstream(upstream.name)
    at_hand = x.body.take() if x.body.complete else None
    fresh = False
    while True:
        pool = upstream.picked()
        connection = None if fresh else _take(pool, x)
        reused = connection is not None
        try:
            if connection is None:
                connection = await pool.connect(upstream)
            await _attempt(x, route, upstream, pool, connection, at_hand)
        except GatewayError as error:
            if connection is not None:
                await connection.finish()
                if reused and isinstance(error, ConnectionLost) and not connection.heard and _may_repeat(x, at_hand):
                    fresh = True
                    traffic.retries += 1
                    continue
            counts.failed(error)
            raise
        except BaseException:
            if connection is not None:
                await connection.finish()
            raise
        x.upstream_status = connection.status
        counts.answered(_spent(x, pool))
        return connection


def _take(pool: Pool, x: Exchange) -> UpstreamConnection | None:
    """An idle connection; for a request that cannot be repeated, one that is not visibly closing."""
    connection = pool.take()
    while connection is not None and x.method not in IDEMPOTENT and has_something_to_read(connection.transport):
        connection.abort()
        connection = pool.take()
    return connection


def _may_repeat(x: Exchange, at_hand: list[bytes] | None) -> bool:
    return x.method in IDEMPOTENT and at_hand is not None


def _spent(x: Exchange, pool: Pool) -> float:
    x.upstream_ms = (pool.clock() - x.upstream_started) * 1000.0
    return x.upstream_ms


async def _attempt(
    x: Exchange,
    route: Route,
    upstream: Upstream,
    pool: Pool,
    connection: UpstreamConnection,
    at_hand: list[bytes] | None,
) -> None:
    """Send the request and wait for the head of the answer."""
    endpoint, found = upstream.endpoints[pool], cast(Found, x.found)
    x.attempts += 1
    x.upstream_host = endpoint.address
    x.upstream_started = pool.clock()
    target = endpoint.base + route.rewrite(x.path, found.params, found.rest)
    if x.query is not None:
        target = f"{target}?{x.query}"
    head = request_head(x, endpoint, target, route.host_line, route.request_edits)
    connection.begin(x, response_seconds=route.response_seconds or upstream.response, idle_seconds=upstream.idle)
    if at_hand is not None:
        connection.writelines([head, *_whole(x, at_hand)])
        connection.request_sent = True
    else:
        connection.write(head)
        connection.sender = pool.loop.create_task(_send_body(x, connection))
    try:
        await connection.response()
    except GatewayError:
        _spent(x, pool)
        raise


def _whole(x: Exchange, chunks: list[bytes]) -> list[bytes]:
    """A body that is all here, framed as its head says."""
    if x.body.length is not None:
        return chunks
    return [*_chunk(chunks), CRLF.join((b"0", *x.body.trailers, b"", b""))]


def _chunk(chunks: list[bytes]) -> list[bytes]:
    return [b"%x\r\n" % sum(map(len, chunks)), *chunks, CRLF] if chunks else []


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
            connection.writelines(_chunk(chunks) if chunked else chunks)
            await connection.drain()
        if chunked:
            connection.write(CRLF.join((b"0", *body.trailers, b"", b"")))
        connection.sent()
    except ConnectionLost:
        body.discard()
    except GatewayError:
        connection.abort()
