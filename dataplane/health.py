"""Health and version, as operators and their probes see them. Pure: state in, document out."""

from __future__ import annotations

import platform
import resource
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataplane.config_source import Status
from dataplane.overload import telling as overload
from dataplane.tokens import telling as keys_of_tokens
from dataplane.upstream.breaker import CLOSED, STATES, Breaker
from dataplane.upstream.endpoint_health import FULL_STEP
from shared import API_VERSION, __version__

if TYPE_CHECKING:
    from dataplane.node import Node
    from dataplane.runtime import Upstream
    from dataplane.upstream.pool import Pool

Document = dict[str, Any]


def version(node: Node) -> Document:
    """GET /version."""
    return {
        "name": "flexgate-dataplane",
        "version": __version__,
        "apiVersion": API_VERSION,
        "configVersion": node.revision,
        "python": platform.python_version(),
        "uptime": round(time.monotonic() - node.started, 3),
    }


def live(node: Node) -> Document:
    """GET /health/live: the process turns its loop."""
    return {"status": "UP", "timestamp": _now(), "version": __version__}


def ready(node: Node) -> tuple[int, Document]:
    """GET /health/ready: (status, document). 503 only when it cannot serve: no configuration, or draining."""
    status = node.source_status
    checks = {
        "config": "UP" if node.compiled is not None else "DOWN",
        "upstreams": _upstreams_check(node),
        "redis": _redis(node),
        "controlPlane": _control_plane(status),
    }
    if sources := node.token_keys.sources.values():
        checks["keys"] = keys_of_tokens.check(sources)
    if node.draining or node.compiled is None:
        overall = "DOWN"
    else:
        overall = "DEGRADED" if {"DOWN", "DEGRADED"} & set(checks.values()) else "UP"
    document: Document = {"status": overall, "checks": checks, "timestamp": _now()}
    if node.draining:
        document["reason"] = "draining"
    elif node.compiled is None:
        document["reason"] = "no configuration yet"
    return (503 if overall == "DOWN" else 200), document


def _redis(node: Node) -> str:
    """The store of shared limits; down it only degrades, since `onStoreError` decides."""
    stores = node.live.stores.values()
    return "DISABLED" if not stores else "UP" if all(store.up for store in stores) else "DOWN"


def _control_plane(status: Status) -> str:
    if not status.control_plane:
        return "DISABLED"
    return "UP" if status.connected else "DOWN"


def _upstreams_check(node: Node) -> str:
    """DOWN: an upstream has no endpoint that is available, or no name that was ever found.

    DEGRADED: an endpoint is out, or a breaker is not closed.
    """
    found = "UP"
    for upstream in node.compiled.runtime.upstreams.values() if node.compiled is not None else ():
        out = [not pool.health.available for pool in upstream.balancer.endpoints]
        if all(out) if out else any(name.error for name in upstream.names):
            return "DOWN"
        if any(out) or _failing(upstream):
            found = "DEGRADED"
    return found


def _upstreams(node: Node) -> Document:
    """Every upstream by name: how it balances, and how each of its endpoints fares."""
    if node.compiled is None:
        return {}
    upstreams = node.compiled.runtime.upstreams
    return {
        name: {
            "policy": upstream.balancer.rules.policy,
            "panic": upstream.balancer.panic,
            "endpoints": [
                _endpoint(node, pool, endpoint.weight) for pool, endpoint in upstream.balancer.endpoints.items()
            ],
        }
        for name, upstream in upstreams.items()
    }


def _endpoint(node: Node, pool: Pool, weight: int) -> Document:
    health = pool.health
    document: Document = {
        "url": pool.address,
        "available": health.available,
        "weight": weight,
        "inFlight": pool.open - len(pool.idle),
        "waiting": len(pool.waiters),
        "failures": health.failures,
        "ejections": health.ejections,
    }
    if not health.available:
        document["reason"] = health.reason
    if health.ejected:
        document["ejectedUntil"] = _time(time.time() + health.ejected_until - node.live.clock())
    if health.step < FULL_STEP:
        document["warmUpPercent"] = health.step * 100 // FULL_STEP
    if pool.latency is not None and pool.latency.known:
        document["ewmaMs"] = round(pool.latency.faded(node.live.clock()), 3)
    return document


def deep(node: Node) -> Document:
    """GET /health/deep: everything that helps in the night."""
    status = node.source_status
    pools: Document = {}
    for pool in node.live.pools.values():
        name = pool.key[0]
        pools.setdefault(name, {})[pool.address] = {"open": pool.open, "idle": len(pool.idle)}
    return {
        "status": ready(node)[1]["status"],
        "timestamp": _now(),
        "uptime": round(time.monotonic() - node.started, 3),
        "circuitBreakers": {
            upstream.name: _breaker(upstream.breaker, node) for upstream in node.upstreams if upstream.breaker
        },
        "upstreams": _upstreams(node),
        "pools": pools,
        "names": _names(node),
        "healthChecks": _checks(node),
        "connections": {
            "open": len(node.listener.connections),
            "tunnels": len(node.listener.tunnels),
            "refused": node.listener.refused,
            "inFlight": node.traffic.in_flight,
        },
        "rateLimits": {
            "rules": len(node.live.limits),
            "buckets": sum(map(len, node.live.limits.values())),
            "store": [store.described() for store in node.live.stores.values()],
        },
        "overload": overload.document(node.live),
        "keys": keys_of_tokens.described(node.token_keys.sources.values()),
        "memory": {"rssPeakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
        "eventLoopLagMs": round(node.deadlines.lag * 1000, 3),
        "config": {
            "revision": node.revision,
            "source": status.source,
            "digest": status.digest,
            "ageSeconds": status.age_seconds,
            "connected": status.connected,
            "controlPlane": status.control_plane,
            "lastError": status.last_error,
            "fallback": status.fallback,
            "driftDetected": status.drift_detected,
            "applyFailures": status.apply_failures,
            "saveFailures": status.save_failures,
            "liveNodes": node.live.nodes,
        },
    }


def _names(node: Node) -> Document:
    """By upstream and host: what it resolves to, since when, and what went wrong last."""
    names: Document = {}
    for name in node.live.names.values():
        names.setdefault(name.upstream, {})[name.host] = {
            "addresses": list(name.addresses),
            "resolvedAt": _time(name.resolved_at) if name.resolved_at else None,
            "ttlSeconds": name.ttl,
            "failures": name.failures,
            "error": name.error or None,
        }
    return names


def _failing(upstream: Upstream) -> bool:
    return upstream.breaker is not None and upstream.breaker.state != CLOSED


def _breaker(breaker: Breaker, node: Node) -> Document:
    """`failures` and `successes` are those of the window; while half-open, of the probes."""
    live = node.live
    failed = breaker.last_failure
    return {
        "state": STATES[breaker.state],
        "failures": breaker.failures(live.clock()),
        "successes": breaker.successes(live.clock()),
        "lastFailureTime": _time(live.wall() - live.clock() + failed) if failed else None,
    }


def _checks(node: Node) -> Document:
    """By upstream and endpoint: what the last probe found, and what all of them say."""
    checks: Document = {}
    for pool, verdict in node.probing.verdicts.items():
        checks.setdefault(pool.key[0], {})[pool.address] = {
            "up": not verdict.down,
            "at": _time(verdict.at) if verdict.at else None,
            "ms": round(verdict.ms, 1),
            "status": verdict.status,
            "error": verdict.error or None,
            "successes": verdict.successes,
            "failures": verdict.failures,
        }
    return checks


def _now() -> str:
    return _time(time.time())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
