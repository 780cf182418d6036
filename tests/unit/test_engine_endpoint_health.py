"""Endpoints that come, go, fail and return: which of them are picked, by a clock that the tests turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dataplane.errors import (
    ClientGone,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    GatewayError,
    PoolExhausted,
    RequestTimeout,
    ResponseTooLarge,
    UpstreamError,
    UpstreamTimeout,
)
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


def ejected(pool: Pool) -> bool:
    return pool.health.ejected


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


def test_an_edit_of_the_ejection_time_concerns_who_is_out(worker: Bench) -> None:
    """Out for an hour by mistake, it is back when the mended time has passed since it was ejected."""
    first = pools(served(worker, passiveHealth={"consecutiveFailures": 1, "ejectionTime": "1h"}))[0]
    first.failed(ConnectFailed())
    assert ejected(first)
    worker.now = 8.0
    upstream = served(worker, passiveHealth={"consecutiveFailures": 1, "ejectionTime": "10s"})
    for now, out in ((9.9, True), (10.1, False)):
        worker.now = now
        worker.deadlines.sweep()
        assert ejected(first) is out
    assert picked(worker, upstream) == {1, 2, 3}


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


# ---- ejection


def fail(pool: Pool, times: int = 3) -> None:
    """So many attempts at it find nobody."""
    for _ in range(times):
        pool.failed(ConnectFailed())


def turn(worker: Bench, seconds: float) -> None:
    """Time passes, and the sweep comes by."""
    worker.now += seconds
    worker.deadlines.sweep()


def test_failures_in_a_row_eject(worker: Bench) -> None:
    """Three unless it is said otherwise; a success between them begins anew. It returns by itself."""
    upstream = served(worker)
    first = pools(upstream)[0]
    fail(first, 2)
    first.answered(200, 1.0)
    fail(first, 2)
    assert picked(worker, upstream) == {1, 2, 3}
    fail(first, 1)
    assert picked(worker, upstream) == {2, 3}
    assert first.health.reason == "ejected: 3 failures in a row, the last: connect"
    assert worker.live.traffic.upstream("origin").ejections == 1
    turn(worker, 9.9)
    assert picked(worker, upstream) == {2, 3}
    turn(worker, 0.2)
    assert picked(worker, upstream) == {1, 2, 3}
    assert [event.name for event in worker.live.events.recent] == ["upstream.failure", "upstream.recovered"]


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectFailed(), True),
        (ConnectTimeout(), True),
        (ConnectionLost(), True),
        (UpstreamTimeout(), True),
        (UpstreamError(), True),
        (RequestTimeout(), True),
        (ResponseTooLarge(), False),
        (PoolExhausted(), False),
        (ClientGone(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_gateway_or_the_client_did_is_no_failure(worker: Bench, error: GatewayError, counts: bool) -> None:
    """Only what the endpoint is to blame for ejects it."""
    first = pools(served(worker))[0]
    for _ in range(3):
        first.failed(error)
    assert ejected(first) is counts


@pytest.mark.parametrize(("status", "counts"), [(500, True), (503, True), (599, True), (499, False), (404, False)])
def test_errors_of_the_service_are_failures(worker: Bench, status: int, counts: bool) -> None:
    """5xx, and not what it says about the client's request."""
    first = pools(served(worker))[0]
    for _ in range(3):
        first.answered(status, 1.0)
    assert ejected(first) is counts


@pytest.mark.parametrize(
    ("count", "percent", "most"), [(1, 100, 0), (2, 50, 1), (2, 49, 0), (3, 50, 1), (4, 50, 2), (3, 100, 3), (9, 10, 0)]
)
def test_no_more_are_ejected_than_may_be(worker: Bench, count: int, percent: int, most: int) -> None:
    """The share is rounded down; a single endpoint always stays."""
    upstream = served(worker, count, passiveHealth={"maxEjectedPercent": percent})
    for pool in pools(upstream):
        fail(pool, 10)
    assert sum(pool.health.ejected for pool in pools(upstream)) == most


def test_an_endpoint_without_weight_is_no_reserve(worker: Bench) -> None:
    """It gets no traffic, so the only other one is not ejected: of one endpoint, none may be out."""
    endpoints = [{"url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.1:2", "weight": 0}]
    document = {"upstreams": [{"name": "origin", "endpoints": endpoints}], **routed()}
    upstream = worker.serve(document).runtime.upstreams["origin"]
    fail(pools(upstream)[0], 10)
    assert not ejected(pools(upstream)[0])


def test_what_checks_took_out_counts_towards_the_share(worker: Bench) -> None:
    """Two of four are down: failures take no third."""
    upstream = served(worker, 4)
    one, two, three, _ = pools(upstream)
    one.health.probed(False)
    two.health.probed(False)
    fail(three)
    assert picked(worker, upstream) == {3, 4}
    two.health.probed(True)
    fail(three, 1)
    assert picked(worker, upstream) == {2, 4}


def test_an_endpoint_that_goes_on_failing_is_out_for_longer(worker: Bench) -> None:
    """Once more each time, at most ten times as long; after its return one failure is enough."""
    upstream = served(worker)
    first = pools(upstream)[0]
    fail(first)
    for times in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10):
        turn(worker, times * 10 - 0.1)
        assert ejected(first)
        turn(worker, 0.2)
        assert not ejected(first)
        fail(first, 1)
        assert ejected(first)


