"""Health and version, as operators and their probes see them. Pure: state in, document out."""

from __future__ import annotations

import platform
import resource
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataplane.config_source import Status
from shared import API_VERSION, __version__

if TYPE_CHECKING:
    from dataplane.node import Node

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
        "upstreams": "UP",
        "redis": "DISABLED",
        "controlPlane": _control_plane(status),
    }
    if node.draining or node.compiled is None:
        overall = "DOWN"
    else:
        overall = "UP" if "DOWN" not in checks.values() else "DEGRADED"
    document: Document = {"status": overall, "checks": checks, "timestamp": _now()}
    if node.draining:
        document["reason"] = "draining"
    elif node.compiled is None:
        document["reason"] = "no configuration yet"
    return (503 if overall == "DOWN" else 200), document


def _control_plane(status: Status) -> str:
    if not status.control_plane:
        return "DISABLED"
    return "UP" if status.connected else "DOWN"


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
        "circuitBreakers": {},
        "upstreams": {name: {"endpoints": list(found)} for name, found in pools.items()},
        "pools": pools,
        "names": _names(node),
        "connections": {
            "open": len(node.listener.connections),
            "tunnels": len(node.listener.tunnels),
            "refused": node.listener.refused,
            "inFlight": node.traffic.in_flight,
        },
        "rateLimits": {"rules": len(node.live.limits), "buckets": sum(map(len, node.live.limits.values()))},
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


def _now() -> str:
    return _time(time.time())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
