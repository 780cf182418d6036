"""What is decided about a request before any filter: its path, whether the gateway answers itself, its route, its body.

Stages of `gateway.handle`; each changes the exchange or raises a GatewayError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataplane import respond
from dataplane.errors import BadRequest, BodyTooLarge, MethodNotAllowed, NoRoute, NotConfigured
from dataplane.exchange import Exchange
from dataplane.headers import client_ip
from dataplane.http1.request_head import origin_form
from dataplane.metrics import Traffic
from dataplane.paths import BadTarget, Target, normalise
from dataplane.routing import Found
from dataplane.runtime import Route, Runtime

if TYPE_CHECKING:
    from dataplane.system import SystemEndpoint

ALLOW: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_NORMAL: Final[dict[bytes, Target]] = {}
_MOST_REMEMBERED: Final = 2048
_LONGEST_REMEMBERED: Final = 256
"""Targets come again: what was normalised lately is remembered, up to about a megabyte of it."""
_SYSTEM_METHODS: Final = frozenset({"GET", "HEAD"})


class CorrelationIds:
    """Makes ids for requests that bring none: unique among all processes by the prefix, within this one by a count."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._count = 0

    def next(self) -> bytes:
        """A new id."""
        self._count += 1
        return self._prefix + b"%d" % self._count


def begin(x: Exchange, runtime: Runtime | None, traffic: Traffic, ids: CorrelationIds) -> None:
    """Pin the configuration that serves the exchange, whatever comes in meanwhile, and count it in."""
    x.begun = True
    traffic.in_flight += 1
    x.runtime = runtime
    if not x.correlation_id:
        x.correlation_id = ids.next()


def admit(x: Exchange, runtime: Runtime | None, system: dict[str, SystemEndpoint]) -> Route | None:
    """The route that serves the request; None: it was for the gateway, and is answered. Raises a GatewayError."""
    if x.refusal is not None:
        raise x.refusal
    _read_target(x)
    if _answer_itself(x, runtime, system):
        return None
    if runtime is None:
        raise NotConfigured(retry_after=1)
    return _match(x, runtime)


def _read_target(x: Exchange) -> None:
    """Normalise the path once: what is matched is what is forwarded."""
    if x.method in _REFUSED_METHODS:
        x.close = True
        raise MethodNotAllowed(headers=(ALLOW,))
    raw = origin_form(x)
    target = _NORMAL.get(raw)
    if target is None:
        try:
            target = normalise(raw)
        except BadTarget as error:
            raise BadRequest(f"The request target is refused: {error}") from error
        if len(raw) <= _LONGEST_REMEMBERED:
            if len(_NORMAL) >= _MOST_REMEMBERED:
                _NORMAL.clear()
            _NORMAL[raw] = target
    x.path, x.query = target.path, target.query


def _answer_itself(x: Exchange, runtime: Runtime | None, system: dict[str, SystemEndpoint]) -> bool:
    """Whether the request was for the gateway, and is answered now."""
    if x.method == "OPTIONS" and (x.raw_target == b"*" or x.max_forwards == 0):
        # RFC 9110 9.3.7, 7.6.2: about the server as a whole, or meant to come no further.
        respond.send(x, 200, b"text/plain", b"", (ALLOW,))
        return True
    endpoint = system.get(x.path)
    if endpoint is None or x.method not in _SYSTEM_METHODS or (runtime is not None and not runtime.system_endpoints):
        return False
    answer = endpoint()
    if answer is None:
        return False
    status, content_type, body = answer
    respond.send(x, status, content_type, body)
    return True


def _match(x: Exchange, runtime: Runtime) -> Route:
    """The route that serves the request; raises NoRoute or MethodNotAllowed."""
    fields = [(field.name, value) for field, value in x.headers] if runtime.header_conditions else ()
    found = runtime.router.match(x.path, x.connection.host_name(x.host), x.method, fields, x.query)
    if not isinstance(found, Found):
        if found.allowed:
            allowed = found.allowed | {"HEAD"} if "GET" in found.allowed else found.allowed
            raise MethodNotAllowed(headers=(b"Allow: " + ", ".join(sorted(allowed)).encode(),))
        raise NoRoute
    route: Route = found.target
    x.found, x.route = found, route
    x.client_ip = client_ip(x, runtime.trusted)
    if route.request_seconds != runtime.limits.request:
        x.connection.allow(x, route.request_seconds)
    return route


def admit_body(x: Exchange, route: Route) -> None:
    """Refuse a body that is too large before it is sent anywhere; the connection watches the rest as it comes."""
    body = x.body
    if route.max_body and ((body.length or 0) > route.max_body or body.received > route.max_body):
        raise BodyTooLarge(f"The request body may have at most {route.max_body} bytes")
    if not body.complete:
        body.limit = route.max_body or None
