"""POST /explain: for a sample request, which route takes it and why the others do not. Nothing is sent or counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataplane.paths import BadTarget, normalise
from dataplane.routing import Found
from dataplane.routing.explain import explain
from dataplane.upstream.breaker import STATES

if TYPE_CHECKING:
    from dataplane.node import Node
    from dataplane.runtime import Route, Runtime

_PORT = re.compile(r":[0-9]*\Z")  # an IPv6 address has colons too, and ends with its bracket
_FIELDS = {"method": "GET", "path": "/", "host": "", "headers": {}}


class BadQuestion(ValueError):
    """The sample request cannot be read; the text says what to change."""


def explained(node: Node, question: Any) -> dict[str, Any]:
    """The answer for {method, path (with query), host, headers {name: value}}; raises BadQuestion."""
    method, path, host, headers = _read(question)
    compiled = node.compiled
    if compiled is None:
        return {"revision": 0, "matched": False, "reason": "this node has no configuration yet", "routes": []}
    try:
        target = normalise(path.encode("utf-8"))
    except BadTarget as error:
        return {"revision": node.revision, "matched": False, "reason": f"400: {error.reason}", "routes": []}
    runtime = compiled.runtime
    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    found = runtime.router.match(target.path, host, method, fields, target.query)
    verdicts = explain(runtime.router, target.path, host, method, headers=fields, query=target.query)
    answer: dict[str, Any] = {"revision": node.revision, "normalisedPath": target.path}
    if isinstance(found, Found):
        answer |= {"matched": True, **_route(found.target, found, runtime, target.path)}
    else:
        answer |= {"matched": False, "status": 405 if found.allowed else 404, "allow": sorted(found.allowed)}
    answer["routes"] = [
        {"route": verdict.route, "matched": verdict.matched, "reason": verdict.reason} for verdict in verdicts
    ]
    return answer


def _read(question: Any) -> tuple[str, str, str, dict[str, str]]:
    if not isinstance(question, dict):
        raise BadQuestion('send an object such as {"method": "GET", "path": "/api/users/1", "host": "api.example.com"}')
    for name, value in question.items():
        if name not in _FIELDS:
            raise BadQuestion(f"unknown field {name!r}; there are {', '.join(_FIELDS)}")
        if not isinstance(value, type(_FIELDS[name])):
            raise BadQuestion(f"{name} must be {'an object' if name == 'headers' else 'a string'}")
    headers = question.get("headers", {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise BadQuestion("the values of headers must be strings")
    host = _PORT.sub("", question.get("host", "").lower()).removesuffix(".")
    return question.get("method", "GET").upper(), question.get("path", "/"), host, headers


def _route(route: Route, found: Found, runtime: Runtime, path: str) -> dict[str, Any]:
    upstream = runtime.upstreams[route.upstream]
    return {
        "route": route.name,
        "params": dict(found.params),
        "filters": list(route.steps),
        "upstream": route.upstream,
        "circuitBreaker": STATES[upstream.breaker.state] if upstream.breaker is not None else "off",
        "fallback": upstream.fallback or None,
        "endpoints": [endpoint.address for endpoint in upstream.balancer.endpoints.values()],
        "upstreamPath": route.rewrite(path, found.params, found.rest),
        "timeoutSeconds": route.request_seconds,
        "maxBodySize": route.max_body,
    }
