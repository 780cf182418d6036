"""The spool: counts go out exactly once, whatever is lost or repeated on the way, and memory stays bounded."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dataplane.spool import EVENTS_PER_BATCH, Spool, merged
from shared.pb.telemetry_pb2 import Event, Histogram, ReportBatch, RouteCounts

Row = tuple[str, str, int]


def row(route: str = "r", status: int = 200, count: int = 1, bucket: int = 3, method: str = "GET") -> RouteCounts:
    """Requests that all took as long."""
    latency = Histogram(bucket=[bucket], count=[count], sum=2.5 * count)
    return RouteCounts(
        route=route, method=method, status=status, count=count, latency=latency, request_bytes=count, response_bytes=7
    )


def totals(*batches: ReportBatch) -> Counter[Row]:
    """Requests per (route, method, status)."""
    counts: Counter[Row] = Counter()
    for batch in batches:
        for one in batch.routes:
            counts[one.route, one.method, one.status] += one.count
    return counts


def filled(count: int, **limits: int) -> Spool:
    """A spool with so many intervals of one request."""
    spool = Spool("n/0", "epoch", **limits)
    for i in range(count):
        spool.put([row()], i, i + 1)
    return spool


def test_batches_are_numbered_as_they_are_sent() -> None:
    """From 1, by one, with who counted and when."""
    spool = filled(2)
    one, two = spool.next(), spool.next()
    assert one is not None
    assert two is not None
    assert (one.node_id, one.instance_epoch, one.seq, one.started, one.ended) == ("n/0", "epoch", 1, 0.0, 1.0)
    assert (two.seq, spool.next()) == (2, None)


def test_an_idle_interval_costs_nothing() -> None:
    """No requests, no batch."""
    spool = Spool("n", "e")
    spool.put([], 0, 1)
    assert (len(spool), spool.next()) == (0, None)


def test_what_was_sent_is_sent_again_until_it_is_acknowledged() -> None:
    """On a new stream everything unacknowledged comes first, unchanged and in order."""
    spool = filled(3)
    sent = [spool.next(), spool.next(), spool.next()]
    spool.acknowledged(1)
    assert spool.unacknowledged() == sent[1:]
    spool.acknowledged(3)
    assert len(spool) == 0


def test_not_more_than_a_window_is_on_its_way() -> None:
    """The rest waits, where it can still be merged; an acknowledgement makes room."""
    spool = filled(4, window=2)
    assert [spool.next() is not None for _ in range(3)] == [True, True, False]
    spool.acknowledged(1)
    assert spool.next() is not None


def test_overflow_merges_neighbours_evenly() -> None:
    """Resolution is lost where most of it is left; no count is."""
    spool = filled(64, capacity_batches=8, window=64)
    batches = []
    while (batch := spool.next()) is not None:
        batches.append(batch)
    assert totals(*batches)["r", "GET", 200] == 64
    spans = [batch.ended - batch.started for batch in batches]
    assert (len(batches), sum(spans), spool.records_lost) == (8, 64.0, 0)
    assert max(spans) <= 2 * 64 / 8


def test_what_was_sent_is_never_merged() -> None:
    """It may have been counted under its number."""
    spool = filled(1, capacity_batches=2)
    first = spool.next()
    assert first is not None
    before = first.SerializeToString()
    for i in range(10):
        spool.put([row()], i, i + 1)
    assert [batch.SerializeToString() for batch in spool.unacknowledged()] == [before]


def test_what_does_not_fit_is_counted_as_lost() -> None:
    """Too many different rows for the memory there is: the next batch tells exactly how many requests are missing."""
    spool = Spool("n", "e", capacity_bytes=1000)
    spool.put([row(f"route-{i}", count=i + 1) for i in range(100)], 0, 1)
    batch = spool.next()
    assert batch is not None
    assert batch.ByteSize() <= 1100
    assert sum(totals(batch).values()) + batch.records_lost == sum(range(101))
    assert batch.records_lost == spool.records_lost > 0
    spool.acknowledged(1)
    assert spool.next() is None


def test_a_loss_is_told_even_when_nothing_is_left_to_tell() -> None:
    """A batch without rows carries it."""
    spool = Spool("n", "e", capacity_bytes=1)
    spool.put([row(count=5)], 0, 1)
    assert not spool.delivered
    batch = spool.next()
    assert batch is not None
    assert (list(batch.routes), batch.records_lost) == ([], 5)


def events(first: int, count: int) -> list[Event]:
    """So many events, numbered on from the first."""
    return [Event(number=number, name="e", at=number) for number in range(first, first + count)]


def test_events_wait_beside_the_counts() -> None:
    """A batch takes some along; where no counts wait they go alone, under the time at which they happened."""
    spool = filled(1)
    spool.put_events(events(1, EVENTS_PER_BATCH + 2))
    with_counts, alone = spool.next(), spool.next()
    assert with_counts is not None
    assert alone is not None
    assert (len(with_counts.routes), len(with_counts.events)) == (1, EVENTS_PER_BATCH)
    assert (len(alone.routes), [event.number for event in alone.events]) == (0, [101, 102])
    assert (alone.started, alone.ended, spool.delivered) == (101.0, 102.0, False)
    spool.acknowledged(2)
    assert spool.delivered


def test_of_too_many_events_the_oldest_are_lost_and_counted() -> None:
    """The next batch tells how many, with those that were lost before they came here."""
    spool = Spool("n", "e", capacity_events=10)
    spool.put_events(events(1, 25), lost=3)
    batch = spool.next()
    assert batch is not None
    assert [event.number for event in batch.events] == list(range(16, 26))
    assert batch.events_lost == spool.events_lost == 18


rows = st.builds(row, st.sampled_from("ab"), st.sampled_from([200, 500]), st.integers(1, 9), st.integers(0, 4))


@given(st.lists(rows, max_size=8), st.lists(rows, max_size=8))
def test_merging_adds_up(older: list[RouteCounts], newer: list[RouteCounts]) -> None:
    """Every figure of the merged batch is the sum of both, and equal rows are one."""
    one, other = ReportBatch(started=1, ended=2, routes=older), ReportBatch(started=2, ended=5, routes=newer)
    both = merged(one, other)
    assert (both.started, both.ended) == (1, 5)
    assert totals(both) == totals(one, other)
    keys = [(each.route, each.method, each.status) for each in both.routes]
    assert len(keys) == len(set(keys))
    for figure in ("request_bytes", "response_bytes"):
        assert sum(getattr(each, figure) for each in both.routes) == sum(getattr(r, figure) for r in older + newer)
    assert sum(sum(each.latency.count) for each in both.routes) == sum(r.count for r in older + newer)
    assert sum(each.latency.sum for each in both.routes) == sum(r.latency.sum for r in older + newer)


class AgainstALossyControlPlane(RuleBasedStateMachine):
    """A spool, streams that break at any point, and a control plane that counts a sequence number once.

    Batches on a stream arrive in order, up to where it breaks; acknowledgements may not arrive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spool = Spool("n", "e", capacity_bytes=600, capacity_batches=4, capacity_events=150, window=3)
        self.done: Counter[Row] = Counter()
        self.counted: Counter[Row] = Counter()
        self.told_lost = 0
        self.happened = self.events_told_lost = 0
        self.events: list[int] = []
        self.floor = 0
        self.pipe: list[ReportBatch] = []

    @rule(many=st.lists(rows, max_size=6))
    def requests(self, many: list[RouteCounts]) -> None:
        batch = ReportBatch(routes=many)
        self.done += totals(batch)
        self.spool.put(batch.routes, 0, 1)

    @rule(status=st.integers(100, 599), count=st.integers(1, 50))
    def request_of_another_kind(self, status: int, count: int) -> None:
        self.done["x" * 40, "GET", status] += count
        self.spool.put([row("x" * 40, status, count)], 0, 1)

    @rule(count=st.integers(1, 120))
    def something(self, count: int) -> None:
        first, self.happened = self.happened + 1, self.happened + count
        self.spool.put_events([Event(number=number) for number in range(first, first + count)])

    @rule()
    def send(self) -> None:
        batch = self.spool.next()
        if batch is not None:
            self.pipe.append(ReportBatch.FromString(batch.SerializeToString()))

    @rule(acknowledged=st.booleans())
    def arrive(self, acknowledged: bool) -> None:
        if self.pipe:
            batch = self.pipe.pop(0)
            if batch.seq == self.floor + 1:
                self.floor += 1
                self.counted += totals(batch)
                self.told_lost += batch.records_lost
                self.events += [event.number for event in batch.events]
                self.events_told_lost += batch.events_lost
            else:
                assert batch.seq <= self.floor, "a batch was left out"
            if acknowledged:
                self.spool.acknowledged(self.floor)

    @rule()
    def reconnect(self) -> None:
        self.pipe = [ReportBatch.FromString(batch.SerializeToString()) for batch in self.spool.unacknowledged()]

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.spool) <= 3 + 4
        assert (
            sum(batch.ByteSize() for batch in self.spool.unacknowledged()) <= 600 + 100 + 4 * 100
        )  # the last: of events

    @invariant()
    def nothing_is_counted_that_did_not_happen(self) -> None:
        assert all(count <= self.done[key] for key, count in self.counted.items())

    def teardown(self) -> None:
        """Once everything got through: what happened is what was counted and what was told to be lost."""
        for _ in range(50):
            self.reconnect()
            while self.pipe:
                self.arrive(acknowledged=True)
            self.send()
            while self.pipe:
                self.arrive(acknowledged=True)
        assert self.spool.delivered
        missing = self.done - self.counted
        assert sum(missing.values()) == self.told_lost == self.spool.records_lost
        assert self.events == sorted(set(self.events))
        assert self.happened - len(self.events) == self.events_told_lost == self.spool.events_lost


AgainstALossyControlPlane.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstALossyControlPlane = AgainstALossyControlPlane.TestCase
