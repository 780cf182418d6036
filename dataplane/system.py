"""The system endpoints that both ports answer: a table from path to what makes the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from dataplane import health
from dataplane.exposition import exposition

if TYPE_CHECKING:
    from dataplane.node import Node

Answer = tuple[int, bytes, bytes]
"""(status, content type, body)"""

SystemEndpoint = Callable[[], Answer | None]
"""None: this configuration has it switched off, so the path is like any other."""
JSON = b"application/json"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


def system_endpoints(node: Node) -> dict[str, SystemEndpoint]:
    """What GET answers below these paths, on the admin port always, on the traffic port as configured."""

    def ready() -> Answer:
        status, document = health.ready(node)
        return status, JSON, orjson.dumps(document)

    def metrics() -> Answer | None:
        compiled = node.compiled
        if compiled is not None and not compiled.runtime.metrics_enabled:
            return None
        return 200, PROMETHEUS, exposition(node)

    def ok(document: Callable[[Node], health.Document]) -> SystemEndpoint:
        return lambda: (200, JSON, orjson.dumps(document(node)))

    return {
        "/version": ok(health.version),
        "/health": ok(health.live),
        "/health/live": ok(health.live),
        "/health/ready": ready,
        "/metrics": metrics,
    }
