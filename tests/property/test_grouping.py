"""Views of node groups: whatever is written, a view compiles, has all that its nodes may see, and nothing foreign."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.grouping import Grouping, belongs
from controlplane.snapshot import Snapshot
from controlplane.views import Views
from shared.document import read
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Config, Settings
from shared.table import SETTINGS, Table, table_of, unpack
from shared.yaml_dump import dump
from tests.unit.engine_bench import Bench, bench

Json = dict[str, Any]
GROUPS = ["group-red", "group-green", "group-blue"]
SOME = st.lists(st.sampled_from(GROUPS), unique=True, max_size=2)
LABELS = st.fixed_dictionaries({}, optional={"zone": st.sampled_from("ab"), "tier": st.sampled_from("xy")})


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """Three groups over two labels; upstreams with fallbacks, routes and consumers for any of the groups."""
    upstreams = [
        {"name": f"u{i}", "url": f"http://u{i}:80", "nodeGroups": draw(SOME)}
        | ({"fallback": f"u{draw(st.integers(0, i - 1))}"} if i and draw(st.booleans()) else {})
        for i in range(draw(st.integers(1, 4)))
    ]
    routes = [
        {
            "name": f"route-{i}",
            "path": f"/path-{i}/*",
            "upstream": draw(st.sampled_from([upstream["name"] for upstream in upstreams])),
            "auth": draw(st.sampled_from(["required", "none"])),
            "nodeGroups": draw(SOME),
        }
        for i in range(draw(st.integers(0, 4)))
    ]
    consumers = [{"name": f"consumer-{i}", "nodeGroups": draw(SOME)} for i in range(draw(st.integers(0, 2)))]
    named = st.lists(st.sampled_from([route["name"] for route in routes] or ["x"]), unique=True)
    return {
        "nodeGroups": [{"name": name, "labels": draw(LABELS.filter(bool))} for name in GROUPS],
        "security": {"auth": {"type": "apiKey"}},
        "priorities": [{"name": "high", "weight": 5, "routes": draw(named) if routes else []}],
        "rateLimit": {"perRoute": [{"path": route["path"], "max": 5, "windowMs": 1000} for route in routes[:2]]},
        "upstreams": upstreams,
        "routes": routes,
        "consumers": consumers,
        "credentials": [
            {"name": f"key-{i}", "consumer": one["name"], "type": "apiKey", "key": f"{i}" * 64}
            for i, one in enumerate(consumers)
        ],
    }


def accepted(document: Json) -> Config:
    """The configuration; where a route leads to what its nodes may not see, with those upstreams for everybody."""
    try:
        return read(dump(document)).config
    except ConfigError as error:
        assert {fault.code for fault in error.faults} == {"not_visible"}
        for upstream in document["upstreams"]:
            upstream["nodeGroups"] = []
        return read(dump(document)).config


def mine(config: Config, labels: dict[str, str]) -> dict[str, set[str]]:
    """Naively: what a node with these labels may see, by kind."""
    groups = {group.name for group in config.settings.node_groups if belongs(group, labels)}
    kinds: tuple[tuple[str, Any], ...] = (
        ("route", config.routes),
        ("upstream", config.upstreams),
        ("consumer", config.consumers),
    )
    return {
        kind: {one.name for one in resources if not one.node_groups or groups & set(one.node_groups)}
        for kind, resources in kinds
    }


@given(documents(), LABELS)
@settings(max_examples=150, deadline=None)
def test_a_view_compiles_and_has_nothing_foreign(document: Json, labels: dict[str, str]) -> None:
    """A node has all routes of its groups and what they need; no name of anything else is in the bytes it gets."""
    config = accepted(document)
    grouping = Grouping(table_of(config))
    view = grouping.view(grouping.groups_of(labels))
    allowed = mine(config, labels)
    assert {name for kind, name in view if kind == "route"} == allowed["route"]
    for kind in ("upstream", "consumer"):
        assert {name for known, name in view if known == kind} <= allowed[kind]
    everything = b"".join(resource.body for resource in view.values())
    foreign = [one.name for one in config.routes if one.name not in allowed["route"]]
    foreign += [one.path for one in config.routes if one.name not in allowed["route"]]
    foreign += [one.name for one in config.consumers if one.name not in allowed["consumer"]]
    foreign += [one.key for one in config.credentials if one.consumer not in allowed["consumer"]]
    assert not [word for word in [*foreign, *GROUPS] if word.encode() in everything]
    with bench() as one:
        compiles(one, view)


@given(documents(), documents(), LABELS)
@settings(max_examples=60, deadline=None)
def test_a_view_made_from_the_one_before_is_the_view(first: Json, second: Json, labels: dict[str, str]) -> None:
    """However a configuration came about, the same configuration gives the same view with the same digest."""
    before = Grouping(table_of(accepted(first)))
    table = before.table.changed(*table_of(accepted(second)).since(before.table))
    view = Grouping(table, before).view(before.groups_of(labels), before.view(before.groups_of(labels)))
    fresh = Grouping(table_of(accepted(second))).view(before.groups_of(labels))
    assert view == fresh
    assert view.digest == fresh.digest


@given(documents(), st.data(), LABELS)
@settings(max_examples=100, deadline=None)
def test_views_that_follow_edits_are_the_views(document: Json, data: st.DataObject, labels: dict[str, str]) -> None:
    """Step by step through edits of any kind, a view is what it would be if it were made of nothing."""
    views = Views(Snapshot("e", 1, table_of(accepted(document))))
    views.of(labels)
    for revision in range(2, data.draw(st.integers(2, 6))):
        edit(document, data)
        table = views.whole.table.changed(*table_of(accepted(document)).since(views.whole.table))
        views.follow(views.whole.followed_by("e", revision, table))
        if data.draw(st.booleans()):  # a view that nobody asked for meanwhile must not miss an edit
            fresh = Grouping(table)
            assert views.of(labels).table == fresh.view(fresh.groups_of(labels))


def edit(document: Json, data: st.DataObject) -> None:
    """Change something: contents, mostly, or where a resource belongs, or what there is."""
    kind = data.draw(st.sampled_from(["content", "content", "groups", "route", "gone"]))
    if kind == "route" or not document["routes"]:
        name = f"route-{data.draw(st.integers(0, 9))}"
        document["routes"] = [route for route in document["routes"] if route["name"] != name]
        upstream = document["upstreams"][0]["name"]
        document["routes"].append({"name": name, "path": f"/path-{name}/*", "upstream": upstream, "nodeGroups": []})
        document["priorities"] = []
        return
    resource = data.draw(st.sampled_from([*document["routes"], *document["upstreams"]]))
    if kind == "content":
        resource["metadata"] = {"edit": str(data.draw(st.integers(0, 3)))}
        if "path" in resource and data.draw(st.booleans()):
            resource["path"] = f"/{resource['name']}/{data.draw(st.integers(0, 3))}"
    elif kind == "groups":
        resource["nodeGroups"] = data.draw(SOME)
    else:
        document["routes"].pop()
        document["priorities"] = []
    if data.draw(st.integers(0, 9)) == 0:
        del document["rateLimit"]["perRoute"][:]


@given(documents(), LABELS)
@settings(max_examples=30, deadline=None)
def test_without_groups_everybody_has_everything(document: Json, labels: dict[str, str]) -> None:
    """A configuration that names no groups is one view: the table itself."""
    del document["nodeGroups"]
    for resource in (*document["routes"], *document["upstreams"], *document["consumers"]):
        del resource["nodeGroups"]
    table = table_of(read(dump(document)).config)
    assert Grouping(table).view(Grouping(table).groups_of(labels)) is table


def compiles(one: Bench, view: Table) -> None:
    """The data plane takes the view as a whole."""
    settings = cast(Settings, unpack(view[SETTINGS]))
    assert not settings.node_groups
    one.serve(view)
