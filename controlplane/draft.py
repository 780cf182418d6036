"""From what was asked for to the resources that would be written: names, ids and upstreams by URL are filled in. Pure.

What forbids a change whatever its content is found here: it is not there, it is there already, someone changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from controlplane.changes import ANY, Change, Changed, Delete, Put, etag_of
from controlplane.index import Index
from controlplane.refusal import AlreadyExists, NotFound, Stale
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import Resource, Route, Settings, Upstream
from shared.route_names import describe
from shared.table import KINDS, SETTINGS, Key, Table, pack, unpack
from shared.url_upstreams import canonical, name_of


class Draft:
    """What would be written on top of a table. `changed`: None where a resource goes; `ids`: the last given, by kind.

    `asked`: the key of each change that was asked for, in that order, also of those that change nothing.
    """

    def __init__(self, index: Index, ids: Mapping[str, int]) -> None:
        self.ids = dict(ids)
        self.changed: dict[Key, Resource | None] = {}
        self.asked: list[Key] = []
        self._index = index
        self._numbers: set[tuple[str, int]] = set()  # ids within this draft

    @property
    def before(self) -> Table:
        """The table that it changes."""
        return self._index.table

    def table(self) -> Table:
        """The table after it."""
        upserts = [resource for resource in self.changed.values() if resource is not None]
        return self.before.changed(upserts, [key for key, resource in self.changed.items() if resource is None])

    def changes(self) -> tuple[Changed, ...]:
        """What becomes of each resource."""
        return tuple(Changed(key, self.before.get(key), after) for key, after in self.changed.items())

    def has(self, key: Key) -> bool:
        """Whether a resource would be there."""
        return self.changed[key] is not None if key in self.changed else key in self.before

    def delete(self, key: Key) -> None:
        self.changed[key] = None
        if key not in self.before:
            del self.changed[key]

    def put(self, kind: str, message: Any) -> Key:
        """Take a message over, under its name; a resource that is new gets an id that none had before."""
        key: Key = kind, message.name if key_has_name(kind) else SETTINGS[1]
        if key_has_name(kind) and not message.id:
            known = self._index.facts.get(key)
            message.id = known.id if known is not None and known.id else self._next(kind)
        resource = pack(*key, message)
        self.changed[key] = resource
        if self.before.get(key) == resource:
            del self.changed[key]
        return key

    def reserve(self, kind: str, number: int) -> None:
        """An id that a message of this draft has: it is not given to another."""
        self._numbers.add((kind, number))

    def _next(self, kind: str) -> int:
        number = self.ids.get(kind, 0) + 1
        while self._index.with_id(kind, number) or (kind, number) in self._numbers:
            number += 1
        self.ids[kind] = number
        return number

    def upstream_of(self, url: str) -> str:
        """The name of the upstream for a URL: the one there is, or a new one."""
        form = canonical(url)
        for key, resource in self.changed.items():
            if key[0] == "upstream" and resource is not None and _url(resource) == form:
                return key[1]
        there = [key for key in self._index.with_url(form) if self.has(key)]
        if there:
            return there[0][1]
        name = name_of(form, {name for kind, name in (*self.before, *self.changed) if kind == "upstream"})
        return self.put("upstream", Upstream(name=name, url=url))[1]


def draft(changes: Sequence[Change], index: Index, ids: Mapping[str, int]) -> Draft:
    """The draft of a list of changes; a Refusal, or a ConfigError with all faults of their shape."""
    faults = [fault for change in changes for fault in _shape(change)]
    if faults:
        raise ConfigError(faults)
    made = Draft(index, ids)
    if SETTINGS not in made.before:
        made.put("settings", Settings())
    _reserve(made, ((change.kind, change.message) for change in changes if isinstance(change, Put)))
    for change in changes:
        _expected(change, made.before)
        made.asked.append(_take(made, change))
    if twice := sorted({key for key in made.asked if made.asked.count(key) > 1}):
        raise ConfigError(Fault("", "is changed twice in one transaction", "duplicate", *key) for key in twice)
    return made


def draft_of(wanted: Table, index: Index, ids: Mapping[str, int]) -> Draft:
    """The draft that makes one configuration of another; a resource without an id keeps the one it had."""
    made = Draft(index, ids)
    messages = [(kind, unpack(resource)) for (kind, _), resource in wanted.items()]
    _reserve(made, messages)
    for key in made.before:
        if key not in wanted:
            made.delete(key)
    made.asked = [made.put(kind, message) for kind, message in messages]
    return made


def key_has_name(kind: str) -> bool:
    """Of the settings there is one, without a name and an id."""
    return kind != SETTINGS[0]


def _take(made: Draft, change: Change) -> Key:
    key: Key = change.kind, change.name
    if isinstance(change, Delete):
        made.delete(key)
        return key
    message: Any = type(change.message)()
    message.CopyFrom(change.message)
    if isinstance(message, Route) and "://" in message.upstream:
        message.upstream = made.upstream_of(message.upstream)
    if key_has_name(change.kind):
        message.name = change.name or message.name
        if isinstance(message, Route) and not message.name:
            message.name = _free(describe(message), lambda name: made.has(("route", name)))
    return made.put(change.kind, message)


def _reserve(made: Draft, messages: Any) -> None:
    for kind, message in messages:
        if key_has_name(kind) and message.id:
            made.reserve(kind, message.id)


def _shape(change: Change) -> Iterator[Fault]:
    """What would be wrong with a change on top of any configuration."""
    key: Key = change.kind, change.name
    message_type = KINDS.get(change.kind)
    if message_type is None:
        yield Fault("", f"there are no resources of kind {change.kind!r}", "unknown_kind", *key)
    elif isinstance(change, Delete):
        if not key_has_name(change.kind):
            yield Fault("", "the settings cannot be deleted; put empty ones for the defaults", "invalid", *key)
    elif not isinstance(change.message, message_type):
        yield Fault("", f"the message is no {message_type.DESCRIPTOR.name}", "type", *key)
    elif key_has_name(change.kind):
        written = change.message.name  # type: ignore[attr-defined]  # all but the settings have one
        if change.name and written and written != change.name:
            yield Fault("name", f"is {written!r}, but the resource is called {change.name!r}", "invalid", *key)
        elif not change.name and not written and change.kind != "route":
            yield Fault("name", "is required: a name unique among its kind", "required", *key)


def _expected(change: Change, table: Table) -> None:
    """Refuse where the resource is not what whoever asks for the change expects."""
    name = change.name or getattr(getattr(change, "message", None), "name", "")
    key: Key = change.kind, name
    there = table.get(key) if name else None
    if isinstance(change, Put) and change.new and there is not None:
        raise AlreadyExists(key)
    if there is None and (isinstance(change, Delete) or change.if_match):
        raise NotFound(key)
    if there is not None and change.if_match not in {"", ANY, etag_of(there)}:
        raise Stale(key)


def _free(name: str, taken: Callable[[str], bool]) -> str:
    free, number = name, 1
    while taken(free):
        number += 1
        free = f"{name} #{number}"
    return free


def _url(resource: Resource) -> str:
    url = getattr(unpack(resource), "url", "")
    return canonical(url) if url else ""