def test_being_well_is_rewarded_step_by_step(worker: Bench) -> None:
    """Each ejection time without a new ejection forgives one; a success ends the probation."""
    upstream = served(worker)
    first = pools(upstream)[0]
    for wait in (0, 10, 20):
        turn(worker, wait + 0.1)
        fail(first)
    assert first.health.ejections == 3
    turn(worker, 30.1)
    first.answered(200, 1.0)
    fail(first, 2)
    assert not ejected(first)
    turn(worker, 20.0)
    fail(first, 1)
    assert (ejected(first), first.health.ejections) == (True, 2)


def test_ejections_outlive_edits_that_do_not_touch_the_endpoint(worker: Bench) -> None:
    """It stays out, returns in its time, and to the balancer that serves then."""
    fail(pools(served(worker))[0])
    edited = served(worker, timeout=1234, loadBalancer="random")
    assert picked(worker, edited) == {2, 3}
    turn(worker, 10.1)
    assert picked(worker, edited, 60) == {1, 2, 3}


def test_passive_health_switched_off_takes_everyone_back(worker: Bench) -> None:
    """At once, and failures eject no more."""
    fail(pools(served(worker))[0])
    edited = served(worker, passiveHealth={"enabled": False})
    assert picked(worker, edited) == {1, 2, 3}
    fail(pools(edited)[1], 10)
    assert picked(worker, edited) == {1, 2, 3}


def test_both_must_find_it_well(worker: Bench) -> None:
    """An ejected endpoint whose checks fail stays out when its time is over, and returns with the check."""
    upstream = served(worker)
    first = pools(upstream)[0]
    fail(first)
    first.health.probed(False, "timeout")
    turn(worker, 10.1)
    assert picked(worker, upstream) == {2, 3}
    assert first.health.reason == "down: timeout"
    first.health.probed(True)
    assert picked(worker, upstream) == {1, 2, 3}


def test_an_endpoint_that_is_gone_tells_nothing(worker: Bench) -> None:
    """Requests that were on their way to it may still fail."""
    first = pools(served(worker, 3))[0]
    document = {"upstreams": [{"name": "origin", "endpoints": [{"url": "http://127.0.0.1:2"}]}], **routed()}
    worker.serve(document)
    fail(first, 10)
    turn(worker, 100.0)
    assert not worker.live.events.recent


# ---- panic


def test_below_the_threshold_all_are_used(worker: Bench) -> None:
    """Two of four is half; one of four is less, and what is left would only be overrun."""
    upstream = served(worker, 4, loadBalancer={"panicThreshold": 50})
    one, two, three, _ = pools(upstream)
    one.health.probed(False)
    two.health.probed(False)
    assert picked(worker, upstream) == {3, 4}
    three.health.probed(False)
    assert picked(worker, upstream) == {1, 2, 3, 4}
    three.health.probed(True)
    assert picked(worker, upstream) == {3, 4}
    told = [event.data for event in worker.live.events.recent if event.name == "upstream.panic"]
    assert [(data["panic"], data["available"], data["endpoints"]) for data in told] == [(True, 1, 4), (False, 2, 4)]


def test_with_a_fallback_none_is_picked_when_none_is_left(worker: Bench) -> None:
    """So that the fallback serves; some are better than the fallback."""
    rest = [{"name": "other", "url": "http://127.0.0.1:99"}]
    endpoints = [{"url": f"http://127.0.0.1:{port}"} for port in (1, 2)]
    rules = {"fallback": "other", "loadBalancer": {"panicThreshold": 60}}
    document = {"upstreams": [{"name": "origin", "endpoints": endpoints, **rules}, *rest], **routed()}
    upstream = worker.serve(document).runtime.upstreams["origin"]
    one, two = pools(upstream)
    one.health.probed(False)
    assert picked(worker, upstream) == {1, 2}
    two.health.probed(False)
    assert picked(worker, upstream) == set()
    assert not panics(upstream)


# ---- slow start


def shares(worker: Bench, upstream: Upstream) -> dict[int, int]:
    """How often each port is picked in 110 picks."""
    found = [upstream.balancer.pick(worker.exchange(), ()) for _ in range(110)]
    return Counter(pool.endpoint.port for pool in found if pool is not None)


def test_an_endpoint_that_returns_warms_up(worker: Bench) -> None:
    """From a tenth of its weight to all of it, in tenths."""
    upstream = served(worker, 2, loadBalancer={"slowStart": 10_000})
    assert shares(worker, upstream) == {1: 55, 2: 55}
    first = pools(upstream)[0]
    first.health.probed(False)
    first.health.probed(True)
    assert shares(worker, upstream) == {1: 10, 2: 100}
    before = 10
    for _ in range(8):
        turn(worker, 1.0)
        now = shares(worker, upstream)[1]
        assert now > before
        before = now
    turn(worker, 1.0)
    assert shares(worker, upstream) == {1: 55, 2: 55}


def test_a_newcomer_warms_up_and_those_who_were_there_do_not(worker: Bench) -> None:
    """Whether an edit adds it or a name has a new address."""
    served(worker, 1, loadBalancer={"slowStart": 10_000})
    upstream = served(worker, 2, loadBalancer={"slowStart": 10_000})
    assert shares(worker, upstream) == {1: 100, 2: 10}


def test_an_edit_can_end_a_slow_start(worker: Bench) -> None:
    """Without it, the endpoint has its whole weight at once."""
    served(worker, 1, loadBalancer={"slowStart": 10_000})
    served(worker, 2, loadBalancer={"slowStart": 10_000})
    upstream = served(worker, 2)
    assert shares(worker, upstream) == {1: 55, 2: 55}
