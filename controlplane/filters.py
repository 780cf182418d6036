"""What lists of resources can be filtered by, without rendering what is not shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controlplane.catalogue import Entry, Wanted
from controlplane.shapes import url_of
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import Route
from shared.table import Table, unpack
from shared.url_upstreams import canonical

Values = Callable[[Any, Entry], tuple[str, ...]]


def _field(name: str) -> Values:
    def values(message: Any, _entry: Entry) -> tuple[str, ...]:
        value = getattr(message, name)
        return (value,) if isinstance(value, str) else tuple(value)

    return values


def _enabled(message: Any, _entry: Entry) -> tuple[str, ...]:
    return (str(bool(message.enabled) if message.HasField("enabled") else True).lower(),)


def _targets(route: Route) -> tuple[str, ...]:
    return tuple(split.upstream for split in route.split) or (route.upstream,)


_NAMED: dict[str, Values] = {"id": lambda _, entry: (str(entry.id),), "name": _field("name")}
FILTERS: dict[str, dict[str, Values]] = {
    "route": {
        **_NAMED,
        "path": _field("path"),
        "upstream": lambda route, _: _targets(route),
        "upstreamName": lambda route, _: _targets(route),
        "methods": _field("methods"),
        "hosts": _field("hosts"),
        "enabled": _enabled,
    },
    "upstream": {**_NAMED, "url": lambda upstream, _: (url_of(upstream),)},
    "consumer": {**_NAMED, "groups": _field("groups"), "priority": lambda one, _: (one.priority,)},
    "credential": {
        **_NAMED,
        "consumer": _field("consumer"),
        "type": lambda one, _: (one.type or "apiKey",),
        "scopes": _field("scopes"),
        "enabled": _enabled,
    },
}
"""Kind -> filter -> the values of a resource, one of which must be the wanted one."""
SEARCHED = ("name", "path", "url", "consumer")
"""Fields that `search` looks into."""


def wanted(kind: str, query: Mapping[str, str], table: Table) -> Wanted | None:
    """Whether a resource of this table passes the filters of a query; None where there are none.

    Raises ConfigError for a value that no resource can have.
    """
    if "enabled" in FILTERS[kind] and query.get("enabled", "true") not in {"true", "false"}:
        raise ConfigError([Fault("enabled", f"{query['enabled']!r} is neither true nor false")])
    asked = [(name, values, query[name]) for name, values in FILTERS[kind].items() if name in query]
    text = query.get("search", "").casefold()
    if not asked and not text:
        return None
    by_url = _upstreams_at(query["upstream"], table) if kind == "route" and "upstream" in query else set()

    def passes(message: Any, entry: Entry) -> bool:
        for name, values, value in asked:
            found = values(message, entry)
            if kind == "route" and name == "upstream":
                if by_url.isdisjoint(found):
                    return False
            elif value not in found:
                return False
        return not text or any(text in str(getattr(message, field, "")).casefold() for field in SEARCHED)

    return passes


def _upstreams_at(url: str, table: Table) -> set[str]:
    """The names of the upstreams at a URL; a name stands for itself."""
    form = canonical(url)
    return {url} | {
        name
        for (kind, name), resource in table.items()
        if kind == "upstream" and canonical(url_of(unpack(resource))) == form  # type: ignore[arg-type]  # of its kind
    }
