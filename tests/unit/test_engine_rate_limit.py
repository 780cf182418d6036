"""The rate-limit filter: which rules act on a request, what it counts by, and every byte of the fields it tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dataplane.errors import TooManyRequests
from dataplane.exchange import Exchange
from shared.faults import ConfigError
from tests.unit.engine_bench import EPOCH, Bench, bench, routed, tabled

MINUTE = 60_000


@pytest.fixture
def worker() -> Iterator[Bench]:
    """A worker that serves nothing yet."""
    with bench() as made:
        yield made


def served(worker: Bench, *fields: tuple[str, str], **request: Any) -> bool:
    """Whether the filters let a request through."""
    try:
        worker.filter(*fields, **request)
    except TooManyRequests:
        return False
    return True


def told(x: Exchange) -> list[str]:
    """The header lines about limits."""
    return x.limit_lines.decode().split("\r\n")


def per_minute(limit: int, **more: Any) -> dict[str, Any]:
    return {"max": limit, "windowMs": MINUTE, **more}


def test_what_a_granted_request_is_told(worker: Bench) -> None:
    """The policy, the limit, what is left, and when the bucket is full again (epoch seconds, and seconds from now)."""
    worker.serve(routed(rateLimit=per_minute(6)))
    worker.filter()
    assert told(worker.filter()) == [
        'RateLimit-Policy: "route";q=6;w=60',
        "X-RateLimit-Limit: 6",
        "X-RateLimit-Remaining: 4",
        f"X-RateLimit-Reset: {int(EPOCH) + 21}",
        'RateLimit: "route";r=4;t=21',
    ]


def test_what_a_refused_request_is_told(worker: Bench) -> None:
    """The message, and the whole seconds until a token is there; after that many one is."""
    worker.serve(routed(rateLimit=per_minute(4, message="Slow down")))
    assert [served(worker) for _ in range(4)] == [True] * 4
    with pytest.raises(TooManyRequests) as refused:
        worker.filter()
    assert (refused.value.message, refused.value.retry_after) == ("Slow down", 15)
    worker.now = 15.0
    assert served(worker)
    worker.now = 29.9
    assert not served(worker)


def test_the_reset_follows_a_clock_that_is_set(worker: Bench) -> None:
    """X-RateLimit-Reset is by the time of day of now, whatever it was when the configuration came; counts stay."""
    worker.serve(routed(rateLimit=per_minute(6)))
    worker.filter()
    for by in (-7200.0, 7200.0):
        worker.set_by = by
        worker.live.sweep()
        lines = told(worker.filter())
        seconds = int(lines[-1].rpartition("t=")[2])
        assert lines[3] == f"X-RateLimit-Reset: {int(EPOCH + by) + seconds}"
    assert lines[2] == "X-RateLimit-Remaining: 3"


def test_a_limit_without_a_message_has_the_usual_one(worker: Bench) -> None:
    """ "Rate limit exceeded", as the contract has it."""
    worker.serve(routed(rateLimit=per_minute(1)))
    worker.filter()
    with pytest.raises(TooManyRequests) as refused:
        worker.filter()
    assert refused.value.message == "Rate limit exceeded"


def test_a_wait_is_never_told_as_nothing(worker: Bench) -> None:
    """Retry-After is at least a second, however fast the bucket fills."""
    worker.serve(routed(rateLimit={"max": 1000, "windowMs": 1000, "burst": 1}))
    worker.filter()
    with pytest.raises(TooManyRequests) as refused:
        worker.filter()
    assert refused.value.retry_after == 1


def test_all_three_kinds_act_together(worker: Bench) -> None:
    """Global, by path and the route's own: each must have a token, and the tightest is told."""
    limits = {"global": per_minute(5), "perRoute": [{"path": "/a/*", **per_minute(4)}]}
    routes = [
        {"path": "/a/b", "upstream": "origin", "rateLimit": per_minute(3)},
        {"path": "/*", "upstream": "origin"},
    ]
    worker.serve({"routes": routes, "rateLimit": limits})
    assert told(worker.filter(path="/a/b"))[4].startswith('RateLimit: "route";r=2')
    assert served(worker, path="/a/b")
    assert served(worker, path="/a/b")
    assert not served(worker, path="/a/b")  # the route's
    assert served(worker, path="/a/c")  # the refused request took nothing from the path's
    assert not served(worker, path="/a/c")
    assert served(worker, path="/")  # nor from the global one
    assert not served(worker, path="/")


