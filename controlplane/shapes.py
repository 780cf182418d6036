"""Resources as REST shows them and takes them: the JSON mapping of the model, in the shapes of CONTRACT section 4.

What is shown and is no field of the resource itself (a route's `upstream` as a URL, its `upstreamName`, the breaker of
that upstream) may come back: unchanged it means nothing. docs/decisions/0018-shape-of-a-route.md. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict

from controlplane.store.mapping import shown_json
from shared import defaults
from shared.faults import Fault
from shared.pb.resources_pb2 import CircuitBreaker, Resource, Route, Settings, Upstream
from shared.resource import read_resource
from shared.table import KINDS, SETTINGS, Table, unpack
from shared.url_upstreams import canonical

Json = dict[str, Any]
ANSWERS = ("applied", "warnings")
"""Members of an answer that a client may send back with the resource: they say nothing."""


def shown(resource: Resource, table: Table, number: int = 0) -> Json:
    """A resource of this table, without its secrets; `number` stands in for an id that it does not have."""
    view = _numbered(shown_json(resource), cast(Descriptor, KINDS[resource.kind].DESCRIPTOR))
    if resource.kind == SETTINGS[0]:
        return view
    view = {"id": number, **view} | ({"id": number} if number else {})
    message: Any = unpack(resource)
    if isinstance(message, Route):
        return view | _route(view, message, table)
    if isinstance(message, Upstream):
        return view | {"url": url_of(message)}
    return view | ({"enabled": _on(message)} if resource.kind == "credential" else {})


def _route(view: Json, route: Route, table: Table) -> Json:
    name = _target(route)
    upstream = _upstream(table, name)
    found: Json = {
        "upstream": url_of(upstream) if upstream else "",
        "upstreamName": name,
        "methods": list(route.methods),
        "enabled": _on(route),
    }
    if route.HasField("rate_limit"):
        rest = {key: value for key, value in view["rateLimit"].items() if key not in {"max", "windowMs"}}
        window = _duration(route.rate_limit.window_ms)
        found["rateLimit"] = {**rest, "requests": route.rate_limit.max, "window": window}
    return found | ({"circuitBreaker": breaker_of(upstream, table)} if upstream else {})


def breaker_of(upstream: Upstream, table: Table) -> Json:
    """{enabled, threshold} of an upstream, with what the settings and the defaults give it."""
    general = cast(Settings, unpack(table[SETTINGS])).circuit_breaker if SETTINGS in table else CircuitBreaker()
    own = upstream.circuit_breaker
    enabled = next((each.enabled for each in (own, general) if each.HasField("enabled")), defaults.BREAKER_ENABLED)
    for each in (own, general):
        if each.HasField("failure_percent"):
            return {"enabled": enabled, "threshold": f"{each.failure_percent:g}%"}
        if each.HasField("failure_threshold"):
            return {"enabled": enabled, "threshold": each.failure_threshold}
    return {"enabled": enabled, "threshold": defaults.BREAKER_FAILURE_THRESHOLD}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a body says of the resource itself. `breaker`: what a route's body says of its upstream's, if anything."""

    body: Json
    breaker: Json | None = None
    faults: list[Fault] = field(default_factory=list)


def taken(kind: str, body: Mapping[str, Any], table: Table) -> Taken:
    """A body without what is only shown."""
    own = {key: value for key, value in body.items() if key not in ANSWERS}
    if kind == "route":
        return _taken_route(own, table)
    if kind == "upstream":
        endpoints = own.get("endpoints")
        first = endpoints[0] if isinstance(endpoints, list) and endpoints else None
        if (
            first is not None
            and "url" in own
            and own["url"] == (first.get("url") if isinstance(first, dict) else first)
        ):
            del own["url"]
    return Taken(own)


