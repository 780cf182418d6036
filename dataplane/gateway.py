"""The way of one request, from its head to its line in the log: read `handle` top to bottom.

It is a hub: every stage returns here, none calls the next. Whatever goes wrong is a GatewayError, answered in one
place; whatever happens, the exchange is finished exactly once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from random import random
from typing import TYPE_CHECKING

from dataplane import log, respond
from dataplane.access_log import LogWriter, line_of, wanted
from dataplane.errors import (
    BadRequest,
    BodyTooLarge,
    ClientGone,
    GatewayError,
    MethodNotAllowed,
    NoRoute,
    NotConfigured,
)
from dataplane.exchange import Exchange
from dataplane.forward import forward
from dataplane.headers import client_ip
from dataplane.http1.request_head import origin_form
from dataplane.metrics import Traffic
from dataplane.paths import BadTarget, normalise
from dataplane.routing import Found
from dataplane.runtime import LogPolicy, Route, Runtime
from dataplane.upgrade import tunnel

if TYPE_CHECKING:
    from dataplane.system import SystemEndpoint

_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
_DEFAULT_LOG = LogPolicy()
ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Gateway:
    """One worker's request path. `runtime` is swapped by one assignment; the rest lives as long as the process."""

    def __init__(
        self,
        traffic: Traffic,
        writer: LogWriter,
        clock: Callable[[], float],
        system: Mapping[str, SystemEndpoint],
    ) -> None:
        self.runtime: Runtime | None = None
        self.traffic = traffic
        self.writer = writer
        self.clock = clock
        self.system = system
        self._ids = itertools.count(1)
        self._id_prefix = b"req-" + os.urandom(6).hex().encode() + b"-"

    async def handle(self, x: Exchange) -> None:
        """Serve one exchange. Never raises; ends with the answer sent, or the connection closed."""
        x.begun = True
        self.traffic.in_flight += 1
        try:
            runtime = x.runtime = self.runtime
            if not x.correlation_id:
                x.correlation_id = b"%b%x" % (self._id_prefix, next(self._ids))
            if x.refusal is not None:
                raise x.refusal
            self._read_target(x)
            if self._answer_itself(x, runtime):
                return
            if runtime is None:
                raise NotConfigured(retry_after=1)
            route = self._match(x, runtime)
            for step in route.filters:
                pending = step(x)
                if pending is not None:
                    await pending
            self._admit_body(x, route)
            upstream = runtime.upstreams[route.upstream]
            answer = await forward(x, route, upstream, upstream.traffic)
            try:
                rest = respond.relay_head(x, answer, runtime.max_response)
                if rest is not None:
                    await respond.relay_body(x, answer, rest, runtime.max_response)
                if x.status == 101:
                    await tunnel(x, answer, upstream.idle)
            finally:
                if answer.sender is not None:
                    await answer.stop_sending()
                answer.release()
        except GatewayError as error:
            respond.refuse(x, error)
        except asyncio.CancelledError:
            self._cancelled(x)
        except Exception as error:
            log.failure("request.broken", correlationId=x.correlation_id.decode(), request=repr(x))
            respond.refuse(x, GatewayError(detail=repr(error)))
        finally:
            self._finish(x)

    # ---- the stages that are the gateway's own

    def _read_target(self, x: Exchange) -> None:
        """Normalise the path once: what is matched is what is forwarded."""
        if x.method in _REFUSED_METHODS:
            x.close = True
            raise MethodNotAllowed(headers=(ALLOW,))
        try:
            target = normalise(origin_form(x))
        except BadTarget as error:
            raise BadRequest(f"The request target is refused: {error}") from error
        x.path, x.query = target.path, target.query

    def _answer_itself(self, x: Exchange, runtime: Runtime | None) -> bool:
        if x.method == "OPTIONS" and (x.raw_target == b"*" or x.max_forwards == 0):
            # RFC 9110 9.3.7, 7.6.2: about the server as a whole, or meant to come no further.
            respond.send(x, 200, b"text/plain", b"", (ALLOW,))
            return True
        endpoint = self.system.get(x.path)
        if (
            endpoint is None
            or x.method not in {"GET", "HEAD"}
            or (runtime is not None and not runtime.system_endpoints)
        ):
            return False
        answer = endpoint()
        if answer is None:
            return False
        respond.send(x, *answer)
        return True

    def _match(self, x: Exchange, runtime: Runtime) -> Route:
        fields = [(field.name, value) for field, value in x.headers] if runtime.header_conditions else ()
        found = runtime.router.match(x.path, x.connection.host_name(x.host), x.method, fields, x.query)
        if not isinstance(found, Found):
            if found.allowed:
                raise MethodNotAllowed(headers=(b"Allow: " + ", ".join(sorted(found.allowed)).encode(),))
            raise NoRoute
        route: Route = found.target
        x.found, x.route = found, route
        x.client_ip = client_ip(x, runtime.trusted)
        if route.request_seconds != runtime.limits.request:
            x.connection.allow(x, route.request_seconds)
        return route

    def _admit_body(self, x: Exchange, route: Route) -> None:
        """Refuse a body that is too large before it is sent anywhere; the connection watches the rest as it comes."""
        body = x.body
        if route.max_body and ((body.length or 0) > route.max_body or body.received > route.max_body):
            raise BodyTooLarge(f"The request body may have at most {route.max_body} bytes")
        if not body.complete:
            body.limit = route.max_body or None

    # ---- the end

    def _cancelled(self, x: Exchange) -> None:
        """Someone stopped the exchange with a reason (client gone, deadline, limit), or the process ends."""
        task = asyncio.current_task()
        if x.cancelled_by is not None and task is not None:
            task.uncancel()
        respond.refuse(x, x.cancelled_by or ClientGone(detail="the gateway stopped"))

    def _finish(self, x: Exchange) -> None:
        self.traffic.in_flight -= 1
        ms = (self.clock() - x.started) * 1000.0
        route, runtime = x.route, x.runtime
        traffic = route.traffic if route is not None else self.traffic.unmatched
        traffic.record(x.method, x.status, ms, x.body.received + x.tunnel_bytes, x.response_bytes)
        policy = runtime.log if runtime is not None else _DEFAULT_LOG
        if wanted(policy, x.status, ms, random):
            self.writer.put(line_of(x, policy, ms, runtime.revision if runtime is not None else 0))
        x.connection.finished(x)
