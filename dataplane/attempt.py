"""One attempt at an upstream: which endpoint, which connection, what is written to it, and its books when it is over.

The waiting is `forward`'s. An attempt that `choose` begins ends in exactly one of `answered` and `unanswered`: breaker,
budget and counters hear of it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from dataplane.errors import (
    BreakerOpen,
    ConnectionLost,
    GatewayError,
    RequestTimeout,
    UpstreamError,
)
from dataplane.headers import request_head
from dataplane.http1.body import NO_BODY
from dataplane.http1.chunks import framed, last_chunk
from dataplane.overload.shedding import waited_ms
from dataplane.routing import Found
from dataplane.runtime import Route, Upstream
from dataplane.streaming import send_body
from dataplane.upstream.breaker import OPEN, REFUSED
from dataplane.upstream.pool import Pool, has_something_to_read
from dataplane.upstream.retrying import IDEMPOTENT, asks_for_longer, backoff, may_process_twice, safe_after

if TYPE_CHECKING:
    from dataplane.driver import Arrival
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

NO_MORE: Final = -1.0
"""Instead of a pause before the next attempt: there is none."""
_RETRY_AFTER: Final = b"retry-after:"
_JOINED: Final = 16 * 1024
"""Up to this size a request is one message, sent with the others of its turn; more is not worth copying."""


# ---- before and while it runs


def enter(x: Exchange, upstream: Upstream) -> asyncio.Future[None] | None:
    """A place in the upstream's bulkhead, now or when the future is done; `finish` gives it back.

    Raises BulkheadFull, and BreakerOpen rather than let a request wait behind an open breaker.
    """
    bulkhead, breaker = upstream.bulkhead, upstream.breaker
    if bulkhead is None:
        return None
    if breaker is not None and breaker.state and breaker.bars(now := bulkhead.clock()):
        raise BreakerOpen(retry_after=breaker.retry_after(now))
    return bulkhead.come(x)


def choose(x: Exchange, upstream: Upstream, tried: Sequence[Pool]) -> Pool | None:
    """The endpoint for an attempt that begins now; None where there is none. Raises BreakerOpen where none may."""
    pool = upstream.balancer.pick(x, tried)
    if pool is None:
        return None
    breaker = upstream.breaker
    if breaker is not None:
        if breaker.state:
            now = pool.clock()
            x.breaker_token = breaker.admit(now)
            if x.breaker_token == REFUSED:
                raise BreakerOpen(retry_after=breaker.retry_after(now))
        else:
            x.breaker_token = breaker.epoch
    x.upstream = upstream
    x.attempts += 1
    x.upstream_host = pool.endpoint.address
    x.upstream_started = 0.0
    x.upstream_status = 0
    return pool


def take(pool: Pool, x: Exchange) -> UpstreamConnection | None:
    """An idle connection; for a request that cannot be repeated, one that is not visibly closing."""
    if x.fresh:
        return None
    connection = pool.take()
    if x.method not in IDEMPOTENT:
        while connection is not None and has_something_to_read(connection.transport):
            connection.abort()
            connection = pool.take()
    return connection


def send(
    x: Exchange, route: Route, upstream: Upstream, connection: UpstreamConnection, at_hand: list[bytes] | None
) -> Arrival:
    """Write the request, or begin to; to be awaited until the head of the answer is there."""
    pool = connection.pool
    endpoint, found = pool.endpoint, cast(Found, x.found)
    x.sent = True
    x.upstream_started = now = pool.clock()
    target = endpoint.base + route.rewrite(x.path, found.params, found.rest)
    if x.query is not None:
        target = f"{target}?{x.query}"
    head = request_head(x, endpoint, target, route)
    head_arrived = connection.begin(x, now, route.response_seconds or upstream.response, upstream.idle)
    if at_hand is None:
        if may_process_twice(x, upstream.retry):
            x.body.keep()
        connection.write(head)
        connection.sender = pool.loop.create_task(send_body(x, connection))
    else:
        connection.request_sent = True
        if x.body is NO_BODY:
            connection.send(head)
        else:
            pieces = [*framed(at_hand), last_chunk(x.body, x.hidden)] if x.body.length is None else at_hand
            if x.body.received < _JOINED:
                connection.send(b"".join((head, *pieces)))
            else:
                connection.writelines([head, *pieces])
    return head_arrived


# ---- when it is over: the books, and the seconds to wait before the next one, or NO_MORE


def answered(x: Exchange, upstream: Upstream, connection: UpstreamConnection, at_hand: list[bytes] | None) -> float:
    """The head of the answer is there. NO_MORE: it is the one for the client."""
    pool, status = connection.pool, connection.status
    now = pool.clock()
    x.upstream_status = status
    x.upstream_ms = ms = (now - x.upstream_started) * 1000.0
    upstream.traffic.answered(ms)
    upstream.retry_budget.ended(now)
    pool.answered(status, ms)
    if upstream.breaker is not None:
        upstream.breaker.answered(x.breaker_token, now, status, ms)
    if status >= 400 and status in upstream.retry.statuses and may_process_twice(x, upstream.retry):
        pause = _pause(x, upstream, at_hand, now, retry_after=_retry_after(connection))
        if pause >= 0.0:
            return pause
    if connection.sender is not None:
        _settle_body(x, connection)
    return NO_MORE


def unanswered(
    x: Exchange,
    upstream: Upstream,
    pool: Pool | None,
    connection: UpstreamConnection | None,
    error: BaseException,
    at_hand: list[bytes] | None,
) -> float:
    """The attempt came to no answer; `pool` is None where it did not begin. NO_MORE: the error is the outcome."""
    if pool is None:
        return NO_MORE
    now = pool.clock()
    x.upstream_ms = (now - x.upstream_started) * 1000.0 if x.upstream_started else 0.0
    if connection is not None and _was_stale(x, connection, error, at_hand):
        if upstream.breaker is not None:
            upstream.breaker.left(x.breaker_token)
        upstream.traffic.repeated += 1
        x.fresh, x.sent = True, False
        return 0.0
    upstream.retry_budget.ended(now)
    others = isinstance(error, GatewayError) and error.retryable and _others(x, upstream, pool)
    pause = _pause(x, upstream, at_hand, now, at_once=x.tries == 0) if others else NO_MORE
    # While another endpoint is left to try, one that cannot be reached does not speak for the upstream.
    _blame(x, upstream, pool, error, now, endpoint_only=pause >= 0.0)
    if others or not isinstance(error, GatewayError) or not safe_after(error, x, upstream.retry):
        return pause
    return _pause(x, upstream, at_hand, now)


def _others(x: Exchange, upstream: Upstream, pool: Pool) -> bool:
    """Whether the next attempt would go to another endpoint: one that may be used, and was not tried."""
    balancer = upstream.balancer
    return x.tries + 1 < len(balancer.endpoints) and balancer.only is not pool


def _blame(
    x: Exchange, upstream: Upstream, pool: Pool, error: BaseException, now: float, *, endpoint_only: bool
) -> None:
    """Tell whoever counts failures whose this one was."""
    cause = error if isinstance(error, GatewayError) else x.cancelled_by
    if cause is not None and (cause is error or isinstance(cause, RequestTimeout)):
        upstream.traffic.failed(cause)
    # A client that was cut off, and a request that waited for most of its time, say nothing about the upstream.
    queued = not x.upstream_started and pool.open >= upstream.max_sockets
    if cause is not None and cause.by_endpoint and x.body.error is None and not queued and not _late(x, cause, now):
        pool.failed(cause)
        if upstream.breaker is not None and not endpoint_only:
            upstream.breaker.failed(x.breaker_token, now, cause.kind)
            return
    if upstream.breaker is not None:
        upstream.breaker.left(x.breaker_token)


def _late(x: Exchange, cause: GatewayError, now: float) -> bool:
    """Whether a request ran out of time, and had spent most of it before this attempt: in queues, or on another one.

    Otherwise a gateway that has too much to do would open the breakers of services that are well.
    """
    if not isinstance(cause, RequestTimeout):
        return False
    whole = now - x.started
    waited = waited_ms(x.shedding_waiter, x.bulkhead_waiter) / 1000.0
    return 2.0 * (now - x.upstream_started if x.upstream_started else whole - waited) < whole


def broke_off(x: Exchange, connection: UpstreamConnection, error: UpstreamError) -> None:
    """The answer ended before its body did, after `answered`."""
    upstream = x.upstream
    if upstream is None or not error.by_endpoint:
        return
    upstream.traffic.broke_off(error)
    connection.pool.failed(error)
    if upstream.breaker is not None:
        upstream.breaker.broke_off(x.breaker_token, connection.pool.clock(), f"{error.kind} within an answer")


def _was_stale(x: Exchange, connection: UpstreamConnection, error: BaseException, at_hand: list[bytes] | None) -> bool:
    """Whether a kept-alive connection was closed as the request came, and the request may simply go out again.

    No retry in the sense of the policy: the race is part of keeping connections alive (RFC 9112 9.3.1).
    """
    if x.fresh or not isinstance(error, ConnectionLost) or connection.used <= 1 or connection.heard:
        return False
    return x.method in IDEMPOTENT and at_hand is not None


def _pause(
    x: Exchange,
    upstream: Upstream,
    at_hand: list[bytes] | None,
    now: float,
    *,
    at_once: bool = False,
    retry_after: bytes | None = None,
) -> float:
    """The seconds to wait before a retry that is safe; NO_MORE where it is not worth it, or cannot be made."""
    policy, breaker, route = upstream.retry, upstream.breaker, x.route
    x.tries += 1
    if x.tries >= policy.attempts or route is None:
        return NO_MORE
    if at_hand is None and x.sent and not x.body.keeping:
        return NO_MORE  # the body went by
    if breaker is not None and breaker.state == OPEN:
        return NO_MORE
    seconds = 0.0 if at_once else backoff(policy, x.tries)
    left = x.started + route.request_seconds - x.connection.clock()
    if seconds >= left or asks_for_longer(retry_after, seconds):
        return NO_MORE
    if not upstream.retry_budget.withdraw(now):
        return NO_MORE
    upstream.traffic.repeated += 1
    return seconds


def _retry_after(connection: UpstreamConnection) -> bytes | None:
    for line in connection.head.lines:
        if line[: len(_RETRY_AFTER)].lower() == _RETRY_AFTER:
            return line[len(_RETRY_AFTER) :].strip(b" \t")
    return None


def _settle_body(x: Exchange, connection: UpstreamConnection) -> None:
    """The request will not be sent again: what was kept of its body goes, and so does a rest that nobody takes."""
    x.body.forget()
    sender = connection.sender
    if sender is not None and sender.done() and not connection.request_sent:
        x.body.discard()