def test_burst_is_how_many_at_once(worker: Bench) -> None:
    """More at once than the limit, the same over time; `rateLimit.burst` is that of the global limit."""
    worker.serve(routed() | {"rateLimit": {"burst": 3, "global": per_minute(1)}})
    assert [served(worker) for _ in range(4)] == [True, True, True, False]
    worker.now = 60.0
    assert [served(worker) for _ in range(2)] == [True, False]


def test_a_shadow_limit_counts_and_lets_through(worker: Bench) -> None:
    """As `rateLimit.shadow` for all, unless a rule says otherwise itself."""
    routes = [
        {"name": "dark", "path": "/dark", "upstream": "origin", "rateLimit": per_minute(1)},
        {"name": "light", "path": "/light", "upstream": "origin", "rateLimit": per_minute(1, shadow=False)},
    ]
    worker.serve({"routes": routes, "rateLimit": {"shadow": True}})
    assert [served(worker, path="/dark") for _ in range(3)] == [True] * 3
    assert [served(worker, path="/light") for _ in range(3)] == [True, False, False]
    counted = [(worker.traffic.route(name).limited, worker.traffic.route(name).shadowed) for name in ("dark", "light")]
    assert counted == [(0, 2), (2, 0)]


def test_what_is_switched_off_does_not_limit(worker: Bench) -> None:
    """A rule by its own `enabled`, all of them by that of the section."""
    worker.serve(routed(rateLimit=per_minute(1, enabled=False)))
    assert [served(worker) for _ in range(3)] == [True] * 3
    worker.serve(routed(rateLimit=per_minute(1)) | {"rateLimit": {"enabled": False, "global": per_minute(1)}})
    x = worker.filter()
    assert not x.limit_lines
    assert served(worker)


@pytest.mark.parametrize(
    ("rule", "route", "path", "reached"),
    [
        ("/a/*", "/a/*", "/a/x", True),
        ("/a/*", "/a/b/*", "/a/b/x", True),  # the rule is wider than the route
        ("/a/*", "/a/b", "/a/b", True),
        ("/a/*", "/a", "/a", True),
        ("/a/*", "/*", "/a/x", True),  # the route is wider than the rule
        ("/a/*", "/*", "/a", True),
        ("/a/*", "/*", "/ab", False),
        ("/a/*", "/ab/*", "/ab/x", False),
        ("/a/b", "/*", "/a/b", True),
        ("/a/b", "/*", "/a/bc", False),
        ("/a/b", "/*", "/a/b/c", False),
        ("/a", "/a/*", "/a", True),
        ("/a", "/a/*", "/a/x", False),
        ("/a/b", "/a/c", "/a/c", False),
        ("/users/:id", "/*", "/users/7", True),
        ("/users/:id", "/users/:name", "/users/7", True),
        ("/users/:id", "/*", "/users/7/x", False),
        ("/users/:id/*", "/users/*", "/users/7/x", True),
        ("/a/*", "/:any/x", "/a/x", True),
        ("/a/*", "/:any/x", "/b/x", False),
        ("/*", "/:any/x", "/b/x", True),
    ],
)
def test_a_rule_by_path_reaches(worker: Bench, rule: str, route: str, path: str, reached: bool) -> None:
    """A request is limited where its path matches the rule's pattern, whatever route took it."""
    worker.serve(routed(path=route) | {"rateLimit": {"perRoute": [{"path": rule, **per_minute(1)}]}})
    assert served(worker, path=path)
    assert served(worker, path=path) is not reached


@pytest.mark.parametrize(
    ("key", "same", "other"),
    [
        ("ip", {"ip": "203.0.113.9"}, {"ip": "203.0.113.8"}),
        ("header:X-Tenant", {"fields": [("x-tenant", "a")], "ip": "203.0.113.8"}, {"fields": [("X-Tenant", "b")]}),
        ("apiKey", {"fields": [("X-API-Key", "a")], "ip": "203.0.113.8"}, {"fields": [("X-API-Key", "b")]}),
        ("consumer", {"fields": [("X-API-Key", "a")], "ip": "203.0.113.8"}, {"fields": [("X-API-Key", "b")]}),
    ],
)
def test_what_a_limit_counts_by(worker: Bench, key: str, same: dict[str, Any], other: dict[str, Any]) -> None:
    """Requests of one key share a bucket; another key has its own."""
    keys = [{"key": sha, "name": name} for name, sha in (("A", SHA_A), ("B", SHA_B))]
    document = routed(auth="optional", rateLimit=per_minute(1, key=key))
    worker.serve(document | {"security": {"auth": {"type": "apiKey", "keys": keys}}})
    first = [("X-Tenant", "a"), ("X-API-Key", "a")]
    assert served(worker, *first)
    assert not served(worker, *same.pop("fields", first), **same)
    assert served(worker, *other.pop("fields", first), **other)


