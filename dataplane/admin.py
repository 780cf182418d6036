"""The admin port: health, metrics, events, the configuration as it is served, and explain.

Not the hot path: aiohttp's web. It answers on loopback unless told otherwise, reads only, and shows no secrets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from dataplane import health
from dataplane.config_dump import config_dump
from dataplane.events import Events
from dataplane.explaining import explained
from dataplane.system import SystemEndpoint, system_endpoints
from shared import API_VERSION
from shared.explanation import BadQuestion, as_json, read
from shared.timestamp import timestamp

if TYPE_CHECKING:
    from dataplane.node import Node

_MOST_QUESTION_BYTES = 64 * 1024


class Admin:
    """The admin listener of one worker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen; raises OSError where the address cannot be had."""
        app = web.Application(middlewares=[_errors], client_max_size=_MOST_QUESTION_BYTES)
        for path, endpoint in system_endpoints(self._node).items():
            app.router.add_get(path, _handler(endpoint))
        app.router.add_get("/health/deep", self._deep)
        app.router.add_get("/events", self._events)
        app.router.add_get("/config_dump", self._config_dump)
        app.router.add_post("/explain", self._explain)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when closed."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else 0

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _deep(self, request: web.Request) -> web.Response:
        return _json(health.deep(self._node))

    async def _config_dump(self, request: web.Request) -> web.Response:
        return _json(config_dump(self._node))

    async def _events(self, request: web.Request) -> web.Response:
        """The newest first; `?name=` for one kind only."""
        return _json(told(self._node.live.events, request.query.get("name")))

    async def _explain(self, request: web.Request) -> web.Response:
        try:
            question = read(orjson.loads(await request.read()))
            return _json(as_json(explained(self._node, question)))
        except (JSONDecodeError, BadQuestion) as error:
            return _json({"error": "Bad Request", "message": str(error)}, status=400)


def _handler(endpoint: SystemEndpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        found = endpoint()
        if found is None:
            raise web.HTTPNotFound
        status, content_type, body = found
        return web.Response(status=status, body=body, headers={"Content-Type": content_type.decode()})

    return answer


def told(events: Events, name: str | None = None) -> dict[str, Any]:
    """What is kept of them, newest first, and how often each was told in all."""
    kept = [event for event in reversed(events.recent) if name is None or event.name == name]
    shown = [
        {"number": event.number, "event": event.name, "timestamp": timestamp(event.at), "data": event.data}
        for event in kept
    ]
    return {"events": shown, "counts": events.counts}


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document, default=str), content_type="application/json")


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.StreamResponse:
    """Errors in the shape of every other answer; the gateway's lines on all of them."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        response = _json({"error": error.reason, "message": message}, status=error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    response.headers["X-API-Version"] = API_VERSION
    response.headers["Cache-Control"] = "no-store"
    return response
