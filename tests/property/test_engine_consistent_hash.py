"""Consistent hashing: what moves when endpoints come, go, fail and return, and what never does."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.runtime import Upstream
from tests.unit.engine_bench import Bench, bench, routed

IPS = [f"10.{n >> 8}.{n & 255}.7" for n in range(2_000)]
PORTS = st.sets(st.integers(1, 60_000), min_size=2, max_size=12)
Placed = dict[str, int]
"""key -> port"""


def served(worker: Bench, weights: dict[int, int]) -> Upstream:
    endpoints: list[dict[str, Any]] = [{"url": f"http://127.0.0.1:{p}", "weight": w} for p, w in weights.items()]
    rule = {"policy": "consistent-hash", "on": "ip"}
    document = {"upstreams": [{"name": "origin", "endpoints": endpoints, "loadBalancer": rule}], **routed()}
    return worker.serve(document).runtime.upstreams["origin"]


def placed(worker: Bench, upstream: Upstream) -> Placed:
    """Where each key goes."""
    found: Placed = {}
    x = worker.exchange()
    for ip in IPS:
        x.client_ip = ip
        pool = upstream.balancer.pick(x, ())
        assert pool is not None
        found[ip] = pool.endpoint.port
    return found


@settings(max_examples=25, deadline=None)
@given(PORTS, st.data())
def test_only_keys_of_what_fails_move(ports: set[int], data: st.DataObject) -> None:
    """They spread over the others, everyone else's stay, and all come back when it does."""
    with bench() as worker:
        upstream = served(worker, dict.fromkeys(ports, 1))
        before = placed(worker, upstream)
        failing = data.draw(st.sampled_from(list(upstream.balancer.endpoints)))
        failing.health.probed(False)
        during = placed(worker, upstream)
        gone = failing.endpoint.port
        assert all(during[ip] == port for ip, port in before.items() if port != gone)
        moved = Counter(during[ip] for ip, port in before.items() if port == gone)
        assert gone not in moved
        fair = moved.total() / (len(ports) - 1)
        assert all(moved[port] <= 2 * fair + 12 for port in ports - {gone})
        failing.health.probed(True)
        assert placed(worker, upstream) == before


@settings(max_examples=25, deadline=None)
@given(PORTS, st.integers(60_001, 65_000))
def test_a_newcomer_takes_its_share_and_nothing_else_moves(ports: set[int], new: int) -> None:
    """Every key either stays where it was or goes to the new endpoint: about one in n."""
    with bench() as worker:
        before = placed(worker, served(worker, dict.fromkeys(ports, 1)))
        after = placed(worker, served(worker, dict.fromkeys([new, *ports], 1)))
        assert all(after[ip] in {port, new} for ip, port in before.items())
        share = sum(port == new for port in after.values()) / len(IPS)
        assert 0.6 / (len(ports) + 1) < share < 1.5 / (len(ports) + 1)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(1, 7)))
def test_every_node_agrees(order: list[int]) -> None:
    """Whatever order the endpoints are listed in, and whatever the process."""
    with bench() as one, bench() as other:
        first = placed(one, served(one, {port: port for port in range(1, 7)}))
        assert placed(other, served(other, {port: port for port in order})) == first


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.integers(1, 60_000), st.integers(0, 1000), min_size=2, max_size=8))
def test_a_ring_stays_bounded_and_gives_everyone_with_a_weight_a_place(weights: dict[int, int]) -> None:
    """However large weights are; those without a weight get nothing."""
    weights[60_001] = 1000
    with bench() as worker:
        upstream = served(worker, weights)
        owners = {pool.endpoint.port for pool in upstream.balancer.owners}  # type: ignore[attr-defined]  # a ring's
        assert owners == {port for port, weight in weights.items() if weight}
        assert len(upstream.balancer.points) <= 16_384 + 16 * len(weights)  # type: ignore[attr-defined]  # the same
