"""The check of a change by itself, against the check of the whole: what one finds the other finds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.index import Candidate, Index, facts_of
from controlplane.neighbourhood import examine
from shared.check import check
from shared.check.advice import SHADOWED, advice
from shared.check.conflicts import CONFLICT
from shared.check.required import DUPLICATE
from shared.check.upstreams import CYCLE
from shared.pb.resources_pb2 import (
    Auth,
    Config,
    Consumer,
    Credential,
    NodeGroup,
    Priority,
    Resource,
    Route,
    Settings,
    Split,
    Upstream,
)
from shared.table import SETTINGS, Key, Table, config_of, key_of, pack, table_of

BETWEEN = {CONFLICT, DUPLICATE, CYCLE}
"""Faults between resources: which of them one is told at depends on their order."""
UPSTREAMS = ["u0", "u1", "u2", "u3"]
CONSUMERS = ["c0", "c1"]
GROUPS = st.sampled_from([*[[]] * 8, ["g0"], ["g1"], ["g0", "g1"]])
PATHS = [*["/a"] * 8, "/a/*", "/:x", "/:y", "bad"]

SETTINGS_OF = st.builds(
    Settings,
    priorities=st.lists(
        st.builds(
            Priority,
            name=st.sampled_from(["high", "low"]),
            routes=st.lists(st.sampled_from(["r0", "r1", "/a"]), max_size=2),
        ),
        max_size=2,
    ),
    node_groups=st.lists(
        st.builds(NodeGroup, name=st.sampled_from(["g0", "g1"]), labels=st.just({"z": "a"})), max_size=2
    ),
)
ROUTES = st.builds(
    Route,
    id=st.sampled_from([0, 0, 0, 0, 1, 2]),
    name=st.sampled_from(["r0", "r1", "r2", "r3", "r4"]),
    path=st.sampled_from(PATHS),
    methods=st.sampled_from([[], [], ["GET"], ["GET", "PUT"]]),
    hosts=st.sampled_from([[], [], ["a.com"], ["a.com", "b.com"]]),
    priority=st.integers(0, 2),
    enabled=st.sampled_from([None, None, None, False]),
    upstream=st.sampled_from([*UPSTREAMS * 4, "nope"]),
    split=st.sampled_from([[]] * 5 + [[Split(upstream="u1", weight=1)]]),
    auth=st.sampled_from([None, None, None, Auth(mode="required")]),
    node_groups=GROUPS,
)
RESOURCES: dict[str, st.SearchStrategy[Any]] = {
    "settings": SETTINGS_OF,
    "upstream": st.builds(
        Upstream,
        id=st.integers(0, 3),
        name=st.sampled_from(UPSTREAMS),
        url=st.sampled_from(["http://a.internal"] * 5 + ["http://169.254.169.254", ""]),
        fallback=st.sampled_from(["", "", *UPSTREAMS]),
        node_groups=GROUPS,
    ),
    "route": ROUTES,
    "consumer": st.builds(
        Consumer, name=st.sampled_from(CONSUMERS), priority=st.sampled_from(["", "high"]), node_groups=GROUPS
    ),
    "credential": st.builds(
        Credential,
        name=st.sampled_from(["k0", "k1", "k2"]),
        consumer=st.sampled_from([*["c0"] * 6, "c1", "nope"]),
        type=st.just("apiKey"),
        key=st.sampled_from(["ab" * 32, "AB" * 32, "cd" * 32]),
    ),
}


def resource(kind: str, message: Any) -> Resource:
    return pack(kind, getattr(message, "name", SETTINGS[1]), message)


def packed(kind: str) -> st.SearchStrategy[Resource]:
    return RESOURCES[kind].map(lambda message: resource(kind, message))


ROUTE, UPSTREAM = packed("route"), packed("upstream")
ANY: st.SearchStrategy[Resource] = st.one_of(*(packed(kind) for kind in RESOURCES if kind != "settings"))
SOME = st.lists(ANY, max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table without faults and with a bit of everything: of what is drawn, that which is at fault is taken out."""
    base = Settings(node_groups=[NodeGroup(name=name, labels={"z": "a"}) for name in ("g0", "g1")])
    base.security.auth.type = "apiKey"
    if draw(st.booleans()):
        base.priorities.add(name="high", routes=["r0"])
    resources = [resource("settings", base)]
    for number, name in enumerate(UPSTREAMS):
        fallback = draw(st.sampled_from(["", "", *UPSTREAMS[number + 1 :]]))
        groups = draw(st.sampled_from([[], [], [], [], ["g0", "g1"], ["g0"]]))
        good = Upstream(name=name, url="http://a.internal", fallback=fallback, node_groups=groups)
        resources.append(resource("upstream", good))
    resources += [resource("route", draw(ROUTES)) for _ in range(5)]
    resources += [resource("route", Route(name="r0", path="/r0", upstream="u0")), *draw(SOME)]
    resources.append(resource("consumer", Consumer(name="c0")))
    table = Table(resources)
    while faults := check(config_of(table)):
        bad: set[Key] = {(fault.kind, fault.name) for fault in faults}
        table = table.changed([resource("settings", base)] if SETTINGS in bad else [], bad - {SETTINGS})
        if bad == {SETTINGS}:
            table = table.changed([resource("settings", Settings())], [])
    return ordered(table)


