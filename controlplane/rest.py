"""REST, thin over the live parts: health, nodes, events, metrics, and the configuration to read and to validate."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from prometheus_client import CONTENT_TYPE_LATEST

from controlplane import metrics, view
from controlplane.auth.gate import gate
from controlplane.auth.rest_access import AccessRest
from controlplane.auth.rest_login import LoginRest
from controlplane.explaining import NobodyAnsweredError, explain
from controlplane.fault_text import fields_of
from controlplane.listing import history, page
from controlplane.plane import Plane
from controlplane.problem import Problem, answering, json_response
from controlplane.store import Committed
from controlplane.trust.rest import NodeTrust
from shared import API_VERSION, __version__
from shared.document import export
from shared.explanation import BadQuestion, as_json, read
from shared.pb.admin_pb2 import ExplainResponse
from shared.pb.resources_pb2 import Config
from shared.redact import redacted
from shared.table import Table
from shared.timestamp import timestamp

DOCUMENT_BYTES = 32 * 1024 * 1024
"""The largest document that is validated; 10 000 routes take about 2 MiB."""

LISTS: dict[str, tuple[Callable[[Config], Iterable[view.Json]], tuple[str, ...]]] = {
    "routes": (view.routes, ("id", "name", "path", "upstream", "upstreamName", "methods", "hosts", "enabled")),
    "upstreams": (view.upstreams, ("id", "name", "url")),
}
"""Each list, and the fields that it can be filtered by."""
WRITABLE_LATER = "routes|upstreams|consumers|keys|settings"
NOTHING = Committed("", 0, Table())
"""What a database holds before the first write."""
RANGES = ("", "start")


def application(plane: Plane) -> web.Application:
    """The API as an aiohttp application."""
    rest = Rest(plane)
    layers = [answering(lambda: plane.publisher.revision), gate(plane.auth)]
    app = web.Application(middlewares=layers, client_max_size=DOCUMENT_BYTES)
    app.add_routes(
        [
            *LoginRest(plane.auth).routes(),
            *AccessRest(plane.auth).routes(),
            web.get("/health", rest.live),
            web.get("/health/live", rest.live),
            web.get("/health/ready", rest.ready),
            web.get("/version", rest.version),
            web.get("/metrics", rest.metrics),
            web.get("/api/status", rest.status),
            web.get("/api/nodes", rest.nodes),
            web.get("/api/events", rest.events),
            web.get("/api/metrics", rest.summary),
            web.get("/api/config", rest.config),
            web.get("/api/config/export", rest.export),
            web.post("/api/config/validate", rest.validate),
            web.post("/api/explain", rest.explain),
            *NodeTrust(plane.register).routes(),
            web.get("/api/{kind:routes|upstreams}", rest.many),
            web.get("/api/{kind:routes|upstreams}/{id}", rest.one),
            web.route("*", f"/api/{{kind:{WRITABLE_LATER}}}", rest.refuse_write),
            web.route("*", f"/api/{{kind:{WRITABLE_LATER}}}/{{id}}", rest.refuse_write),
            web.post("/api/config/apply", rest.refuse_write),
        ]
    )
    return app


class Rest:
    """The handlers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._views: tuple[Committed, dict[str, list[view.Json]]] | None = None

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
        _refuse_parameters(request)
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
            "nodes": self._plane.nodes.states(self._plane.publisher.revision),
            "driftDetected": self._plane.nodes.drifts,
            "version": __version__,
        }
        return json_response(body)

    async def nodes(self, request: web.Request) -> web.Response:
        """Who runs which revision, and why not."""
        desired = self._plane.publisher.revision
        shown = page(
            [_node(node) for node in self._plane.nodes.view(desired)], request.query, ("id", "state", "version")
        )
        body = {"desiredRevision": desired, "total": shown.total, "nodes": shown.items, "nextCursor": shown.cursor}
        return json_response(body)

    async def events(self, request: web.Request) -> web.Response:
        """What happened on all nodes and here, newest first."""
        shown = history(self._plane.events, request.query)
        return json_response({"total": shown.total, "events": shown.items, "nextCursor": shown.cursor})

    async def summary(self, request: web.Request) -> web.Response:
        """What all nodes served since this control plane started."""
        _refuse_parameters(request, "range")
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

    async def config(self, request: web.Request) -> web.Response:
        """The running configuration and its revision; secrets are redacted."""
        _refuse_parameters(request)
        committed = self._committed()
        document = await asyncio.to_thread(lambda: export(redacted(committed.config)))
        identity = {
            "revision": committed.revision,
            "storeEpoch": committed.epoch,
            "digest": committed.table.digest.hex(),
        }
        return json_response({**identity, "config": document})

    async def export(self, request: web.Request) -> web.Response:
        """The document alone."""
        _refuse_parameters(request)
        committed = self._committed()
        return json_response(await asyncio.to_thread(lambda: export(redacted(committed.config))))

    async def validate(self, request: web.Request) -> web.Response:
        """All that is wrong with the YAML document in the body; nothing is changed."""
        _refuse_parameters(request)
        try:
            text = (await request.read()).decode()
        except UnicodeDecodeError as error:
            raise Problem(400, f"the document is not UTF-8: {error.reason} at byte {error.start}") from error
        verdict = await self._plane.service.validate(text)
        body = {
            "valid": not verdict.faults,
            "errors": [fields_of(fault) for fault in verdict.faults],
            "warnings": [fields_of(warning) for warning in verdict.warnings],
        }
        return json_response(body)

    async def explain(self, request: web.Request) -> web.Response:
        """What the nodes would do with a sample request; 503 where no node can say."""
        _refuse_parameters(request)
        try:
            sample = read(orjson.loads(await request.read()))
            answer = await explain(self._plane.asking, self._plane.nodes.connected(), sample)
        except (orjson.JSONDecodeError, BadQuestion) as error:
            raise Problem(400, str(error)) from error
        except NobodyAnsweredError as error:
            raise Problem(503, str(error), Retry_After="1") from error
        return json_response({"node": answer.node, **as_json(answer.explanation), **_others(answer)})

    async def many(self, request: web.Request) -> web.Response:
        """The resources of a kind that match the filters."""
        kind = request.match_info["kind"]
        shown = page(await self._resources(kind), request.query, LISTS[kind][1])
        headers = {"X-Total-Count": str(shown.total)} | ({"X-Next-Cursor": shown.cursor} if shown.cursor else {})
        return json_response(shown.items, headers=headers)

    async def one(self, request: web.Request) -> web.Response:
        """One resource by id or name."""
        _refuse_parameters(request)
        kind, wanted = request.match_info["kind"], request.match_info["id"]
        resources = await self._resources(kind)
        found = [item for item in resources if item["name"] == wanted] or [
            item for item in resources if str(item["id"]) == wanted
        ]
        if not found:
            raise Problem(404, f"there is no {kind.removesuffix('s')} {wanted!r}")
        return json_response(found[0])

    async def refuse_write(self, request: web.Request) -> web.Response:
        """Every write to a resource: the file is the truth here."""
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            raise Problem(404, f"{request.path} cannot be read; GET /api/config has the whole configuration")
        raise Problem(409, self._plane.read_only) if self._plane.read_only else Problem(501, "not served yet")

    async def _resources(self, kind: str) -> list[view.Json]:
        """The views of a kind, made once for each revision, off the event loop."""
        committed = self._committed()
        if self._views is None or self._views[0] is not committed:
            self._views = (committed, {})
        views = self._views[1]
        if kind not in views:
            views[kind] = await asyncio.to_thread(lambda: list(LISTS[kind][0](redacted(committed.config))))
        return views[kind]

    def _committed(self) -> Committed:
        return self._plane.service.committed or NOTHING


def _others(answer: ExplainResponse) -> view.Json:
    """What differs from node to node."""
    more = {"moreNodes": answer.more_nodes} if answer.more_nodes else {}
    return {"nodes": [as_json(node) for node in answer.nodes], **more}


def _node(node: Any) -> view.Json:
    """A node as JSON; unlike the mapping's default, numbers stay numbers and nothing is left out."""
    fields = MessageToDict(node, always_print_fields_with_no_presence=True)
    return fields | {
        name: int(fields[name])
        for name in ("desiredRevision", "sentRevision", "ackedRevision", "nackedRevision", "bytesSent", "superseded")
    }


def _refuse_parameters(request: web.Request, *known: str) -> None:
    unknown = sorted(set(request.query) - set(known))
    if unknown:
        raise Problem(400, f"unknown query parameter {', '.join(unknown)}")
