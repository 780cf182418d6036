"""Compiling step by step, as edits come in, against compiling each configuration afresh."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.routing import Found
from shared.faults import ConfigError
from shared.table import Table
from tests.golden.description import described
from tests.unit.engine_bench import Bench, bench, tabled

Json = dict[str, Any]
UPSTREAM = st.fixed_dictionaries(
    {"url": st.sampled_from(["http://a:1", "http://b:2", "http://b:2/base"])},
    optional={"timeout": st.sampled_from([1000, 2000, {"connect": 10}]), "connectionPool": st.just({"maxSockets": 3})},
)
LIMIT = st.fixed_dictionaries({"max": st.integers(1, 2), "windowMs": st.just(1000)})
ROUTE = st.fixed_dictionaries(
    {"upstream": st.sampled_from(["u0", "u1"])},
    optional={
        "timeout": st.just(300),
        "enabled": st.booleans(),
        "rateLimit": LIMIT,
        "auth": st.sampled_from(["required", "none"]),
        "methods": st.sampled_from([["GET"], ["POST"]]),
        "headers": st.just({"X-A": "1"}),
        "stripPath": st.booleans(),
        "deprecated": st.just("old"),
    },
)
PATHS = ["/a", "/a/*", "/:x", "/b/:y/*"]
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "proxy": st.sampled_from([{"timeout": 5000}, {"maxBodySize": 7}, {"systemEndpoints": False}]),
        "rateLimit": st.sampled_from(
            [{"global": {"max": 5, "windowMs": 1000}}, {"perRoute": [{"path": "/a/*", "max": 9, "windowMs": 1000}]}]
        ),
        "connectionPool": st.just({"maxFreeSockets": 1}),
        "logging": st.just({"level": "warn"}),
        "credentials": st.just([{"name": "c", "consumer": "k", "type": "apiKey", "key": "0" * 64}]),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """Two upstreams, up to four routes under fixed names, sections that concern everything."""
    routes = draw(st.dictionaries(st.sampled_from(range(len(PATHS))), ROUTE, max_size=len(PATHS)))
    return {
        "security": {"auth": {"type": "apiKey"}},
        "consumers": [{"name": "k"}],
        "upstreams": [{"name": name, **draw(UPSTREAM)} for name in ("u0", "u1")],
        "routes": [{"name": f"r{index}", "path": PATHS[index], **route} for index, route in routes.items()],
        **draw(SECTIONS),
    }


@st.composite
def edited(draw: st.DrawFn, document: Json) -> Json:
    """The document after one edit: of an upstream, a route, the sections, or of everything."""
    other = draw(documents())
    part = draw(st.sampled_from(["upstreams", "upstreams", "routes", "routes", "sections", "everything"]))
    if part == "everything":
        return other
    if part == "upstreams":
        return document | {"upstreams": [other["upstreams"][0], document["upstreams"][1]]}
    if part == "routes":
        return document | {"routes": other["routes"][:1] + [r for r in document["routes"] if r not in other["routes"]]}
    return other | {"routes": document["routes"], "upstreams": document["upstreams"]}


def _named_once(document: Json) -> Json:
    return document | {"routes": list({route["name"]: route for route in reversed(document["routes"])}.values())}


@st.composite
def histories(draw: st.DrawFn) -> list[Table]:
    """Tables as they follow each other, mostly one edit apart; some that no node can serve."""
    document = draw(documents())
    tables = [tabled(document)]
    for _ in range(draw(st.integers(1, 6))):
        document = _named_once(draw(edited(document)))
        table = tabled(document)
        broken = draw(st.integers(0, 4)) == 4
        tables.append(table.changed([], [("upstream", "u0")]) if broken else table)
    return tables


def attempt(worker: Bench, table: Table) -> list[str] | None:
    """Serve a table; the faults where it is refused."""
    try:
        worker.serve(table)
    except ConfigError as error:
        return sorted(str(fault) for fault in error.faults)
    return None


def answers(worker: Bench) -> list[str]:
    """Which route takes what."""
    assert worker.compiled is not None
    router = worker.compiled.runtime.router
    probes = [
        (path, method, fields)
        for path in ("/a", "/a/", "/a/b", "/c", "/b/1", "/b/1/2", "/z/z")
        for method in ("GET", "POST")
        for fields in ((), ((b"x-a", b"1"),))
    ]
    found = [router.match(path, "x", method, fields, None) for path, method, fields in probes]
    return [one.target.name if isinstance(one, Found) else str(sorted(one.allowed)) for one in found]


@settings(max_examples=60)
@given(histories())
def test_step_by_step_is_as_afresh(tables: list[Table]) -> None:
    """After every edit the runtime is the one that a node which never saw the edits before would have."""
    with bench() as worker:
        for table in tables:
            with bench() as fresh:
                faults, expected = attempt(worker, table), attempt(fresh, table)
                assert faults == expected
                if worker.compiled is None or fresh.compiled is None:
                    continue
                assert described(worker.compiled) == described(fresh.compiled)
                assert answers(worker) == answers(fresh)
                assert worker.compiled.runtime.table.digest == table.digest


@settings(max_examples=60)
@given(histories())
def test_live_state_is_that_of_what_is_served(tables: list[Table]) -> None:
    """After every swap there are pools and buckets for what the configuration names, the same ones as before."""
    with bench() as worker:
        for table in tables:
            pools, limits = dict(worker.live.pools), dict(worker.live.limits)
            if attempt(worker, table) is not None:
                assert pools.items() <= worker.live.pools.items()
                assert limits.items() <= worker.live.limits.items()
                continue
            assert worker.compiled is not None
            if worker.compiled.runtime.revision > 1:
                assert set(worker.live.pools.values()) == worker.compiled.pools
                assert set(worker.live.limits) == worker.compiled.limit_keys
            assert all(worker.live.pools[key] is pool for key, pool in pools.items() if key in worker.live.pools)
            assert all(worker.live.limits[key] is one for key, one in limits.items() if key in worker.live.limits)


@settings(max_examples=40)
@given(documents())
def test_a_refused_table_changes_nothing(document: Json) -> None:
    """Not what is served, not one object of it."""
    with bench() as worker:
        worker.serve(document)
        compiled = worker.compiled
        assert compiled is not None
        before = described(compiled)
        broken = compiled.runtime.table.changed([], [("upstream", "u0"), ("upstream", "u1")])
        if not compiled.runtime.routes:
            return
        with pytest.raises(ConfigError):
            worker.serve(broken)
        assert worker.compiled is compiled
        assert described(compiled) == before
