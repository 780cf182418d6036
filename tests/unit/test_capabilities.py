"""Capabilities: what programs say they can do, what an older one lacks, and what operators are told of it."""

from __future__ import annotations

from controlplane.changes import Changed
from controlplane.skew import warnings
from shared.capabilities import ANNOUNCED, KNOWN, lacks, used
from shared.document import read
from shared.pb.resources_pb2 import Route
from shared.table import pack, table_of, unpack
from shared.unenforced import LATER

ROUTE = Route(name="r", path="/r", upstream="u", deprecated="old")


def changed(before: Route | None, after: Route | None) -> Changed:
    """What became of the route."""
    return Changed(
        ("route", "r"), pack("route", "r", before) if before else None, pack("route", "r", after) if after else None
    )


def test_the_same_version_lacks_nothing() -> None:
    """What this program announces is all that it asks for itself."""
    assert lacks(ANNOUNCED) == frozenset()
    assert LATER.keys() - {"Settings.tracing"} <= KNOWN


def test_an_older_program_lacks_what_is_new() -> None:
    """A field that it does not announce, and one that it accepts and does not act on."""
    older = {*ANNOUNCED} - {"Route.deprecated"} | {"!Route.rewrite"}
    assert lacks(older) == {"Route.deprecated", "Route.rewrite"}


def test_who_announces_no_fields_is_not_judged() -> None:
    """Kinds alone say nothing about fields."""
    assert lacks({"route", "upstream", "ask"}) == frozenset()


def test_every_field_of_a_document_is_known() -> None:
    """What is used in resources of all kinds are capabilities, with the path of each."""
    text = """
    proxy: {timeout: {idle: 5s}, trustedProxies: [10.0.0.0/8]}
    upstreams: [{name: a, endpoints: [{url: 'http://a'}, {url: 'http://b', weight: 2}]}]
    routes: [{path: /a, upstream: a, headers: {X-A: {prefix: b}}, metadata: {x: y}}]
    """
    found = [pair for resource in table_of(read(text).config).values() for pair in used(unpack(resource))]
    assert {field for field, _ in found} <= KNOWN
    assert ("Endpoint.weight", "endpoints[1].weight") in found
    assert ("StringMatch.prefix", "headers.X-A.prefix") in found
    assert ("Timeouts.idle", "proxy.timeout.idle") in found


def test_what_a_change_brings_is_told() -> None:
    """A warning has the field's path and names the nodes; what was there before, or goes, is no news."""
    lacking = {name: {"Route.deprecated"} for name in ("e", "a", "c", "b", "d")}
    [told] = warnings([changed(None, ROUTE)], lacking)
    assert (told.path, told.kind, told.name, told.code) == ("deprecated", "route", "r", "not_supported")
    assert told.message.startswith("nodes a, b, c and 2 more cannot do this yet")
    assert warnings([changed(ROUTE, Route(name="r", path="/x", deprecated="old"))], lacking) == []
    assert warnings([changed(ROUTE, None)], lacking) == []
    assert warnings([changed(None, ROUTE)], {}) == []
