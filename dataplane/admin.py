"""The admin port: health, metrics, events, the configuration as it is served, and explain.

A table of pages behind a listener of its own, on the same HTTP engine as the traffic: whatever that refuses is refused
here, and the process carries one HTTP server (docs/decisions/0011). It listens on loopback unless told otherwise, reads
only, and shows no secrets. Its requests are neither counted nor logged, and nothing that sheds load concerns them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson

from dataplane import health, respond
from dataplane.admission import CorrelationIds
from dataplane.config_dump import config_dump
from dataplane.errors import BadRequest, BodyTooLarge, ClientGone, GatewayError, MethodNotAllowed, NoRoute
from dataplane.events import Events
from dataplane.exchange import Exchange
from dataplane.explaining import explained
from dataplane.http1.request_head import origin_form
from dataplane.listener import Listener
from dataplane.streaming import go_ahead, read
from dataplane.system import JSON, Answer, SystemEndpoint, system_endpoints
from shared import explanation, log
from shared.timestamp import timestamp

if TYPE_CHECKING:
    from dataplane.node import Node

_MOST_QUESTION_BYTES = 64 * 1024
_NO_STORE = b"Cache-Control: no-store"
_READING = frozenset({"GET", "HEAD"})
_ASKING = frozenset({"POST"})

Page = tuple[frozenset[str], Callable[[str, bytes], Answer | None]]
"""The methods it takes, and what answers a query string and a body; None: this configuration has it switched off."""


class Admin:
    """The admin listener of one worker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._listener = Listener(self.handle, node.deadlines, asyncio.get_running_loop())
        self._ids = CorrelationIds(b"req-" + os.urandom(6).hex().encode() + b"-")
        self._pages = _pages(node)

    async def open(self, host: str, port: int) -> None:
        """Listen; raises OSError where the address cannot be had."""
        await self._listener.open(host, port, shared=False, tls=None)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when closed."""
        return self._listener.port

    async def close(self) -> None:
        await self._listener.close()
        self._listener.abort_all()

    async def handle(self, x: Exchange) -> None:
        """Answer one request. Never raises."""
        x.begun = True
        x.runtime = self._node.compiled.runtime if self._node.compiled is not None else None
        x.correlation_id = x.correlation_id or self._ids.next()
        try:
            respond.send(x, *await self._answer(x), (_NO_STORE,))
        except GatewayError as error:
            error.headers = (*error.headers, _NO_STORE)
            respond.refuse(x, error)
        except asyncio.CancelledError:
            if x.cancelled_by is not None and x.task is not None:
                x.task.uncancel()
            respond.refuse(x, x.cancelled_by or ClientGone(detail="the gateway stopped"))
        except Exception as error:
            log.failure("admin.broken", correlationId=x.correlation_id.decode(), request=repr(x))
            respond.refuse(x, GatewayError(detail=repr(error)))
        finally:
            x.connection.finished(x, x.connection.clock())
            x.forget_errors()

    async def _answer(self, x: Exchange) -> Answer:
        if x.refusal is not None:
            raise x.refusal
        path, _, query = origin_form(x).decode("latin-1").partition("?")
        page = self._pages.get(path)
        if page is None:
            raise NoRoute(f"There is nothing at {path[:200]}; there are {', '.join(self._pages)}")
        methods, answer = page
        if x.method not in methods:
            raise MethodNotAllowed(headers=(b"Allow: " + ", ".join(sorted(methods)).encode(),))
        body = b"" if methods is _READING else await _whole(x)
        found = answer(query, body)
        if found is None:
            raise NoRoute(f"{path} is switched off in this configuration")
        return found


def _pages(node: Node) -> Mapping[str, Page]:
    """The table of what there is."""
    pages = {path: _page(endpoint) for path, endpoint in system_endpoints(node).items()}
    return pages | {
        "/health/deep": (_READING, lambda _query, _body: _json(health.deep(node))),
        "/events": (_READING, lambda query, _body: _json(told(node.live.events, _parameter(query, "name")))),
        "/config_dump": (_READING, lambda _query, _body: _json(config_dump(node))),
        "/explain": (_ASKING, lambda _query, body: _json(_explain(node, body))),
    }


def _page(endpoint: SystemEndpoint) -> Page:
    return _READING, lambda _query, _body: endpoint()


def _explain(node: Node, body: bytes) -> Mapping[str, Any]:
    try:
        return explanation.as_json(explained(node, explanation.read(orjson.loads(body))))
    except (JSONDecodeError, explanation.BadQuestion) as error:
        raise BadRequest(str(error)) from error


async def _whole(x: Exchange) -> bytes:
    """The request body; raises BodyTooLarge, also while it comes."""
    body = x.body
    if max(body.length or 0, body.received) > _MOST_QUESTION_BYTES:
        raise BodyTooLarge(f"A question may have at most {_MOST_QUESTION_BYTES} bytes")
    body.limit = _MOST_QUESTION_BYTES
    go_ahead(x)
    chunks: list[bytes] = []
    while came := await read(body):
        chunks += came
    return b"".join(chunks)


def _parameter(query: str, name: str) -> str | None:
    """A parameter of a query string; None where it is not given."""
    return parse_qs(query, keep_blank_values=True).get(name, [None])[0]


def told(events: Events, name: str | None = None) -> dict[str, Any]:
    """What is kept of them, newest first, and how often each was told in all."""
    kept = [event for event in reversed(events.recent) if name is None or event.name == name]
    shown = [
        {"number": event.number, "event": event.name, "timestamp": timestamp(event.at), "data": event.data}
        for event in kept
    ]
    return {"events": shown, "counts": events.counts}


def _json(document: Mapping[str, Any]) -> Answer:
    return 200, JSON, orjson.dumps(document, default=str)
