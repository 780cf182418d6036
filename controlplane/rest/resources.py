"""REST of the resources: routes, upstreams, consumers, keys and the settings, each listed, shown and written alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web

from controlplane import editing
from controlplane.catalogue import Catalogue, Entry
from controlplane.changes import Change, Delete, etag_of
from controlplane.editing import Edit
from controlplane.filters import FILTERS, wanted
from controlplane.listing import cursor_at, limit_of, position_in
from controlplane.plan import Plan
from controlplane.plane import Plane
from controlplane.problem import json_response
from controlplane.refusal import NotFound, Refusal, Stale
from controlplane.rest.manner import Manner, manner
from controlplane.rest.problems import json_object, known_parameters
from controlplane.rest.writing import Answer, Writing, warned
from controlplane.service import Outcome
from controlplane.shapes import shown
from controlplane.store import Committed
from controlplane.store.database import DatabaseGone
from shared.document import CONSEQUENCES
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Settings
from shared.table import SETTINGS, Table, pack

KINDS = {"routes": "route", "upstreams": "upstream", "consumers": "consumer", "keys": "credential"}
"""What each kind is called in paths."""
PATHS = {kind: path for path, kind in KINDS.items()}
ATTEMPTS = 20
"""How often a change that is made of what was there is made anew, where another writer was faster."""
T = TypeVar("T")


class ResourcesRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing) -> None:
        self._plane = plane
        self._writing = writing
        self._catalogue = Catalogue()

    def routes(self) -> list[web.RouteDef]:
        found = [
            web.get("/api/settings", self.settings),
            web.put("/api/settings", self.replace),
            web.patch("/api/settings", self.patch),
        ]
        for path in KINDS:
            found += [
                web.get(f"/api/{path}", self.many),
                web.get(f"/api/{path}/{{id}}", self.one),
                web.put(f"/api/{path}/{{id}}", self.replace),
                web.patch(f"/api/{path}/{{id}}", self.patch),
                web.delete(f"/api/{path}/{{id}}", self.delete),
            ]
        return [*found, *(web.post(f"/api/{path}", self.create) for path in KINDS if path != "keys")]

    async def many(self, request: web.Request) -> web.Response:
        """The resources of a kind that match the filters, in the order of their ids."""
        kind, query = _kind(request), request.query
        known_parameters(request, *FILTERS[kind], "search", "limit", "cursor")
        committed = self._plane.service.committed
        limit, after = limit_of(query.get("limit", "")), position_in(query.get("cursor", ""))
        wants = wanted(kind, query, committed.table if committed else Table())
        part = self._catalogue.part(committed, kind, after=after, limit=limit, wanted=wants)
        headers = {"X-Total-Count": str(part.total)} | ({"X-Next-Cursor": cursor_at(part.after)} if part.after else {})
        table = committed.table if committed else Table()
        items = await asyncio.to_thread(lambda: [shown(each.resource, table, each.id) for each in part.entries])
        return json_response(items, headers=headers)

    async def one(self, request: web.Request) -> web.Response:
        """One resource by name or id."""
        known_parameters(request)
        committed = self._plane.service.committed
        entry = self._found(committed, request)
        table = committed.table if committed else Table()
        return json_response(shown(entry.resource, table, entry.id), headers={"ETag": f'"{etag_of(entry.resource)}"'})

    async def settings(self, request: web.Request) -> web.Response:
        """The settings; empty ones where nothing was written yet."""
        known_parameters(request)
        table = _table(self._plane.service.committed)
        found = table.get(SETTINGS) or pack(*SETTINGS, Settings())
        return json_response(shown(found, table), headers={"ETag": f'"{etag_of(found)}"'})

    async def create(self, request: web.Request) -> web.Response:
        """201 with the new resource; 409 where there is one of its name."""
        how = await manner(request)
        self._writing.allowed()
        kind, body = _kind(request), await json_object(request)
        return await self.write(how, lambda table: editing.put(kind, "", body, table, new=True))

    async def replace(self, request: web.Request) -> web.Response:
        """The resource as the body says, whole; 201 where there was none of this name."""
        how = await manner(request)
        self._writing.allowed()
        kind, body = _kind(request), await json_object(request)

        def edit(table: Table) -> Edit:
            name, etag = self._target(request, kind, table)
            if how.create and etag:
                raise Stale((kind, name))
            return editing.put(kind, name, body, table, if_match=how.expected(etag), new=how.create)

        return await self.write(how, edit)

    async def patch(self, request: web.Request) -> web.Response:
        """The resource with the body merged into it (RFC 7396)."""
        how = await manner(request)
        self._writing.allowed()
        kind, body = _kind(request), await json_object(request)

        def edit(table: Table) -> Edit:
            name, etag = self._target(request, kind, table)
            return editing.patch(kind, name, body, table, if_match=how.expected(etag))

        return await self.write(how, edit)

    async def delete(self, request: web.Request) -> web.Response:
        """204; 409 where others need it."""
        how = await manner(request)
        self._writing.allowed()
        kind = _kind(request)

        def edit(table: Table) -> Edit:
            name, etag = self._target(request, kind, table)
            return Edit((kind, name), [Delete(kind, name, how.expected(etag))])

        return await self.write(how, edit)

    async def write(self, how: Manner, edit: Callable[[Table], Edit]) -> web.Response:
        """Plan or commit an edit of what is there now, and anew where that has changed meanwhile."""
        edits = Edits(self._plane, edit, how)

        async def plan() -> Plan:
            return await edits.run(self._plane.service.plan)

        async def commit(once: Any) -> Outcome:
            return await edits.run(
                lambda changes: self._plane.service.commit(
                    changes, how.actor, message=how.message, force=how.force, once=once
                )
            )

        return await self._writing.done(how, plan=plan, commit=commit, answer=answer_of)

    async def name_of(self, kind: str, wanted: str) -> str:
        """The name of a resource by name or id; what is not there is its own name."""
        entry = self._catalogue.find(await self._plane.service.refresh(), kind, wanted)
        return entry.name if entry is not None else wanted

    def _found(self, committed: Committed | None, request: web.Request) -> Entry:
        kind, name = _kind(request), request.match_info["id"]
        entry = self._catalogue.find(committed, kind, name)
        if entry is None:
            raise NotFound((kind, name))
        return entry

    def _target(self, request: web.Request, kind: str, table: Table) -> tuple[str, str]:
        """(name, etag) of what the path leads to; no etag where there is nothing yet."""
        if kind == SETTINGS[0]:
            there = table.get(SETTINGS)
            return SETTINGS[1], etag_of(there) if there is not None else ""
        wanted_name = request.match_info["id"]
        entry = self._catalogue.find(self._plane.service.committed, kind, wanted_name)
        if entry is not None:
            return entry.name, etag_of(entry.resource)
        if wanted_name.isdigit():
            raise NotFound((kind, wanted_name))
        return wanted_name, ""


class Edits:
    """One edit, tried on what is there until nobody else is faster."""

    def __init__(self, plane: Plane, edit: Callable[[Table], Edit], how: Manner) -> None:
        self._plane = plane
        self._edit = edit
        self._how = how

    async def run(self, does: Callable[[Sequence[Change]], Awaitable[T]]) -> T:
        """What `does` does with the changes; ConfigError with all that is wrong, at the paths of the body."""
        for attempt in range(1, ATTEMPTS + 1):
            edit = self._edit(_table(await self._plane.service.refresh()))
            try:
                if edit.faults:
                    raise ConfigError([*edit.faults, *await self._further(edit)])
                return await does(edit.changes)
            except Stale:
                if self._how.if_match or self._how.create or not edit.guarded or attempt == ATTEMPTS:
                    raise
            except ConfigError as error:
                raise ConfigError(edit.told(error.faults) if not edit.faults else error.faults) from error
        raise AssertionError("the last attempt returns or raises")

    async def _further(self, edit: Edit) -> list[Any]:
        """What else is wrong with a body that has faults of form; what may only follow from these is left out."""
        try:
            await self._plane.service.plan(edit.changes)
        except ConfigError as error:
            known = {fault.path for fault in edit.faults}
            told = edit.told(fault for fault in error.faults if fault.code not in CONSEQUENCES)
            return [fault for fault in told if fault.path not in known]
        except (Refusal, DatabaseGone):  # whatever else forbids it is told once its form is good
            return []
        return []


def answer_of(outcome: Outcome) -> Answer:
    """What became of the resource that was asked for."""
    key, committed = outcome.asked[0], outcome.committed
    changed = next((each for each in outcome.changes if each.key == key), None)
    resource = committed.table.get(key)
    if resource is None:
        return Answer(204, None, committed.revision)
    headers = {"ETag": f'"{etag_of(resource)}"'}
    created = changed is not None and changed.before is None and key != SETTINGS
    if created:
        headers["Location"] = f"/api/{PATHS[key[0]]}/{quote(key[1], safe='')}"
    body = warned(shown(resource, committed.table), outcome.warnings)
    return Answer(201 if created else 200, body, committed.revision, headers)


def _kind(request: web.Request) -> str:
    resource = request.match_info.route.resource
    assert resource is not None, "only what the router knows comes here"
    return KINDS.get(resource.canonical.split("/")[2], SETTINGS[0])


def _table(committed: Committed | None) -> Table:
    return committed.table if committed else Table()
