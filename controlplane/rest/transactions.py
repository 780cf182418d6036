"""REST of transactions: several changes of resources together, or none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from controlplane import editing
from controlplane.changes import Change, Delete, Once
from controlplane.editing import Edit
from controlplane.plan import Plan
from controlplane.plane import Plane
from controlplane.refusal import Stale
from controlplane.rest.manner import manner
from controlplane.rest.problems import json_object
from controlplane.rest.resources import ATTEMPTS
from controlplane.rest.writing import Writing, summary
from controlplane.rollout.plan import read_plan
from controlplane.service import Outcome
from shared.faults import ConfigError, Fault
from shared.field_path import child, item
from shared.suggestion import suggestion
from shared.table import KINDS, SETTINGS, Table

Json = dict[str, Any]
T = TypeVar("T")
ACTIONS = ("create", "put", "patch", "delete")
FIELDS = {"action": str, "kind": str, "name": str, "ifMatch": str, "resource": dict}
MOST = 10_000
"""Changes in one transaction."""


class TransactionsRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing) -> None:
        self._plane = plane
        self._writing = writing

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/transactions", self.commit)]

    async def commit(self, request: web.Request) -> web.Response:
        """{revision, changes[{kind, name, action, etag}], warnings}: one revision with all of them."""
        how = await manner(request)
        self._writing.allowed()
        body = await json_object(request)
        rollout = read_plan(body.pop("rollout")) if "rollout" in body else None
        items = _items(body)
        service = self._plane.service

        async def plan() -> Plan:
            edits = await self._edits(items)
            return await self._run(edits, lambda changes: service.plan(changes, how.if_match))

        async def commit(once: Once | None) -> Outcome:
            for attempt in range(1, ATTEMPTS + 1):
                edits = await self._edits(items)
                try:
                    return await self._run(
                        edits,
                        lambda changes: service.commit(
                            changes,
                            how.actor,
                            message=how.message,
                            force=how.force,
                            once=once,
                            rollout=rollout,
                            if_match=how.if_match,
                        ),
                    )
                except Stale:
                    if attempt == ATTEMPTS or any("ifMatch" in one for one in items):
                        raise
            raise AssertionError("the last attempt returns or raises")

        return await self._writing.done(how, plan=plan, commit=commit, answer=summary)

    async def _edits(self, items: Sequence[Json]) -> list[Edit]:
        """The edit of each change, on what is committed now."""
        committed = await self._plane.service.refresh()
        table = committed.table if committed else Table()
        return [_edit(one, table) for one in items]

    @staticmethod
    async def _run(edits: Sequence[Edit], does: Callable[[Sequence[Change]], Awaitable[T]]) -> T:
        """What `does` does with all changes; ConfigError at the paths of the body."""
        faults = [_at(index, fault) for index, edit in enumerate(edits) for fault in edit.faults]
        changes: list[Change] = [change for edit in edits for change in edit.changes]
        if faults:
            raise ConfigError(faults)
        try:
            return await does(changes)
        except ConfigError as error:
            raise ConfigError(_told(edits, fault) for fault in error.faults) from error


def _items(body: Json) -> list[Json]:
    """The changes that the body lists; ConfigError with all faults of their form."""
    faults = [_unknown(name, ("changes", "rollout")) for name in body if name != "changes"]
    items = body.get("changes")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST:
        raise ConfigError([*faults, Fault("changes", f"must be a list of 1 to {MOST} changes", "type")])
    for index, one in enumerate(items):
        faults += [replace(fault, path=child(item("changes", index), fault.path)) for fault in _shape(one)]
    if faults:
        raise ConfigError(faults)
    return items


def _shape(one: object) -> list[Fault]:
    if not isinstance(one, dict):
        return [Fault("action", f"must be one of {', '.join(ACTIONS)}", "type")]
    faults = [_unknown(name, tuple(FIELDS)) for name in one if name not in FIELDS]
    for name, wanted in FIELDS.items():
        if name in one and not isinstance(one[name], wanted):
            faults.append(Fault(name, f"expected {'an object' if wanted is dict else 'text'}", "type"))
    action, kind = one.get("action"), one.get("kind")
    if not isinstance(action, str) or action not in ACTIONS:
        faults.append(Fault("action", f"must be one of {', '.join(ACTIONS)}", "invalid"))
    if not isinstance(kind, str) or kind not in KINDS:
        faults.append(Fault("kind", f"must be one of {', '.join(KINDS)}", "invalid"))
    if action in {"create", "put", "patch"} and "resource" not in one:
        faults.append(Fault("resource", "is required: what the resource is to be", "required"))
    if action == "delete" and "resource" in one:
        faults.append(Fault("resource", "a delete has none", "invalid"))
    if action in {"patch", "delete"} and not one.get("name") and kind != SETTINGS[0]:
        faults.append(Fault("name", "is required: the name of the resource", "required"))
    return faults


def _edit(one: Json, table: Table) -> Edit:
    kind, name, match = one["kind"], one.get("name", ""), one.get("ifMatch", "").strip('"')
    name = SETTINGS[1] if kind == SETTINGS[0] else name
    if one["action"] == "delete":
        return Edit((kind, name), [Delete(kind, name, match)])
    if one["action"] == "patch":
        return editing.patch(kind, name, one["resource"], table, if_match=match)
    return editing.put(kind, name, one["resource"], table, if_match=match, new=one["action"] == "create")


def _told(edits: Sequence[Edit], fault: Fault) -> Fault:
    """A fault of the service at the change that it is about."""
    for index, edit in enumerate(edits):
        if edit.about(fault):
            return _at(index, edit.told([fault])[0])
    where = f"{fault.kind} {fault.name!r}: " if fault.name else ""
    return replace(fault, path="", message=f"{where}{fault.path}: {fault.message}" if fault.path else fault.message)


def _at(index: int, fault: Fault) -> Fault:
    place = child(item("changes", index), "resource")
    return replace(fault, path=f"{place}.{fault.path}" if fault.path else place)


def _unknown(name: str, known: tuple[str, ...]) -> Fault:
    return Fault(name, f"unknown key{suggestion(name, known)}", "unknown_key")
