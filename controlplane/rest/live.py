"""REST of the live parts: health, version, metrics, status, events, and what all nodes served."""

from __future__ import annotations

import asyncio
import platform
import time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from controlplane import metrics
from controlplane.fault_text import fields_of
from controlplane.listing import history
from controlplane.plane import Plane
from controlplane.problem import Problem, json_response
from controlplane.rest.problems import known_parameters
from shared import API_VERSION, __version__
from shared.timestamp import timestamp

RANGES = ("", "start")


class LiveRest:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.live),
            web.get("/health/live", self.live),
            web.get("/health/ready", self.ready),
            web.get("/version", self.version),
            web.get("/metrics", self.metrics),
            web.get("/api/status", self.status),
            web.get("/api/events", self.events),
            web.get("/api/metrics", self.summary),
        ]

    async def live(self, _request: web.Request) -> web.Response:
        return json_response({"status": "UP", "timestamp": timestamp(time.time()), "version": __version__})

    async def ready(self, _request: web.Request) -> web.Response:
        """503 only where nodes can be given nothing; a file with faults and a database that is gone are DEGRADED: the
        last good revision is served on.
        """
        source = "DEGRADED" if self._plane.source.status.faults else "UP"
        given = self._plane.publisher.newest is not None or not self._plane.read_only  # or it can be written
        checks = {"config": source if given else "DOWN", "database": "DOWN" if self._plane.publisher.trouble else "UP"}
        whole = "DOWN" if not given else "UP" if set(checks.values()) == {"UP"} else "DEGRADED"
        body = {"status": whole, "checks": checks, "timestamp": timestamp(time.time())}
        return json_response(body, 503 if whole == "DOWN" else 200)

    async def version(self, _request: web.Request) -> web.Response:
        body = {
            "name": "flexgate-controlplane",
            "version": __version__,
            "apiVersion": API_VERSION,
            "configVersion": self._plane.publisher.revision,
            "python": platform.python_version(),
            "uptime": time.monotonic() - self._plane.started,
        }
        return json_response(body)

    async def metrics(self, _request: web.Request) -> web.Response:
        text = await asyncio.to_thread(metrics.render, metrics.scrape(self._plane))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(self, request: web.Request) -> web.Response:
        """Where the configuration comes from and stands, and how many nodes run it."""
        known_parameters(request)
        newest, source = self._plane.publisher.newest, self._plane.source.status
        body = {
            "revision": newest.revision if newest else 0,
            "storeEpoch": newest.epoch if newest else "",
            "digest": newest.digest.hex() if newest else "",
            "source": {
                "file": source.file,
                "state": "rejected" if source.faults else "in sync",
                "since": timestamp(source.since),
                "faults": [fields_of(fault) for fault in source.faults],
                "warnings": [fields_of(warning) for warning in source.warnings],
            },
            "nodes": self._plane.nodes.states(self._plane.publisher.revision_of),
            "driftDetected": self._plane.nodes.drifts,
            "version": __version__,
        }
        return json_response(body)

    async def events(self, request: web.Request) -> web.Response:
        """What happened on all nodes and here, newest first."""
        shown = history(self._plane.events, request.query)
        return json_response({"total": shown.total, "events": shown.items, "nextCursor": shown.cursor})

    async def summary(self, request: web.Request) -> web.Response:
        """What all nodes served since this control plane started."""
        known_parameters(request, "range")
        if request.query.get("range", "") not in RANGES:
            raise Problem(
                400, "there is no history yet: range can only be 'start', all since the control plane started"
            )
        traffic = self._plane.traffic
        total = traffic.summary()
        body = {
            "summary": {
                "totalRequests": total.requests,
                "avgLatency": total.average,
                "errorRate": total.error_rate,
                "availability": total.availability,
                "p50Latency": total.p50,
                "p95Latency": total.p95,
                "p99Latency": total.p99,
            },
            "requestRate": {
                "name": "requests",
                "data": [{"timestamp": timestamp(at), "value": value} for at, value in traffic.rate.points()],
                "unit": "requests/s",
            },
            "statusCodes": [{"code": code, "count": count} for code, count in traffic.status_codes().items()],
            "recordsLost": traffic.records_lost,
        }
        return json_response(body)
