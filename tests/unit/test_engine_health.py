"""Health, version and explain: the documents that operators and their probes read, from a node in any state."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dataplane import health
from dataplane.access_log import LogWriter
from dataplane.config_source import Status
from dataplane.errors import ConnectFailed
from dataplane.explaining import explained as explanation_of
from dataplane.explaining.filters import EXPLAINED
from dataplane.filters import FILTERS
from dataplane.node import Node
from shared.explanation import BadQuestion, as_json, read
from tests.unit.engine_bench import Bench, bench, routed, tabled

MINUTE = 60_000


class Source:
    """A configuration source with the status that a test gives it."""

    def __init__(self, status: Status) -> None:
        self.status = status

    def boot(self) -> None: ...

    async def run(self) -> None: ...

    def stopped(self) -> None: ...


@pytest.fixture
def worker() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture
def node(worker: Bench) -> Node:
    """A node that has no socket and does not run."""
    return Node(worker.live.loop, LogWriter(io.BytesIO()))


# ---- health


def test_version(node: Node) -> None:
    """Name, versions, and for how long it runs."""
    node.apply(tabled(routed()), 12)
    found = health.version(node)
    assert set(found) == {"name", "version", "apiVersion", "configVersion", "python", "uptime"}
    assert (found["name"], found["apiVersion"], found["configVersion"]) == ("flexgate-dataplane", "1.0.0", 12)
    assert 0 <= found["uptime"] < 3600


def test_live_is_up_whatever_happens(node: Node) -> None:
    """Without a configuration and while draining: the process turns its loop, so it must not be killed."""
    for _ in range(2):
        found = health.live(node)
        assert (found["status"], set(found)) == ("UP", {"status", "timestamp", "version"})
        assert datetime.fromisoformat(found["timestamp"]).tzinfo is not None
        node.listener.start_draining()


def test_ready_once_it_can_serve(node: Node) -> None:
    """503 before the first configuration, 200 from then on, 503 while draining; the reason is told."""
    assert _ready(node) == (503, "DOWN", "no configuration yet")
    node.apply(tabled(routed()), 1)
    assert _ready(node) == (200, "UP", None)
    node.listener.start_draining()
    assert _ready(node) == (503, "DOWN", "draining")


@pytest.mark.parametrize(
    ("status", "overall", "check"),
    [
        (Status(), "UP", "DISABLED"),
        (Status(control_plane="cp:50051", connected=True), "UP", "UP"),
        (Status(control_plane="cp:50051"), "DEGRADED", "DOWN"),
    ],
)
def test_a_silent_control_plane_only_degrades(node: Node, status: Status, overall: str, check: str) -> None:
    """What is served goes on being served, so balancers must keep sending."""
    node.source = Source(status)
    node.apply(tabled(routed()), 1)
    code, document = health.ready(node)
    assert (code, document["status"], document["checks"]["controlPlane"]) == (200, overall, check)
    assert set(document["checks"]) == {"config", "upstreams", "redis", "controlPlane"}


def test_deep_tells_everything(node: Node) -> None:
    """It is JSON, in any state, and shows pools, buckets and where the configuration came from."""
    json.dumps(health.deep(node))
    node.source = Source(Status(source="cache", revision=3, digest="ab", last_error="refused", drift_detected=2))
    node.apply(tabled(routed(rateLimit={"max": 1, "windowMs": MINUTE})), 3)
    found = json.loads(json.dumps(health.deep(node)))
    assert found["pools"] == {"origin": {"http://127.0.0.1:9": {"open": 0, "idle": 0}}}
    assert found["rateLimits"] == {"rules": 1, "buckets": 0, "store": []}
    assert found["config"]["revision"] == 3
    assert (found["config"]["source"], found["config"]["lastError"]) == ("cache", "refused")
    assert found["config"]["driftDetected"] == 2
    closed = {"state": "closed", "failures": 0, "successes": 0, "lastFailureTime": None}
    assert found["circuitBreakers"] == {"origin": closed}
    assert found["memory"]["rssPeakBytes"] > 1 << 20
    assert found["connections"] == {"open": 0, "tunnels": 0, "refused": 0, "inFlight": 0}


def test_endpoints_are_told_with_all_that_matters(node: Node) -> None:
    """Who is out, why and until when; one that is out degrades, and nothing that serves goes down by it."""
    endpoints = [{"url": "http://127.0.0.1:1", "weight": 3}, {"url": "http://127.0.0.1:2"}]
    rules = {"loadBalancer": {"policy": "ewma", "slowStart": "10s"}}
    node.apply(tabled(routed() | {"upstreams": [{"name": "origin", "endpoints": endpoints, **rules}]}), 1)
    assert node.compiled is not None
    one, two = node.compiled.runtime.upstreams["origin"].balancer.endpoints
    one.answered(200, 12.0)
    for _ in range(3):
        one.failed(ConnectFailed())
    found = json.loads(json.dumps(health.deep(node)))["upstreams"]["origin"]
    assert (found["policy"], found["panic"]) == ("ewma", False)
    told = found["endpoints"][0]
    assert (told["url"], told["weight"], told["available"]) == ("http://127.0.0.1:1", 3, False)
    assert told["reason"] == "ejected: 3 failures in a row, the last: connect"
    assert 5 < (datetime.fromisoformat(told["ejectedUntil"]) - datetime.now(UTC)).total_seconds() <= 10
    assert told["ewmaMs"] >= 12
    assert found["endpoints"][1]["available"]
    code, document = health.ready(node)
    assert (code, document["status"], document["checks"]["upstreams"]) == (200, "DEGRADED", "DEGRADED")
    two.health.probed(False)
    code, document = health.ready(node)
    assert (code, document["status"], document["checks"]["upstreams"]) == (200, "DEGRADED", "DOWN")
    two.health.probed(True)
    assert health.deep(node)["upstreams"]["origin"]["endpoints"][1]["warmUpPercent"] == 10


def _ready(node: Node) -> tuple[int, str, str | None]:
    code, document = health.ready(node)
    return code, document["status"], document.get("reason")


# ---- explain


def explained(node: Node, question: Any) -> dict[str, Any]:
    """As POST /explain answers."""
    return as_json(explanation_of(node, read(question)))


ROUTES: dict[str, Any] = {
    "routes": [
        {"name": "users", "path": "/users/:id", "upstream": "origin", "methods": ["GET"], "hosts": ["api.example"]},
        {"name": "rest", "path": "/rest/*", "upstream": "origin", "headers": {"X-Tier": "gold"}, "timeout": 5000},
    ]
}


def test_a_match_is_explained(node: Node) -> None:
    """The route, what it captured, what it would do, and a verdict on all of that path; nothing is counted."""
    node.apply(tabled(ROUTES), 4)
    found = explained(node, {"path": "/users//7?x=1", "host": "API.example:443"})
    assert (found["matched"], found["route"], found["revision"]) == (True, "users", 4)
    assert (found["normalisedPath"], found["params"], found["upstreamPath"]) == ("/users/7", {"id": "7"}, "/users/7")
    assert found["endpoints"] == [{"address": "127.0.0.1:9", "available": True, "weight": 1}]
    assert (found["circuitBreaker"], "fallback" in found) == ({"state": "closed"}, False)
    assert {verdict["route"]: verdict["matched"] for verdict in found["routes"]} == {"users": True}
    assert all(verdict["reason"] for verdict in found.get("routes", []))
    assert node.traffic.drain() == []


@pytest.mark.parametrize(
    ("question", "status", "allow"),
    [
        ({"path": "/users/7", "host": "api.example", "method": "post"}, 405, ["GET"]),
        ({"path": "/users/7", "host": "other.example"}, 404, []),
        ({"path": "/rest/x"}, 404, []),
        ({}, 404, []),
    ],
)
def test_a_miss_is_explained(node: Node, question: dict[str, Any], status: int, allow: list[str]) -> None:
    """With the status that a client would get."""
    node.apply(tabled(ROUTES), 4)
    found = explained(node, question)
    assert (found["matched"], found["status"], found.get("allow", [])) == (False, status, allow)
    assert all(verdict["reason"] and not verdict["matched"] for verdict in found.get("routes", []))


def test_headers_of_the_sample_count(node: Node) -> None:
    """In any case of their names; times and sizes that would apply are told."""
    node.apply(tabled(ROUTES), 4)
    found = explained(node, {"path": "/rest/a/b", "headers": {"x-TIER": "gold"}})
    assert (found["route"], found["upstreamPath"], found["timeoutSeconds"]) == ("rest", "/a/b", 5.0)


def test_a_refused_path_is_explained(node: Node) -> None:
    """As the 400 that it would be."""
    node.apply(tabled(ROUTES), 4)
    found = explained(node, {"path": "/a%00"})
    assert not found["matched"]
    assert found["reason"].startswith("400: ")


def test_before_the_first_configuration(node: Node) -> None:
    """There is nothing to match, and that is said."""
    told = explained(node, {})
    assert (told["status"], told["reason"]) == (503, "this node has no configuration yet")


@pytest.mark.parametrize(
    "question", [[], "x", None, 1, {"paht": "/"}, {"path": 1}, {"headers": []}, {"headers": {"a": 1}}, {"method": None}]
)
def test_a_bad_question_is_told_what_to_change(node: Node, question: Any) -> None:
    """Never an exception of another kind."""
    node.apply(tabled(ROUTES), 4)
    with pytest.raises(BadQuestion, match=r"\w"):
        explained(node, question)


def test_an_ipv6_host_is_understood(node: Node) -> None:
    """As the gateway reads it: the brackets stay, the port goes."""
    routes = [{"name": "six", "path": "/", "upstream": "origin", "hosts": ["[2001:db8::1]"]}]
    node.apply(tabled({"routes": routes}), 1)
    for host in ("[2001:DB8::1]:8443", "[2001:db8::1]"):
        assert explained(node, {"host": host})["matched"]


def test_every_filter_is_explained() -> None:
    """The table of what filters would do has the names of the table of filters."""
    assert set(EXPLAINED) == {name for name, _ in FILTERS}
