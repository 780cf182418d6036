"""REST of the revisions: listed, shown, compared and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from controlplane.changes import Changed, Once
from controlplane.listing import cursor_at, limit_of, position_in
from controlplane.plan import Plan, steps_of
from controlplane.plane import Plane
from controlplane.problem import Problem, json_response
from controlplane.refusal import ReadOnly
from controlplane.rest.manner import manner
from controlplane.rest.problems import known_parameters
from controlplane.rest.writing import Writing, step_view, summary
from controlplane.service import Outcome
from controlplane.store.history import History, Revision, Wanted
from shared.timestamp import timestamp

Json = dict[str, Any]


class RevisionsRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing) -> None:
        self._plane = plane
        self._writing = writing
        self._all = History(plane.database)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/revisions", self.many),
            web.get("/api/revisions/{id}", self.one),
            web.get("/api/revisions/{id}/diff", self.diff),
            web.post("/api/revisions/{id}/rollback", self.rollback),
        ]

    async def many(self, request: web.Request) -> web.Response:
        """{total, revisions[], nextCursor}, newest first."""
        known_parameters(request, "actor", "action", "kind", "name", "limit", "cursor")
        query = request.query
        if ("kind" in query) != ("name" in query):
            raise Problem(400, "kind and name go together: they name a resource")
        key = (query["kind"], query["name"]) if "kind" in query else None
        wanted = Wanted(query.get("actor", ""), query.get("action", ""), key)
        limit, before = limit_of(query.get("limit", "")), position_in(query.get("cursor", ""))
        found = await self._history.page(wanted, before=before or None, limit=limit + 1)
        more = cursor_at(found[limit - 1].revision) if len(found) > limit else ""
        body = {
            "total": await self._history.count(wanted),
            "revisions": [_view(revision) for revision in found[:limit]],
            "nextCursor": more,
        }
        return json_response(body)

    async def one(self, request: web.Request) -> web.Response:
        """A revision and what it changed."""
        known_parameters(request)
        number = _number(request.match_info["id"])
        revision = await self._history.get(number)
        return json_response(_view(revision) | {"changes": _steps(await self._history.changes(number))})

    async def diff(self, request: web.Request) -> web.Response:
        """What makes this revision of another (`from`; the one before it): {from, to, changes[]}."""
        known_parameters(request, "from")
        number = _number(request.match_info["id"])
        if "from" in request.query:
            base = _number(request.query["from"])
            changes = await self._history.between(base, number)
        else:
            # By its own changes: also of the oldest that is kept, before which there is none.
            base, changes = max(0, number - 1), await self._history.changes(number)
        return json_response({"from": base, "to": number, "changes": _steps(changes)})

    async def rollback(self, request: web.Request) -> web.Response:
        """The configuration is what it was at this revision, as a new one."""
        how = await manner(request)
        self._writing.allowed()
        number, service = _number(request.match_info["id"]), self._plane.service

        async def commit(once: Once | None) -> Outcome:
            return await service.rollback(
                number, how.actor, message=how.message, force=how.force, once=once, if_match=how.if_match
            )

        async def plan() -> Plan:
            return await service.plan_rollback(number, how.if_match)

        return await self._writing.done(how, plan=plan, commit=commit, answer=summary)

    @property
    def _history(self) -> History:
        if self._plane.read_only:
            raise ReadOnly(f"{self._plane.read_only}; its history is where the file is kept")
        return self._all


def _steps(changes: Sequence[Changed]) -> list[Json]:
    return [step_view(step) for step in steps_of(changes)]


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise Problem(404, f"there is no revision {text!r}")


def _view(revision: Revision) -> Json:
    return {
        "revision": revision.revision,
        "storeEpoch": revision.epoch,
        "timestamp": timestamp(revision.at / 1000),
        "actor": revision.actor,
        "action": revision.action,
        "message": revision.message,
        "correlationId": revision.correlation_id,
        "changeCount": revision.changes,
        "digest": revision.digest,
    }
