"""One attempt at an upstream: which connection, and what is written to it. The waiting is `forward`'s."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from dataplane.headers import request_head
from dataplane.http1.body import NO_BODY
from dataplane.http1.chunks import framed, last_chunk
from dataplane.routing import Found
from dataplane.runtime import Route, Upstream
from dataplane.streaming import send_body
from dataplane.upstream.pool import Pool, has_something_to_read

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def take(pool: Pool, x: Exchange) -> UpstreamConnection | None:
    """An idle connection; for a request that cannot be repeated, one that is not visibly closing."""
    connection = pool.take()
    if x.method not in IDEMPOTENT:
        while connection is not None and has_something_to_read(connection.transport):
            connection.abort()
            connection = pool.take()
    return connection


def send(
    x: Exchange, route: Route, upstream: Upstream, connection: UpstreamConnection, at_hand: list[bytes] | None
) -> asyncio.Future[None]:
    """Write the request, or begin to; the future is done when the head of the answer is there."""
    pool = connection.pool
    endpoint, found = pool.endpoint, cast(Found, x.found)
    x.attempts += 1
    x.upstream_host = endpoint.address
    x.upstream_started = now = pool.clock()
    target = endpoint.base + route.rewrite(x.path, found.params, found.rest)
    if x.query is not None:
        target = f"{target}?{x.query}"
    head = request_head(x, endpoint, target, route)
    head_arrived = connection.begin(x, now, route.response_seconds or upstream.response, upstream.idle)
    if at_hand is None:
        connection.write(head)
        connection.sender = pool.loop.create_task(send_body(x, connection))
    else:
        connection.request_sent = True
        if x.body is NO_BODY:
            connection.write(head)
        elif x.body.length is None:
            connection.writelines([head, *framed(at_hand), last_chunk(x.body)])
        else:
            connection.writelines([head, *at_hand])
    return head_arrived


def answered(x: Exchange, upstream: Upstream, connection: UpstreamConnection) -> None:
    """Note an attempt whose answer's head has arrived."""
    x.upstream_status = connection.status
    x.upstream_ms = (connection.pool.clock() - x.upstream_started) * 1000.0
    upstream.traffic.answered(x.upstream_ms)
    connection.pool.answered(connection.status, x.upstream_ms)