SHA_A = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
SHA_B = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"


def test_a_limit_by_route_is_everybody_s(worker: Bench) -> None:
    """`key: route` has one bucket for all clients of a route, another for each route."""
    routes = [{"path": path, "upstream": "origin", "rateLimit": per_minute(1, key="route")} for path in ("/a", "/b")]
    worker.serve({"routes": routes})
    assert served(worker, path="/a")
    assert not served(worker, path="/a", ip="203.0.113.8")
    assert served(worker, path="/b")


@pytest.mark.parametrize("key", ["header:X-Tenant", "apiKey"])
def test_without_a_key_the_address_stands_in(worker: Bench, key: str) -> None:
    """Clients that show none are not counted as one."""
    worker.serve(routed(rateLimit=per_minute(1, key=key)))
    assert served(worker)
    assert not served(worker)
    assert served(worker, ip="203.0.113.8")


def test_the_default_key_can_be_set_for_all(worker: Bench) -> None:
    """`rateLimit.key`, which a rule's own key replaces."""
    worker.serve(routed(rateLimit=per_minute(1)) | {"rateLimit": {"key": "route"}})
    assert served(worker)
    assert not served(worker, ip="203.0.113.8")


def test_nodes_share_a_limit(worker: Bench) -> None:
    """Each of four nodes grants a quarter, from the moment it hears of the others."""
    worker.serve(routed(rateLimit=per_minute(8)))
    worker.live.nodes = 4
    assert [served(worker) for _ in range(3)] == [True, True, False]
    worker.now = 30.0
    assert [served(worker) for _ in range(2)] == [True, False]


def test_buckets_live_through_edits_that_do_not_touch_them(worker: Bench) -> None:
    """A new timeout, a new message, another route: who had used up a limit still has."""
    limit = per_minute(1)
    worker.serve(routed(name="r", rateLimit=limit))
    worker.filter()
    more = {"path": "/new", "upstream": "origin"}
    for edit in (
        routed(name="r", rateLimit=limit, timeout=5000),
        routed(name="r", rateLimit=limit | {"message": "No"}),
        {"routes": [*routed(name="r", rateLimit=limit)["routes"], more]},
        routed(name="r", rateLimit=limit) | {"logging": {"level": "warn"}},
    ):
        worker.serve(edit)
        assert not served(worker)


@pytest.mark.parametrize("edit", [{"max": 2}, {"windowMs": 2 * MINUTE}, {"burst": 2}, {"key": "route"}])
def test_an_edited_limit_begins_anew(worker: Bench, edit: dict[str, Any]) -> None:
    """Tokens counted by another rule mean nothing to this one; the old buckets are gone."""
    worker.serve(routed(name="r", rateLimit=per_minute(1)))
    worker.filter()
    worker.serve(routed(name="r", rateLimit=per_minute(1) | edit))
    assert served(worker)
    assert len(worker.live.limits) == 1


def test_a_refused_configuration_costs_no_bucket(worker: Bench) -> None:
    """Buckets in use go on; those of the failed compile are put away with the next good one."""
    good = routed(name="r", rateLimit=per_minute(1))
    worker.serve(good)
    worker.filter()
    table = tabled(routed(name="r", rateLimit=per_minute(7)))
    broken = table.changed([], [("upstream", "origin")])
    with pytest.raises(ConfigError, match="no upstream"):
        worker.serve(broken)
    assert not served(worker)
    worker.serve(good | {"logging": {"level": "warn"}})
    assert not served(worker)
    assert len(worker.live.limits) == 1


# ---- algorithms and consumers


@pytest.mark.parametrize("algorithm", ["fixed-window", "sliding-window"])
def test_the_algorithm_is_the_rule_s(worker: Bench, algorithm: str) -> None:
    """So many up to the end of the wall clock's minute; a rule without a word of its own has the section's."""
    section = {"rateLimit": {"algorithm": algorithm}}
    worker.serve(routed(rateLimit=per_minute(2)) | section)
    worker.now = 40.0  # EPOCH is 40 s into its minute: 20 s are left
    assert [served(worker) for _ in range(3)] == [True, True, False]
    worker.now = 59.0
    assert not served(worker)
    worker.now = 80.0 + 60.0
    assert served(worker)
    worker.serve(routed(rateLimit=per_minute(2, algorithm="token-bucket")) | section)
    assert [served(worker) for _ in range(3)] == [True, True, False]


def test_an_edited_algorithm_begins_anew(worker: Bench) -> None:
    """What one algorithm counted means nothing to another."""
    worker.serve(routed(name="r", rateLimit=per_minute(1)))
    assert served(worker)
    worker.serve(routed(name="r", rateLimit=per_minute(1, algorithm="fixed-window")))
    assert served(worker)


