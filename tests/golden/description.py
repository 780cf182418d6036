"""A compiled configuration as plain data: everything the request path reads, in units and names of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dataplane.compile import Compiled
from dataplane.runtime import HeaderEdits, HealthCheck, Route, Upstream
from dataplane.upstream.retrying import RetryPolicy

Json = dict[str, Any]


def described(compiled: Compiled) -> Json:
    """All of a runtime but its revision and the time it was made."""
    runtime = compiled.runtime
    matches = {route.name: route.entry.match for route in runtime.router.routes()}
    return {
        "routes": {name: _route(route) | {"match": _match(matches[name])} for name, route in _sorted(runtime.routes)},
        "upstreams": {name: _upstream(upstream) for name, upstream in _sorted(runtime.upstreams)},
        "rateLimits": {
            name: [{"where": where, **asdict(rule), "key": key} for where, rule, key in keys]
            for name, keys in _sorted(compiled.limits)
        },
        "connection": {name: _finite(value) for name, value in asdict(runtime.limits).items()},
        "log": asdict(runtime.log) | {"redact": sorted(runtime.log.redact)},
        "trusted": [str(network) for network in runtime.trusted],
        "maxResponse": runtime.max_response,
        "drainSeconds": runtime.drain_seconds,
        "systemEndpoints": runtime.system_endpoints,
        "metricsEnabled": runtime.metrics_enabled,
        "headerConditions": runtime.header_conditions,
    }


def _route(route: Route) -> Json:
    return {
        "label": route.label,
        "upstream": route.upstream,
        "steps": list(route.steps),
        "upstreamPath": route.rewrite("/one/two/three", {"id": "ID", "name": "NAME"}, "two/three"),
        "host": _text(route.host_line),
        "requestSeconds": _finite(route.request_seconds),
        "responseSeconds": route.response_seconds,
        "maxBody": route.max_body,
        "requestEdits": _edits(route.request_edits),
        "responseEdits": _edits(route.response_edits),
        "deprecated": _text(route.deprecated),
        "redact": route.redact,
        "traffic": route.traffic.route,
    }


def _match(match: Any) -> Json:
    return asdict(match) | {"methods": sorted(match.methods)}


def _upstream(upstream: Upstream) -> Json:
    return {
        "endpoints": [
            {
                "pool": list(pool.key[:2]),
                "address": endpoint.address,
                "base": endpoint.base,
                "weight": endpoint.weight,
                "host": _text(endpoint.host_line),
                "ips": list(endpoint.ips),
                "tls": endpoint.tls is not None,
                "serverName": endpoint.server_name,
            }
            for pool, endpoint in upstream.balancer.endpoints.items()
        ],
        "balancing": asdict(upstream.balancer.rules),
        "turns": [pool.address for pool in upstream.balancer.rotation.turns],
        "guard": {
            "blocked": [str(network) for network in upstream.guard.blocked],
            "allowedHosts": list(upstream.guard.allowed_hosts),
        },
        "seconds": {
            name: getattr(upstream, name) for name in ("connect", "dns", "response", "idle", "request", "refresh")
        },
        "check": _check(upstream.check),
        "pool": {
            "maxSockets": upstream.max_sockets,
            "maxFreeSockets": upstream.max_free_sockets,
            "idleSeconds": upstream.keep_idle,
            "keepAlive": upstream.keep_alive,
        },
        "breaker": asdict(upstream.breaker_policy) if upstream.breaker_policy is not None else None,
        "retry": _retry(upstream.retry),
        "retryBudget": asdict(upstream.budget_policy),
        "fallback": upstream.fallback,
    }


def _retry(policy: RetryPolicy) -> Json:
    return {
        "attempts": policy.attempts,
        "methods": sorted(policy.methods),
        "statuses": sorted(policy.statuses),
        "seconds": {"first": policy.first, "longest": policy.longest},
        "multiplier": policy.multiplier,
        "jitter": policy.jitter,
    }


def _check(check: HealthCheck | None) -> Json | None:
    return None if check is None else asdict(check) | {"expected": sorted(check.expected)}


def _edits(edits: HeaderEdits | None) -> Json | None:
    if edits is None:
        return None
    return {"removed": sorted(map(_text, edits.removed)), "added": sorted(map(_text, edits.added))}


def _text(line: bytes | None) -> str:
    return line.decode("latin-1") if line is not None else ""


def _finite(value: float) -> float | None:
    """JSON has no infinity; no limit is null."""
    return None if value == float("inf") else value


def _sorted(mapping: Any) -> list[tuple[str, Any]]:
    return sorted(mapping.items())