def ordered(table: Table) -> Table:
    """By kind, as a table of a document is."""
    return table_of(config_of(table))


def changes(table: Table) -> st.SearchStrategy[dict[Key, Resource | None]]:
    deleted = [key for key in table if key != SETTINGS] or [("route", "none")]
    some = st.sampled_from([0, 0, 0, 0, 1, 2]).flatmap(
        lambda n: st.lists(st.sampled_from(deleted), min_size=n, max_size=n)
    )
    puts = st.sampled_from([ANY, ANY, ROUTE, st.tuples(ROUTE, ANY), st.tuples(UPSTREAM, ROUTE)]).flatmap(
        lambda one: one
    )
    made = puts.map(lambda given: given if isinstance(given, tuple) else (given,))
    return st.builds(lambda gone, put: dict.fromkeys(gone) | {key_of(one): one for one in put}, some, made)


@settings(max_examples=400)
@given(st.data())
def test_a_change_checked_by_itself_is_checked(data: st.DataObject) -> None:
    """Its faults are those of the whole; faults between resources are told as often as there are any."""
    before = data.draw(tables())
    changed: dict[Key, Resource | None] = data.draw(changes(before))
    changed.pop(SETTINGS, None)  # then the whole is checked anyway
    index = Index()
    index.move(before)
    upserts = [one for one in changed.values() if one is not None]
    after = before.changed(upserts, [key for key, one in changed.items() if one is None])
    found = examine(Candidate(index, changed), after)

    config = config_of(after)
    whole = check(config)
    names = {(fault.kind, fault.name, fault.code) for fault in whole if fault.code not in BETWEEN}
    assert {(fault.kind, fault.name, fault.code) for fault in found.faults if fault.code not in BETWEEN} == names
    assert {fault.code for fault in found.faults} == {fault.code for fault in whole}
    assert not any("[" in fault.message.partition("'")[0] for fault in found.faults), found.faults
    if not whole:
        shadowed = {config.routes[int(w.path[7:-1])].name for w in advice(config) if w.code == SHADOWED}
        told = {warning.name for warning in found.warnings if warning.code == SHADOWED}
        assert told <= shadowed
        assert {name for name in shadowed if ("route", name) in changed} <= told


@given(st.data())
def test_an_index_moves_along(data: st.DataObject) -> None:
    """Moved from table to table, it answers as one that was made of the last table."""
    moved, config = Index(), Config()
    for _ in range(3):
        table = data.draw(tables())
        moved.move(table)
        config = config_of(table)
    fresh = Index()
    fresh.move(table_of(config))
    assert moved.facts == fresh.facts
    assert moved._by.keys() == fresh._by.keys()
    assert all(set(moved._by[entry]) == set(fresh._by[entry]) for entry in fresh._by)
    for key, one in fresh.table.items():
        facts = facts_of(one)
        assert all(key in moved.users(used) for used in facts.refers)
        assert all(key in moved.claimants(claim) for claim in facts.claims)
