"""The attempt loop: pick an endpoint, send the request, wait for the head of its answer; again or elsewhere, if it may.

What follows an attempt is decided by pure functions beside it (attempt.py, upstream/retrying.py); the loop only waits
and does what they say. Three things may follow: the same request at once on a fresh connection (a kept-alive one was
closed under it), a retry within the upstream's policy, or the fallback upstream where this one never got the request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataplane.attempt import answered, choose, enter, send, take, unanswered
from dataplane.errors import BreakerOpen, ConnectFailed, NoEndpoint
from dataplane.runtime import Route, Runtime, Upstream
from dataplane.streaming import let_go
from dataplane.upstream.connecting import connect
from dataplane.upstream.resolving import first_addresses

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection
    from dataplane.upstream.pool import Pool

_NEVER_ASKED = (BreakerOpen, NoEndpoint, ConnectFailed)
"""Errors after which the upstream has not seen the request."""


async def forward(x: Exchange, route: Route, runtime: Runtime) -> UpstreamConnection:
    """A connection on which the answer's head has arrived; raises a GatewayError. The caller releases it."""
    upstream = runtime.upstreams[route.upstream]
    at_hand = x.at_hand()
    tried: tuple[Pool, ...] = ()
    while True:
        pool = connection = None
        fresh = x.fresh
        try:
            if upstream.bulkhead is not None and (place := enter(x, upstream)) is not None:
                await place
            pool = choose(x, upstream, tried) or await _first(x, upstream, tried)
            connection = take(pool, x)
            if connection is None:
                await x.in_task()
                connection = await connect(pool, upstream)
            await send(x, route, upstream, connection, at_hand)
        except BaseException as error:
            pause = unanswered(x, upstream, pool, connection, error, at_hand)
            if connection is not None:
                await let_go(connection)
            if pause < 0.0:
                other = _stand_in(x, runtime, upstream, error)
                if other is None:
                    raise
                upstream, tried, x.tries = other, (), 0
                continue
        else:
            pause = answered(x, upstream, connection, at_hand)
            if pause < 0.0:
                return connection
            await let_go(connection)
        if pool is not None and x.fresh == fresh:  # an endpoint that closed an idle connection has not failed
            tried = (*tried, pool)
        if pause:
            await asyncio.sleep(pause)
        if at_hand is None:
            x.body.rewind()
            at_hand = x.at_hand()


async def _first(x: Exchange, upstream: Upstream, tried: tuple[Pool, ...]) -> Pool:
    """The endpoint for an attempt, once its upstream's names have addresses; raises NoEndpoint or a ConnectFailed."""
    await first_addresses(upstream)
    pool = choose(x, upstream, tried)
    if pool is None:
        raise NoEndpoint(retry_after=1)
    return pool


def _stand_in(x: Exchange, runtime: Runtime, upstream: Upstream, error: BaseException) -> Upstream | None:
    """The upstream's fallback, where it has one and has not been sent the request."""
    if not upstream.fallback or x.sent or not isinstance(error, _NEVER_ASKED):
        return None
    other = runtime.upstreams[upstream.fallback]
    if x.bulkhead is not None:
        x.bulkhead.go(x)
    x.fallback = other.name
    upstream.traffic.fell_back(other.name)
    return other
