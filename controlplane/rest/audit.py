"""REST of the audit log: searched, paged, exported and verified."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from controlplane.listing import cursor_at, limit_of, position_in, time_of
from controlplane.problem import Problem, json_response
from controlplane.rest.problems import known_parameters
from controlplane.store.audit import Audit, Entry, Search
from shared.timestamp import timestamp

COLUMNS = {"actor": "actor", "action": "action", "target": "target", "address": "address"} | {
    "correlationId": "correlation_id"
}
"""Filters, and the columns that they compare."""
FILTERS = (*COLUMNS, "since", "until", "search")
PAGE_SIZE = 100
MOST_PAGES = 100_000


class AuditRest:
    """The handlers."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/audit", self.page),
            web.get("/api/audit/export", self.export),
            web.get("/api/audit/verify", self.verify),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """{logs, total, page, pageSize, nextCursor}, newest first."""
        known_parameters(request, *FILTERS, "page", "pageSize", "cursor")
        search, query = _search(request), request.query
        size = limit_of(query.get("pageSize", str(PAGE_SIZE)))
        if "cursor" in query and "page" in query:
            raise Problem(400, "page and cursor are two ways to continue; give one of them")
        number, before = _page(query.get("page", "1")), position_in(query.get("cursor", ""))
        skip = (number - 1) * size
        found = await self._audit.page(search, before=before or None, skip=skip, limit=size + 1)
        body = {
            "logs": [_view(entry) for entry in found[:size]],
            "total": await self._audit.count(search),
            "page": number,
            "pageSize": size,
            "nextCursor": cursor_at(found[size - 1].number) if len(found) > size else "",
        }
        return json_response(body)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Every row that is found as a line of JSON, oldest first, as they are hashed."""
        known_parameters(request, *FILTERS)
        search = _search(request)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for line in self._audit.lines(search):
            await response.write(line)
        await response.write_eof()
        return response

    async def verify(self, request: web.Request) -> web.Response:
        """Whether the chain is whole: {valid, first, anchor, rows, hash, broken, reason}."""
        known_parameters(request)
        verified = await self._audit.verify()
        return json_response({"valid": verified.broken is None, **asdict(verified)})


def _search(request: web.Request) -> Search:
    query = request.query
    equal = {column: query[name] for name, column in COLUMNS.items() if name in query}
    since, until = (int(time_of(query[name], name) * 1000) if name in query else None for name in ("since", "until"))
    return Search(equal, since, until, query.get("search", ""))


def _page(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PAGES:
        return int(text[:9])
    raise Problem(400, f"page must be a number from 1 to {MOST_PAGES}")


def _view(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "timestamp": timestamp(entry.at / 1000),
        "actor": entry.actor,
        "role": entry.role,
        "address": entry.address,
        "correlationId": entry.correlation_id,
        "action": entry.action,
        "target": entry.target,
        "revision": entry.revision,
        "detail": entry.detail,
        "hash": entry.hash,
    }
