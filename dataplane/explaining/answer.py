"""The way of a sample request, told stage by stage as the gateway would take it: path, route, filters, upstream."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, cast

from dataplane.compile import context_of
from dataplane.explaining.filters import Sample, verdicts
from dataplane.paths import BadTarget, normalise
from dataplane.routing import Found
from dataplane.routing.explain import explain
from dataplane.upstream.breaker import OPEN, STATES
from shared.pb import resources_pb2 as pb
from shared.pb.explain_pb2 import BreakerState, EndpointState, Explanation, RouteVerdict, SampleRequest
from shared.table import unpack

if TYPE_CHECKING:
    from dataplane.node import Node
    from dataplane.runtime import Route, Upstream

_PORT: Final = re.compile(r":[0-9]*\Z")  # an IPv6 address has colons too, and ends with its bracket


def explained(node: Node, request: SampleRequest) -> Explanation:
    """What would become of the request now; never raises."""
    compiled = node.compiled
    if compiled is None:
        return Explanation(status=503, reason="this node has no configuration yet")
    runtime = compiled.runtime
    raw = f"{request.path or '/'}{'?' if request.query else ''}{request.query}"
    try:
        target = normalise(raw.encode())
    except BadTarget as error:
        return Explanation(revision=runtime.revision, status=400, reason=f"400: {error}")
    method, host = (request.method or "GET").upper(), _PORT.sub("", request.host.lower()).removesuffix(".")
    fields = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    found = runtime.router.match(target.path, host, method, fields, target.query)
    routes = [
        RouteVerdict(route=verdict.route, matched=verdict.matched, reason=verdict.reason)
        for verdict in explain(runtime.router, target.path, host, method, headers=fields, query=target.query)
    ]
    answer = Explanation(revision=runtime.revision, normalised_path=target.path, routes=routes)
    if not isinstance(found, Found):
        answer.status = 405 if found.allowed else 404
        answer.allow.extend(sorted(found.allowed))
        return answer
    route: Route = found.target
    message = cast(pb.Route, unpack(runtime.table["route", route.name]))
    context = context_of(runtime.table, compiled.settings, node.live)
    sample = Sample(node, message, context, target.path, target.query, fields, request.client_ip)
    answer.filters.extend(verdicts(route.steps, sample))
    answer.status = next((verdict.status for verdict in answer.filters if verdict.outcome == "refuses"), 0)
    _route(answer, route, found, target.path)
    _upstream(answer, runtime.upstreams[route.upstream], node)
    return answer


def _route(answer: Explanation, route: Route, found: Found, path: str) -> None:
    answer.matched, answer.route, answer.upstream = True, route.name, route.upstream
    answer.params.update(found.params)
    answer.upstream_path = route.rewrite(path, found.params, found.rest)
    answer.timeout_seconds = route.request_seconds if math.isfinite(route.request_seconds) else 0.0
    answer.max_body_size = route.max_body


def _upstream(answer: Explanation, upstream: Upstream, node: Node) -> None:
    answer.fallback = upstream.fallback
    breaker, now = upstream.breaker, node.live.clock()
    answer.circuit_breaker.CopyFrom(
        BreakerState(state="off")
        if breaker is None
        else BreakerState(
            state=STATES[breaker.state],
            failures=breaker.failures(now),
            retry_after_seconds=breaker.retry_after(now) if breaker.state == OPEN else 0,
        )
    )
    for pool, endpoint in upstream.balancer.endpoints.items():
        available = pool.health.available
        answer.endpoints.append(
            EndpointState(
                address=endpoint.address,
                available=available,
                reason="" if available else pool.health.reason,
                weight=endpoint.weight,
                in_flight=pool.open - len(pool.idle),
            )
        )
