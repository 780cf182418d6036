"""Endpoints that come, go, fail and return: which of them are picked, by a clock that the tests turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dataplane.runtime import Upstream
from dataplane.upstream.pool import Pool
from tests.unit.engine_bench import Bench, bench, routed


@pytest.fixture
def worker() -> Iterator[Bench]:
    with bench() as made:
        yield made


def served(worker: Bench, count: int = 3, **keys: Any) -> Upstream:
    """An upstream of so many endpoints, on ports from 1."""
    endpoints = [{"url": f"http://127.0.0.1:{port}"} for port in range(1, count + 1)]
    document = {"upstreams": [{"name": "origin", "endpoints": endpoints, **keys}], **routed()}
    return worker.serve(document).runtime.upstreams["origin"]


def pools(upstream: Upstream) -> list[Pool]:
    return list(upstream.balancer.endpoints)


def picked(worker: Bench, upstream: Upstream, count: int = 12) -> set[int]:
    """The ports that so many picks went to."""
    found = [upstream.balancer.pick(worker.exchange(), ()) for _ in range(count)]
    return {pool.endpoint.port for pool in found if pool is not None}


def panics(upstream: Upstream) -> bool:
    return upstream.balancer.panic


def test_what_is_down_is_not_picked(worker: Bench) -> None:
    """From the moment that a check says so until it says otherwise; both are events."""
    upstream = served(worker)
    first = pools(upstream)[0]
    first.health.probed(False, "status 503")
    assert picked(worker, upstream) == {2, 3}
    assert first.health.reason == "down: status 503"
    first.health.probed(True)
    assert picked(worker, upstream) == {1, 2, 3}
    told = [(event.name, event.data) for event in worker.live.events.recent]
    who = {"upstream": "origin", "endpoint": "127.0.0.1:1"}
    assert told == [("upstream.failure", {**who, "reason": "down: status 503"}), ("upstream.recovered", who)]


def test_when_none_is_left_all_are_used(worker: Bench) -> None:
    """Checks that find everything down are more likely wrong than right; a refusal would be certain."""
    upstream = served(worker)
    for pool in pools(upstream):
        pool.health.probed(False)
    assert panics(upstream)
    assert picked(worker, upstream) == {1, 2, 3}
    pools(upstream)[1].health.probed(True)
    assert not panics(upstream)
    assert picked(worker, upstream) == {2}


def test_what_was_tried_is_not_picked_again(worker: Bench) -> None:
    """While another is available; then any."""
    upstream = served(worker)
    one, two, three = pools(upstream)
    for _ in range(6):
        assert upstream.balancer.pick(worker.exchange(), (one, three)) is two
        assert upstream.balancer.pick(worker.exchange(), (one, two, three)) in {one, two, three}
    two.health.probed(False)
    assert upstream.balancer.pick(worker.exchange(), (one,)) is three
    assert upstream.balancer.pick(worker.exchange(), (one, three)) in {one, three}


def test_endpoints_are_replaced_while_serving(worker: Bench) -> None:
    """Those that stay keep their health, those that go are closed and forgotten, newcomers take their turn."""
    upstream = served(worker)
    one, two, three = pools(upstream)
    two.health.probed(False)
    other = served(worker, 4)
    assert other is not upstream
    four = pools(other)[3]
    worker.live.relocate(other, {two: two.endpoint, three: three.endpoint, four: four.endpoint})
    assert picked(worker, other) == {3, 4}
    assert set(worker.live.pools.values()) == {two, three, four}
    assert not one.keep_alive
    assert four.keep_alive
    one.health.probed(False)
    assert picked(worker, other) == {3, 4}


def test_health_outlives_edits(worker: Bench) -> None:
    """Of anything but the endpoint itself."""
    down = pools(served(worker))[0]
    down.health.probed(False)
    edited = served(worker, timeout=1234)
    assert pools(edited)[0] is down
    assert picked(worker, edited) == {2, 3}
    down.health.probed(True)
    assert picked(worker, edited) == {1, 2, 3}