def _taken_route(own: Json, table: Table) -> Taken:
    faults: list[Fault] = []
    name, breaker = own.pop("upstreamName", None), own.pop("circuitBreaker", None)
    if name is not None and not isinstance(name, str):
        faults.append(Fault("upstreamName", "expected text: the name of an upstream", "type"))
    elif name is not None:
        upstream = _upstream(table, name)
        written = next((key for key in ("upstream", "targetUrl") if key in own), "upstream")
        given = own.get(written, name)
        known = {name, canonical(url_of(upstream)) if upstream else ""}
        if isinstance(given, str) and given not in known and canonical(given) not in known:
            faults.append(
                Fault(written, f"is not the upstream {name!r} of upstreamName; give one of the two", "invalid")
            )
        own.pop(written, None)
        split = own.get("split")
        if not (isinstance(split, list) and split and isinstance(split[0], dict) and split[0].get("upstream") == name):
            own["upstream"] = name
    if breaker is not None and not isinstance(breaker, dict):
        faults.append(Fault("circuitBreaker", "expected an object with enabled and threshold", "type"))
        breaker = None
    return Taken(own, breaker, faults)


def with_breaker(upstream: Upstream, breaker: Json, table: Table) -> tuple[Upstream | None, list[Fault]]:
    """The upstream with this breaker, None where it has it already; and what is wrong, with paths within the route."""
    said = breaker_of(upstream, table) | breaker
    if said == breaker_of(upstream, table):
        return None, []
    reading = read_resource("upstream", {"circuitBreaker": breaker})
    changed = Upstream()
    changed.CopyFrom(upstream)
    wanted = cast(Upstream, reading.message).circuit_breaker
    if wanted.HasField("failure_threshold") or wanted.HasField("failure_percent"):
        changed.circuit_breaker.ClearField("failure_threshold")
        changed.circuit_breaker.ClearField("failure_percent")
    changed.circuit_breaker.MergeFrom(wanted)
    return changed, reading.faults


def present_as_before(message: Any, before: Resource | None) -> None:
    """`enabled` is always shown; where it stands for the default that it was, it stays unsaid."""
    if before is None or "enabled" not in message.DESCRIPTOR.fields_by_name:
        return
    known: Any = unpack(before)
    if message.enabled and message.HasField("enabled") and not known.HasField("enabled"):
        message.ClearField("enabled")
    elif not message.HasField("enabled") and known.HasField("enabled") and known.enabled:
        message.enabled = True


def url_of(upstream: Upstream) -> str:
    """Where an upstream is; the first endpoint, where it has several."""
    return upstream.url or (upstream.endpoints[0].url if upstream.endpoints else "")


def _numbered(view: Json, descriptor: Descriptor) -> Json:
    """The view, in place, with numbers of 64 bits as numbers: the mapping of protobuf makes text of them."""
    for name, inner in _wide(descriptor).items():
        if name in view:
            view[name] = int(view[name]) if inner is None else _numbered(view[name], inner)
    return view


@cache
def _wide(descriptor: Descriptor) -> Mapping[str, Descriptor | None]:
    """The single fields that are such numbers (None), or that have some within."""
    found: dict[str, Descriptor | None] = {}
    for each in descriptor.fields:
        if each.is_repeated or (each.message_type and each.message_type.file is not descriptor.file):
            continue
        if each.message_type is None and each.cpp_type in {each.CPPTYPE_INT64, each.CPPTYPE_UINT64}:
            found[each.json_name] = None
        elif each.message_type is not None and _wide(each.message_type):
            found[each.json_name] = each.message_type
    return found


def _target(route: Route) -> str:
    return route.split[0].upstream if route.split else route.upstream


def _upstream(table: Table, name: str) -> Upstream | None:
    found = table.get(("upstream", name))
    return cast(Upstream, unpack(found)) if found is not None else None


def _on(message: Any) -> bool:
    return bool(message.enabled) if message.HasField("enabled") else True


def _duration(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{seconds}s"


def rendered(message: Any) -> Json:
    """A message of the control plane's own answers: nothing is left out, and numbers are numbers."""
    view = MessageToDict(message, always_print_fields_with_no_presence=True)
    for each in message.DESCRIPTOR.fields:
        value = getattr(message, each.name)
        if each.message_type is not None and each.message_type.GetOptions().map_entry:
            continue
        if each.message_type is not None and each.json_name in view:
            view[each.json_name] = [rendered(one) for one in value] if each.is_repeated else rendered(value)
        elif each.cpp_type in {each.CPPTYPE_INT64, each.CPPTYPE_UINT64} and each.json_name in view:
            view[each.json_name] = list(value) if each.is_repeated else value
    return view
