"""One request and its answer, from the last byte of the request head to the line in the log.

Created by the connection that read the head, carried by `gateway.handle` through every stage, finished exactly once.
Stages write what they found; nothing here does I/O. Class attributes are the defaults, so that making one costs only
what the request sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from dataplane.continuation import ENTER_TASK, GO_ON, cancel
from dataplane.errors import GatewayError
from dataplane.http1.body import NO_BODY, Body
from dataplane.http1.fields import Headers

if TYPE_CHECKING:
    from dataplane.driver import Driver
    from dataplane.http1.downstream import DownstreamConnection
    from dataplane.overload.gate import Waiter
    from dataplane.overload.shedding import Shedding
    from dataplane.routing import Found
    from dataplane.runtime import Route, Runtime, Upstream
    from dataplane.upstream.bulkhead import Bulkhead


class Exchange:
    """The state of one request, grouped by who writes it."""

    # the connection that read it
    method: str = ""
    raw_target: bytes = b""
    http11: bool = True
    refusal: GatewayError | None = None  # found before `handle` began: it answers this
    driver: Driver | None = None  # until it ends, or is a task
    task: asyncio.Task[None] | None = None  # once it needs one
    cancelled_by: GatewayError | None = None

    # the request head, examined (http1/request_head.py)
    host: bytes = b""
    keep_alive: bool = True
    expect_continue: bool = False
    te_trailers: bool = False
    upgrade: bytes | None = None
    correlation_id: bytes = b""
    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    forwarded_host: bytes = b""
    forwarded: bytes = b""
    via: bytes = b""
    max_forwards: int | None = None

    # the gateway and the filters
    begun: bool = False
    runtime: Runtime | None = None
    route: Route | None = None
    path: str = ""
    query: str | None = None
    found: Found | None = None
    client_ip: str = ""
    consumer: str | None = None
    credential: str = ""
    scopes: frozenset[str] | None = None
    claims: Mapping[str, Any] | None = None  # of its token
    identity_lines: tuple[bytes, ...] = ()  # header lines that tell claims to the upstream
    hidden: frozenset[bytes] = frozenset()  # the names of the headers that must not reach the upstream
    limit_lines: bytes = b""  # header lines of the tightest limit
    shedding: Shedding | None = None  # where it has a place, or waits for one
    shedding_waiter: Waiter | None = None

    # forwarding
    upstream: Upstream | None = None  # of the last attempt
    fallback: str = ""  # the upstream that stood in for the route's own
    attempts: int = 0
    tries: int = 0  # those that failed at this upstream
    fresh: bool = False  # a kept-alive connection was closed under it: only a new one will do
    sent: bool = False  # some of the request went to an endpoint, and may have been processed
    continued: bool = False  # the client was told to send its body
    breaker_token: int = 0
    upstream_host: str = ""
    upstream_started: float = 0.0
    upstream_ms: float = 0.0
    upstream_status: int = 0

    bulkhead: Bulkhead | None = None  # the same, at an upstream
    bulkhead_waiter: Waiter | None = None

    # the answer
    status: int = 0
    error: GatewayError | None = None
    response_started: bool = False
    response_bytes: int = 0
    tunnel_bytes: int = 0  # from the client, after the switch
    close: bool = False  # the connection ends with this answer

    def __init__(self, connection: DownstreamConnection, started: float) -> None:
        self.connection = connection
        self.started = started
        self.body: Body = NO_BODY
        self.headers: Headers = []
        self.upstream_lines: list[bytes] = []

    def __repr__(self) -> str:
        route = self.route.name if self.route else "no route"
        return f"<Exchange {self.method} {self.raw_target!r} {route} {self.status or 'in flight'}>"

    def at_hand(self) -> list[bytes] | None:
        """The whole request body, where it is here already; it can then be sent again."""
        return self.body.take() if self.body.complete else None

    def cancel(self, error: GatewayError) -> None:
        """Stop the exchange from outside (client gone, deadline passed, body too large): `handle` answers `error`."""
        if self.cancelled_by is not None or self.refusal is not None:
            return
        if not self.begun:
            self.refusal = error
        elif self.task is not None:
            self.cancelled_by = error
            cancel(self.task)
        elif self.driver is not None:
            self.cancelled_by = error
            self.driver.cancel()

    def in_task(self) -> Awaitable[None]:
        """To be awaited before anything that only works in an asyncio.Task: from there on the exchange is one."""
        return ENTER_TASK if self.task is None else GO_ON

    def forget_errors(self) -> None:
        """When all is told: a traceback holds the frames that hold the exchange, a cycle left to the collector."""
        self.error = self.refusal = self.cancelled_by = self.body.error = None