KEYED = {"security": {"auth": {"type": "apiKey"}}}
CREDENTIALS = [
    {"name": name, "consumer": name, "type": "apiKey", "key": sha} for name, sha in (("a", SHA_A), ("b", SHA_B))
]


def consumed(*consumers: dict[str, Any], **route: Any) -> dict[str, Any]:
    """Two open routes, /x and /y, and the consumers a and b."""
    routes = [{"path": path, "upstream": "origin", "auth": "optional", **route} for path in ("/x", "/y")]
    return KEYED | {"routes": routes, "consumers": list(consumers), "credentials": CREDENTIALS}


def test_a_consumer_s_limit_counts_over_all_routes(worker: Bench) -> None:
    """It is the consumer's own, by whatever address it comes; others and strangers are not concerned."""
    worker.serve(consumed({"name": "a", "rateLimit": per_minute(2, message="Yours")}, {"name": "b"}))
    a, b = ("X-API-Key", "a"), ("X-API-Key", "b")
    assert served(worker, a, path="/x")
    assert served(worker, a, path="/y", ip="203.0.113.8")
    with pytest.raises(TooManyRequests, match="over consumer") as refused:
        worker.filter(a, path="/x")
    assert refused.value.message == "Yours"
    assert all(served(worker, b, path="/x") for _ in range(5))
    assert all(served(worker, path="/x") for _ in range(5))


def test_global_route_and_consumer_act_together(worker: Bench) -> None:
    """The tightest is told; what one refuses takes nothing from the others."""
    document = consumed({"name": "a", "rateLimit": per_minute(3)}, {"name": "b"}, rateLimit=per_minute(2))
    worker.serve(document | {"rateLimit": {"key": "consumer", "global": per_minute(4)}})
    key = ("X-API-Key", "a")
    assert told(worker.filter(key, path="/x"))[4].startswith('RateLimit: "route";r=1')
    assert served(worker, key, path="/x")
    assert [served(worker, key, path="/x") for _ in range(9)] == [False] * 9  # the route's
    assert told(worker.filter(key, path="/y"))[4].startswith('RateLimit: "consumer";r=0')
    assert not served(worker, key, path="/y")  # the consumer's


def test_a_refusal_tells_the_longest_wait(worker: Bench) -> None:
    """Who comes back when told meets no other limit."""
    limits = {"global": {"max": 1, "windowMs": 1000}, "perRoute": [{"path": "/*", **per_minute(1)}]}
    worker.serve(routed() | {"rateLimit": limits})
    assert served(worker)
    with pytest.raises(TooManyRequests) as refused:
        worker.filter()
    assert refused.value.retry_after == 60


def test_counts_of_a_consumer_live_through_edits(worker: Bench) -> None:
    """Of routes, and of other consumers."""
    limited = {"name": "a", "rateLimit": per_minute(1)}
    worker.serve(consumed(limited, {"name": "b"}))
    assert served(worker, ("X-API-Key", "a"), path="/x")
    worker.serve(consumed(limited, {"name": "b", "rateLimit": per_minute(1)}, timeout=5000))
    assert not served(worker, ("X-API-Key", "a"), path="/x")


def test_a_consumer_s_limit_in_the_shadow(worker: Bench) -> None:
    """It counts, and lets through."""
    worker.serve(consumed({"name": "a", "rateLimit": per_minute(1, shadow=True)}, {"name": "b"}))
    assert [served(worker, ("X-API-Key", "a"), path="/x") for _ in range(3)] == [True] * 3
    assert worker.traffic.route("/x").shadowed == 2


def test_a_refusal_is_an_event(worker: Bench) -> None:
    """Told once in a while for each route, however many are refused."""
    worker.serve(routed(name="r", rateLimit=per_minute(1)))
    for _ in range(5):
        served(worker)
    [event] = worker.live.events.recent
    assert (event.name, event.data["subject"], event.data["limit"]) == ("rate_limit.exceeded", "r", "route r")


def test_long_values_of_a_header_do_not_fill_memory(worker: Bench) -> None:
    """They are counted by their hash: the same value meets the same count, another does not."""
    worker.serve(routed(rateLimit=per_minute(1, key="header:X-Tenant")))
    assert served(worker, ("X-Tenant", "a" * 5000))
    assert not served(worker, ("X-Tenant", "a" * 5000))
    assert served(worker, ("X-Tenant", "a" * 4999 + "b"))
    [counts] = worker.live.limits.values()
    assert all(len(key) <= 64 for key in counts._new)
