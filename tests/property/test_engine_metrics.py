"""Counts: nothing lost, nothing told twice, and buckets that mean what Prometheus takes them for."""

from __future__ import annotations

import io
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client.parser import text_string_to_metric_families

from dataplane.access_log import LogWriter
from dataplane.exposition import exposition
from dataplane.metrics import UNMATCHED, RouteTraffic, Traffic
from dataplane.node import Node
from shared.histogram import bucket_of
from tests.unit.engine_bench import bench

ROUTES = st.sampled_from(["a", "b", UNMATCHED])
METHODS = st.sampled_from(["GET", "POST"])
STATUSES = st.sampled_from([200, 404, 499])
LATENCIES = st.sampled_from([0.0, 5.0, 5.0000001, 10.0, 99.9, 5000.0, 5001.0]) | st.floats(0.0, 1e7)
SIZES = st.integers(0, 2**40)
BOUNDS = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0]
"""Of the contract, section 5."""

Key = tuple[str, str, int]


class Told(RuleBasedStateMachine):
    """Requests are recorded, counts drained and routes forgotten in any order; every drain is added up."""

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic()
        self.happened: Counter[Key] = Counter()
        self.happened_bytes: Counter[Key] = Counter()
        self.happened_buckets: Counter[tuple[Key, int]] = Counter()
        self.told: Counter[Key] = Counter()
        self.told_bytes: Counter[Key] = Counter()
        self.told_buckets: Counter[tuple[Key, int]] = Counter()
        self.held: dict[str, RouteTraffic] = {}

    def _record(self, route: RouteTraffic, method: str, status: int, ms: float, size: int) -> None:
        key = (route.route, method, status)
        route.record(method, status, ms, size, 0)
        self.happened[key] += 1
        self.happened_bytes[key] += size
        self.happened_buckets[key, bucket_of(ms)] += 1

    @rule(route=ROUTES, method=METHODS, status=STATUSES, ms=LATENCIES, size=SIZES)
    def record(self, route: str, method: str, status: int, ms: float, size: int) -> None:
        self._record(self.traffic.route(route), method, status, ms, size)

    @rule(route=ROUTES)
    def begin(self, route: str) -> None:
        """A request in flight holds on to its route's counts, whatever becomes of the configuration."""
        self.held[route] = self.traffic.route(route)

    @rule(route=ROUTES, ms=LATENCIES)
    def end(self, route: str, ms: float) -> None:
        if route in self.held:
            self._record(self.held[route], "GET", 200, ms, 1)

    @rule(kept=st.lists(ROUTES, max_size=2))
    def forget(self, kept: list[str]) -> None:
        self.traffic.forget(kept, ())

    @rule()
    def drain(self) -> None:
        for counts in self.traffic.drain():
            key = (counts.route, counts.method, counts.status)
            assert counts.count > 0
            assert sum(counts.latency.count) == counts.count
            self.told[key] += counts.count
            self.told_bytes[key] += counts.request_bytes
            for bucket, count in zip(counts.latency.bucket, counts.latency.count, strict=True):
                self.told_buckets[key, bucket] += count

    @invariant()
    def never_more_than_happened(self) -> None:
        assert self.told <= self.happened

    def teardown(self) -> None:
        self.drain()
        assert self.traffic.drain() == []
        assert self.told == self.happened
        assert self.told_bytes == self.happened_bytes
        assert self.told_buckets == self.happened_buckets


TestNothingIsLostOrToldTwice = Told.TestCase


@given(st.lists(LATENCIES, min_size=1, max_size=50))
def test_buckets_are_cumulative_at_the_contract_s_bounds(latencies: list[float]) -> None:
    """What a scrape shows at each bound is how many requests took at most that long."""
    with bench() as worker:
        node = Node(worker.live.loop, LogWriter(io.BytesIO()))
        for ms in latencies:
            node.traffic.route("r").record("GET", 200, ms, 1, 2)
            node.traffic.upstream("u").answered(ms)
        families = {family.name: family for family in text_string_to_metric_families(exposition(node).decode())}
    for name, own in (
        ("http_request_duration_ms", {"method": "GET", "route": "r", "status": "200"}),
        ("upstream_request_duration_ms", {"upstream": "u"}),
    ):
        samples = [sample for sample in families[name].samples if own.items() <= sample.labels.items()]
        buckets = {s.labels["le"]: s.value for s in samples if s.name == f"{name}_bucket"}
        expected = {f"{bound:g}": sum(ms <= bound for ms in latencies) for bound in BOUNDS}
        assert buckets == expected | {"+Inf": len(latencies)}
        totals = {s.name.removeprefix(f"{name}_"): s.value for s in samples}
        assert totals["count"] == len(latencies)
        assert abs(totals["sum"] - sum(latencies)) <= 1e-9 * sum(latencies)
