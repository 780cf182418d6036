"""Reports are counted exactly once, whatever is lost, repeated or late; memory stays bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.events import Events
from controlplane.rate import POINTS, WIDTH, Rate
from controlplane.telemetry import WINDOW, Ledger, Reports
from controlplane.traffic import Traffic
from shared.histogram import bucket_of
from shared.pb.telemetry_pb2 import Histogram, ReportBatch, RouteCounts


def batch(seq: int, count: int = 1, *, node: str = "n", epoch: str = "a", status: int = 200) -> ReportBatch:
    """A report of so many requests to one route, of 12 ms each."""
    latency = Histogram(bucket=[bucket_of(12.0)], count=[count], sum=12.0 * count)
    counts = RouteCounts(
        route="r", method="GET", status=status, count=count, latency=latency, response_bytes=count * 10
    )
    return ReportBatch(node_id=node, instance_epoch=epoch, seq=seq, routes=[counts])


def total(traffic: Traffic) -> int:
    return sum(counts.requests for counts in traffic.copy().values())


class Lossy(RuleBasedStateMachine):
    """A node with a spool, over streams that break at any moment; what an old stream carried may still arrive late.

    Batch number n counts 2**n requests, so the total tells which batches were counted, and how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic(lambda: 0.0)
        self.reports = Reports(self.traffic, Events())
        self.made = 0
        self.acked = 0
        self.arrived: set[int] = set()
        self.streams: list[Stream] = [Stream(1)]

    @precondition(lambda self: self.made < 60)
    @rule()
    def make(self) -> None:
        self.made += 1

    @rule()
    def reconnect(self) -> None:
        """The node resends all that was not acknowledged; the old stream may still be read for a while."""
        self.streams.append(Stream(self.acked + 1))

    @rule(index=st.integers(0, 5), ack_arrives=st.booleans())
    def deliver(self, index: int, ack_arrives: bool) -> None:
        stream = self.streams[-1 - index % min(3, len(self.streams))]
        if stream.next > self.made:
            return
        seq, first = stream.next, stream.first
        stream.next, stream.first = seq + 1, False
        self.arrived.add(seq)
        ack = self.reports.take(batch(seq, 2**seq), first=first)
        assert all(counted in self.arrived for counted in range(1, ack + 1)), "acknowledged what never came"
        if ack_arrives and stream is self.streams[-1]:
            self.acked = max(self.acked, ack)

    @invariant()
    def counted_once(self) -> None:
        assert total(self.traffic) == sum(2**seq for seq in self.arrived)


class Stream:
    """Batches in order from the oldest that was not acknowledged when it was opened."""

    def __init__(self, start: int) -> None:
        self.next = start
        self.first = True


Lossy.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLossy = Lossy.TestCase


@given(st.permutations(list(range(1, 12)) * 2))
def test_any_order_counts_once(order: list[int]) -> None:
    """Even batches out of order within a stream, each of them twice, count once; in the end all are acknowledged."""
    ledger = Ledger()
    counted = [seq for seq in order if ledger.count(seq)]
    assert sorted(counted) == list(range(1, 12))
    assert (ledger.floor, ledger.ahead) == (11, set())


def test_only_the_contiguous_part_is_acknowledged() -> None:
    """A batch beyond a gap counts, but what is missing can still come."""
    reports = Reports(Traffic(), Events())
    assert [reports.take(batch(seq), first=False) for seq in (1, 2, 4, 5, 3)] == [1, 2, 2, 2, 5]


def test_a_new_control_plane_goes_on_where_the_last_one_was() -> None:
    """The first batch of a stream tells what was acknowledged before, here or elsewhere."""
    traffic = Traffic()
    reports = Reports(traffic, Events())
    assert reports.take(batch(57), first=True) == 57
    assert reports.take(batch(58), first=False) == 58
    assert total(traffic) == 2


def test_a_batch_that_was_given_up_does_not_block_for_ever() -> None:
    """When a node dropped a batch, those after it are acknowledged once the window is full."""
    reports = Reports(Traffic(), Events())
    acks = [reports.take(batch(seq), first=False) for seq in range(2, WINDOW + 3)]
    assert acks[-2:] == [0, WINDOW + 2]


def test_epochs_and_nodes_are_counted_apart() -> None:
    """A restarted process begins at 1 again; so does another node."""
    traffic = Traffic()
    reports = Reports(traffic, Events())
    for node, epoch in (("n", "a"), ("n", "b"), ("m", "a"), ("n", "a")):
        reports.take(batch(1, node=node, epoch=epoch), first=True)
    assert (total(traffic), reports.batches, reports.repeated) == (3, 3, 1)


def test_ledgers_are_bounded() -> None:
    """Processes that come and go leave no more behind than the limit."""
    reports = Reports(Traffic(), Events(), ledgers=10)
    for number in range(100):
        reports.take(batch(1, epoch=str(number)), first=True)
    assert repr(reports) == "<Reports 100 batches of 10 processes>"


def test_summary_merges_histograms() -> None:
    """Averages, shares and percentiles come from the merged counts."""
    traffic = Traffic()
    traffic.add(batch(1, 3))
    traffic.add(batch(2, 1, status=503))
    summary = traffic.summary()
    assert (summary.requests, summary.average, summary.error_rate, summary.availability) == (4, 12.0, 25.0, 75.0)
    assert 10 < summary.p50 <= summary.p95 <= summary.p99 < 14
    assert traffic.status_codes() == {200: 3, 503: 1}


def test_an_empty_summary_divides_by_nothing() -> None:
    """Before the first request: no errors, all available."""
    summary = Traffic().summary()
    assert (summary.requests, summary.average, summary.error_rate, summary.availability) == (0, 0.0, 0.0, 100.0)


def test_series_are_bounded_and_sums_stay_right() -> None:
    """What comes beyond the bound is counted under OTHER."""
    traffic = Traffic(series=10)
    routes = [RouteCounts(route=str(number), method="GET", status=200, count=1) for number in range(15)]
    traffic.add(ReportBatch(routes=routes))
    counts = traffic.copy()
    assert counts["OTHER", "OTHER", 200].requests == 5
    assert (len(counts), total(traffic)) == (11, 15)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(-1e7, 1e7), st.integers(0, 1000)), max_size=50))
def test_rate_loses_no_request(reports: list[tuple[float, float, int]]) -> None:
    """However long it runs, and whatever the nodes' clocks say, the points are few and add up to what was counted."""
    clock = [1000.0]
    rate = Rate(lambda: clock[0])
    for passed, skew, count in reports:
        clock[0] += passed
        rate.add(clock[0] + skew, count)
    points = rate.points()
    width = points[1][0] - points[0][0] if len(points) > 1 else WIDTH
    assert len(points) <= POINTS
    assert points[0][0] == 1000.0
    assert points[-1][0] <= clock[0] < points[-1][0] + width
    assert round(sum(value * width for _, value in points)) == sum(count for _, _, count in reports)
