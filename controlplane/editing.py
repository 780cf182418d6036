"""From what a client sends of a resource to the changes that make it so, on top of what is committed. Pure.

A body is read as a document is (shorthands, aliases, every fault with the path that was written), secrets that came
back redacted are kept, and what a route's body says of its upstream's breaker becomes a change of that upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from controlplane.changes import Change, Json, Put, etag_of
from controlplane.merge import merged
from controlplane.refusal import NotFound
from controlplane.shapes import breaker_of, present_as_before, taken, with_breaker
from controlplane.store.mapping import shown_json
from controlplane.unredact import unredacted
from shared.document import written
from shared.faults import Fault
from shared.pb.resources_pb2 import Resource, Route, Upstream
from shared.resource import canonical_names, read_resource
from shared.table import SETTINGS, Key, Table, unpack
from shared.url_upstreams import canonical, name_of

FROM_UPSTREAM = {"url": "upstream"}
"""Where a route's body says what a fault of its upstream is about."""


@dataclass(slots=True)
class Edit:
    """The changes of one body; the first is that of the resource itself.

    `guarded`: they are made of what was there, so they must not be committed on top of anything else.
    """

    key: Key
    changes: list[Change] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    origins: Mapping[str, str] = field(default_factory=dict)
    guarded: bool = False

    def told(self, faults: Iterable[Fault]) -> list[Fault]:
        """Faults that the service found, at the paths of the body."""
        return [self._told(fault) for fault in faults]

    def about(self, fault: Fault) -> bool:
        """Whether a fault is about this resource, or about another that this body changes."""
        own = fault.kind == self.key[0] and (not self.key[1] or fault.name in {"", self.key[1]})
        return own or any((fault.kind, fault.name) == (one.kind, one.name) for one in self.changes)

    def _by_url(self) -> bool:
        """Whether this is a route that makes its upstream, or finds it, by its URL."""
        return any(isinstance(one, Put) and "://" in getattr(one.message, "upstream", "") for one in self.changes)

    def _told(self, fault: Fault) -> Fault:
        if fault.kind in {"", self.key[0]} and (not self.key[1] or fault.name in {"", self.key[1]}):
            return replace(fault, path=written(fault.path, self.origins))
        if self.key[0] == "route" and fault.kind == "upstream" and (self.about(fault) or self._by_url()):
            path = FROM_UPSTREAM.get(fault.path, fault.path)
            return replace(fault, path=written(path, self.origins))
        where = f"{fault.kind} {fault.name!r}: {fault.path}" if fault.name else fault.path
        return replace(fault, path="", message=f"{where}: {fault.message}" if where else fault.message)


def put(kind: str, name: str, body: Json, table: Table, *, if_match: str = "", new: bool = False) -> Edit:
    """Make the resource what the body says; a new one where `name` is empty, called what the body says."""
    before = table.get((kind, name)) if name else None
    took = taken(kind, body, table)
    reading = read_resource(kind, took.body)
    message: Any
    message, hidden = unredacted(reading.message, before)
    present_as_before(message, before)
    edit = Edit((kind, name or getattr(message, "name", "")), origins=reading.origins)
    edit.faults += [*took.faults, *reading.faults, *hidden]
    if before is not None and kind != SETTINGS[0]:
        known = cast(Any, unpack(before)).id
        if message.id not in {0, known}:
            edit.faults.append(Fault("id", f"is given by the control plane and stays {known}", "invalid"))
    edit.guarded = message is not reading.message
    if isinstance(message, Route) and took.breaker is not None:
        _route_with_breaker(edit, message, took.breaker, table)
    guard = if_match or (etag_of(before) if before is not None and edit.guarded else "")
    edit.changes.insert(0, Put(kind, edit.key[1], message, guard, new))
    return edit


def patch(kind: str, name: str, body: Json, table: Table, *, if_match: str = "") -> Edit:
    """Merge the body into the resource (RFC 7396), by the names of the model. NotFound where there is none."""
    before = table.get((kind, name))
    body = canonical_names(kind, body)
    if before is None and kind == SETTINGS[0]:
        return put(kind, name, merged({}, body), table, if_match=if_match)  # there are always some, if empty ones
    if before is None:
        raise NotFound((kind, name))
    if kind == "route":
        if "upstreamName" in body:
            body.setdefault("upstream", body.pop("upstreamName"))
        if "circuitBreaker" in body and body["circuitBreaker"] is None:
            target = cast(Route, unpack(before)).upstream
            message = f"is that of the upstream; take it away at /api/upstreams/{target}"
            return Edit((kind, name), faults=[Fault("circuitBreaker", message, "invalid")])
    edit = put(kind, name, merged(shown_json(before), body), table, if_match=if_match or etag_of(before))
    edit.guarded = True
    return edit


def _route_with_breaker(edit: Edit, route: Route, breaker: Json, table: Table) -> None:
    if route.split:
        first = table.get(("upstream", route.split[0].upstream))
        if first is not None and breaker == breaker_of(cast(Upstream, unpack(first)), table):
            return  # as it was shown
        message = "a route with a split has several upstreams; set the breaker there"
        edit.faults.append(Fault("circuitBreaker", message, "invalid"))
        return
    upstream, before = _upstream_of(route, table)
    if upstream is None:
        return  # the check tells that there is none
    changed, faults = with_breaker(upstream, breaker, table)
    edit.faults += faults
    if changed is not None:
        route.upstream = upstream.name
        edit.guarded = True
        guard = etag_of(before) if before is not None else ""
        edit.changes.append(Put("upstream", upstream.name, changed, guard, new=before is None))


def _upstream_of(route: Route, table: Table) -> tuple[Upstream | None, Resource | None]:
    """The upstream that a route leads to and, where there is one already, its resource."""
    if "://" not in route.upstream:
        found = table.get(("upstream", route.upstream))
        return (cast(Upstream, unpack(found)), found) if found is not None else (None, None)
    form, names = canonical(route.upstream), set()
    for (kind, name), resource in table.items():
        if kind == "upstream":
            names.add(name)
            upstream = cast(Upstream, unpack(resource))
            if upstream.url and canonical(upstream.url) == form:
                return upstream, resource
    return Upstream(name=name_of(form, names), url=route.upstream), None
