"""What each balancing policy chooses, with chances and times that the tests set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from dataplane.errors import ConnectFailed
from dataplane.runtime import Upstream
from dataplane.upstream.latency import PeakEwma
from dataplane.upstream.pool import Pool
from tests.unit.engine_bench import Bench, bench, routed

POLICIES = ["round-robin", "least-request", "ewma", "random", "consistent-hash"]


@pytest.fixture
def worker() -> Iterator[Bench]:
    with bench() as made:
        made.live.draw = Random(7).random
        yield made


def served(worker: Bench, weights: list[int], **balancer: Any) -> Upstream:
    """An upstream whose endpoints, on ports from 1, have these weights."""
    endpoints = [{"url": f"http://127.0.0.1:{port}", "weight": weight} for port, weight in enumerate(weights, 1)]
    if balancer.get("policy") == "consistent-hash":
        balancer.setdefault("on", "ip")
    document = {"upstreams": [{"name": "origin", "endpoints": endpoints, "loadBalancer": balancer}], **routed()}
    return worker.serve(document).runtime.upstreams["origin"]


def pick(worker: Bench, upstream: Upstream, *fields: tuple[str, str], ip: str = "192.0.2.1") -> Pool:
    x = worker.exchange(*fields, ip=ip)
    x.client_ip = ip
    pool = upstream.balancer.pick(x, ())
    assert pool is not None
    return pool


def measured(pool: Pool) -> PeakEwma | None:
    return pool.latency


@pytest.mark.parametrize("policy", POLICIES)
def test_shares_follow_weights(worker: Bench, policy: str) -> None:
    """While endpoints bear nothing and are equally fast; a weight of 0 gets nothing."""
    upstream = served(worker, [1, 2, 0, 5], policy=policy)
    count = 8_000
    found = Counter(pick(worker, upstream, ip=f"198.51.{n >> 8}.{n & 255}").endpoint.port for n in range(count))
    shares = [found[port] / count for port in (1, 2, 3, 4)]
    assert shares == pytest.approx([1 / 8, 2 / 8, 0, 5 / 8], abs=0.04)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_tried_is_left_out(worker: Bench, policy: str) -> None:
    """Whatever the policy, a retry goes elsewhere while there is an elsewhere."""
    upstream = served(worker, [1, 1, 1], policy=policy)
    one, two, three = upstream.balancer.endpoints
    for _ in range(20):
        assert upstream.balancer.pick(worker.exchange(), (three, one)) is two
        assert upstream.balancer.pick(worker.exchange(), (one, two, three)) in {one, two, three}


@pytest.mark.parametrize("policy", POLICIES)
def test_one_endpoint_is_always_the_one(worker: Bench, policy: str) -> None:
    """Even when it was tried, and when checks say it is down."""
    upstream = served(worker, [1], policy=policy)
    (only,) = upstream.balancer.endpoints
    only.health.probed(False)
    assert upstream.balancer.pick(worker.exchange(), (only,)) is only


def test_fewest_requests_for_the_weight(worker: Bench) -> None:
    """With two endpoints both are compared: 3 requests at weight 2 are less than 2 at weight 1."""
    upstream = served(worker, [2, 1], policy="least-request")
    one, two = upstream.balancer.endpoints
    one.open, two.open = 3, 2
    assert {pick(worker, upstream) for _ in range(20)} == {one}
    one.open = 5
    assert {pick(worker, upstream) for _ in range(20)} == {two}


def test_requests_that_wait_count(worker: Bench) -> None:
    """An endpoint whose connections are all in use is not idle because nobody has got one yet."""
    upstream = served(worker, [1, 1], policy="least-request")
    one, two = upstream.balancer.endpoints
    two.waiters.append(worker.live.loop.create_future())
    assert {pick(worker, upstream) for _ in range(20)} == {one}


def test_the_faster_endpoint_is_preferred_until_it_is_busy(worker: Bench) -> None:
    """Latency counts times the requests that are there."""
    upstream = served(worker, [1, 1], policy="ewma")
    fast, slow = upstream.balancer.endpoints
    fast.answered(200, 10.0)
    slow.answered(200, 25.0)
    assert {pick(worker, upstream) for _ in range(20)} == {fast}
    fast.open = 2
    assert {pick(worker, upstream) for _ in range(20)} == {slow}


def test_a_slow_answer_is_believed_at_once_and_forgotten_slowly(worker: Bench) -> None:
    """A peak is the average from then on; it fades with time, with and without other answers."""
    upstream = served(worker, [1, 1], policy="ewma")
    one, _ = upstream.balancer.endpoints
    assert one.latency is not None
    one.answered(200, 10.0)
    one.answered(200, 500.0)
    assert one.latency.ms == 500.0
    one.answered(200, 10.0)
    assert one.latency.ms == pytest.approx(500.0)
    worker.now += 10.0
    one.answered(200, 10.0)
    assert one.latency.ms == pytest.approx(500 / 2.718 + 10 * (1 - 1 / 2.718), rel=0.01)
    worker.now += 100.0
    assert one.latency.faded(worker.now) < 0.1


def test_failing_fast_is_not_being_fast(worker: Bench) -> None:
    """An endpoint that refuses connections at once, or answers errors at once, draws no traffic by it."""
    upstream = served(worker, [1, 1], policy="ewma")
    good, bad = upstream.balancer.endpoints
    good.answered(200, 20.0)
    bad.answered(200, 21.0)
    bad.answered(500, 0.1)
    assert {pick(worker, upstream) for _ in range(20)} == {good}
    bad.failed(ConnectFailed())
    good.open = 10
    assert {pick(worker, upstream) for _ in range(20)} == {good}


def test_an_unknown_endpoint_gets_one_request_to_learn_from(worker: Bench) -> None:
    """And no more until that is answered."""
    upstream = served(worker, [1, 1], policy="ewma")
    known, new = upstream.balancer.endpoints
    known.answered(200, 20.0)
    assert {pick(worker, upstream) for _ in range(20)} == {new}
    new.open = 1
    assert {pick(worker, upstream) for _ in range(20)} == {known}


def test_latencies_outlive_edits(worker: Bench) -> None:
    """Of the weights, for one; a policy that has no use for them stops measuring."""
    one, _ = served(worker, [1, 1], policy="ewma").balancer.endpoints
    one.answered(200, 30.0)
    again, _ = served(worker, [2, 1], policy="ewma").balancer.endpoints
    assert again is one
    assert one.latency is not None
    assert one.latency.ms == 30.0
    served(worker, [2, 1], policy="random")
    assert measured(one) is None


KEYED = [
    ("header:X-Tenant", ("x-tenant", "a"), ("x-tenant", "b")),
    ("cookie:sid", ("Cookie", "theme=dark; sid=a"), ("cookie", 'sid=b; SID="a"')),
]


@pytest.mark.parametrize(("on", "one", "other"), KEYED)
def test_the_same_key_goes_to_the_same_endpoint(
    worker: Bench, on: str, one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Whoever sends it; another key may go elsewhere; without a key the address decides."""
    upstream = served(worker, [1] * 40, policy="consistent-hash", on=on)
    ips = [f"192.0.2.{n}" for n in range(30)]
    assert len({pick(worker, upstream, one, ip=ip) for ip in ips}) == 1
    assert pick(worker, upstream, one) is not pick(worker, upstream, other)
    assert len({pick(worker, upstream, ip=ip) for ip in ips}) > 10
    assert len({pick(worker, upstream, ("cookie", "other=a"), ip=ips[0]) for _ in range(9)}) == 1


def test_the_consumer_is_a_key(worker: Bench) -> None:
    """By name, whatever address it comes from."""
    upstream = served(worker, [1] * 40, policy="consistent-hash", on="consumer")
    found = set()
    for n in range(20):
        x = worker.exchange()
        x.consumer, x.client_ip = "tenant", f"192.0.2.{n}"
        found.add(upstream.balancer.pick(x, ()))
    assert len(found) == 1
