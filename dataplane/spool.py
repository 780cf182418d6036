"""Measurements on their way to the control plane: none counted twice, none lost without being counted as lost. Pure.

A batch gets its sequence number when it is first sent, and from then on it never changes: it may have arrived, so only
an acknowledgement takes it out. What was never sent may still change shape: when the spool is full, the two neighbours
that cover the least time become one, which loses resolution in time and no counts. Only where even a single batch is
too large are rows dropped, and the requests they counted are told in `records_lost`.

Events wait beside the counts, and a batch takes some along when it is first sent. They do not merge: of too many that
wait, the oldest are dropped and told in `events_lost`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from shared.pb.telemetry_pb2 import Event, Histogram, ReportBatch, RouteCounts

CAPACITY_BYTES = 2 << 20
"""Of what waits, and as much again of what is on its way; so one batch stays under the 4 MiB that gRPC receives."""
CAPACITY_BATCHES = 360
CAPACITY_EVENTS = 1000
EVENTS_PER_BATCH = 100
"""Each has at most a few KiB (report.EVENT_BYTES), so a batch stays far under what gRPC receives with them, too."""
WINDOW = 32
"""Batches sent and not acknowledged; more wait unsent, where they can still be merged."""


class Spool:
    """The batches of one process, oldest first."""

    def __init__(
        self,
        node_id: str,
        instance_epoch: str,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        capacity_batches: int = CAPACITY_BATCHES,
        capacity_events: int = CAPACITY_EVENTS,
        window: int = WINDOW,
    ) -> None:
        self._node_id = node_id
        self._instance_epoch = instance_epoch
        self._capacity_bytes = capacity_bytes
        self._capacity_batches = capacity_batches
        self._window = window
        self._sent: deque[ReportBatch] = deque()
        self._waiting: list[ReportBatch] = []
        self._events: deque[Event] = deque()  # that wait
        self._capacity_events = capacity_events
        self._bytes = self._sent_bytes = 0  # of those that wait, and of those sent
        self._seq = 0
        self._untold = self._untold_events = 0  # lost, and not yet in a batch
        self.records_lost = self.events_lost = 0

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    def __repr__(self) -> str:
        return f"<Spool {len(self._sent)} sent, {len(self._waiting)} waiting, {self.records_lost} records lost>"

    def put(self, routes: Iterable[RouteCounts], started: float, ended: float) -> None:
        """Counts of an interval (epoch seconds)."""
        batch = ReportBatch(started=started, ended=ended, routes=routes)
        if not batch.routes:
            return
        self._waiting.append(batch)
        self._bytes += batch.ByteSize()
        while self._bytes > self._capacity_bytes or len(self._waiting) > self._capacity_batches:
            if len(self._waiting) > 1:
                self._merge()
            else:
                self._trim()

    def put_events(self, events: Iterable[Event], lost: int = 0) -> None:
        """Events in their order; `lost` before them already."""
        self._events.extend(events)
        while len(self._events) > self._capacity_events:
            self._events.popleft()
            lost += 1
        self._untold_events += lost
        self.events_lost += lost

    @property
    def delivered(self) -> bool:
        """Whether all there was to tell is acknowledged, losses too."""
        return not (self._sent or self._something)

    @property
    def oldest_sent(self) -> int | None:
        """The sequence number that an acknowledgement is due for; None: nothing is on its way."""
        return self._sent[0].seq if self._sent else None

    def unacknowledged(self) -> list[ReportBatch]:
        """What was sent before and must be sent again on a new stream, oldest first."""
        return list(self._sent)

    def next(self) -> ReportBatch | None:
        """The next to send for the first time; None: nothing waits, or too much is on its way."""
        if not self._something or not self._room():
            return None
        batch = self._waiting.pop(0) if self._waiting else ReportBatch()
        self._bytes -= batch.ByteSize()
        self._seq += 1
        batch.node_id, batch.instance_epoch, batch.seq = self._node_id, self._instance_epoch, self._seq
        batch.records_lost, self._untold = self._untold, 0
        batch.events_lost, self._untold_events = self._untold_events, 0
        self._take_events(batch)
        self._sent.append(batch)
        self._sent_bytes += batch.ByteSize()
        return batch

    def acknowledged(self, seq: int) -> None:
        """All batches up to this one are counted."""
        while self._sent and self._sent[0].seq <= seq:
            self._sent_bytes -= self._sent.popleft().ByteSize()

    @property
    def _something(self) -> bool:
        """Whether there is anything to tell that was not sent."""
        return bool(self._waiting or self._events or self._untold or self._untold_events)

    def _take_events(self, batch: ReportBatch) -> None:
        while self._events and len(batch.events) < EVENTS_PER_BATCH:
            batch.events.append(self._events.popleft())
        if batch.events and not batch.routes:
            batch.started, batch.ended = batch.events[0].at, batch.events[-1].at

    def _room(self) -> bool:
        """Whether another batch may be on its way; one always may."""
        size = self._waiting[0].ByteSize() if self._waiting else 0
        size += sum(event.ByteSize() for event in islice(self._events, EVENTS_PER_BATCH))
        return not self._sent or (len(self._sent) < self._window and self._sent_bytes + size <= self._capacity_bytes)

    def _merge(self) -> None:
        """Make one of the two neighbours that cover the least time; of the oldest such pair."""
        waiting = self._waiting
        first = min(range(len(waiting) - 1), key=lambda i: waiting[i + 1].ended - waiting[i].started)
        one = merged(waiting[first], waiting[first + 1])
        self._bytes += one.ByteSize() - waiting[first].ByteSize() - waiting[first + 1].ByteSize()
        waiting[first : first + 2] = [one]

    def _trim(self) -> None:
        """Drop rows of the only batch until it fits."""
        batch = self._waiting[0]
        while batch.routes and batch.ByteSize() > self._capacity_bytes:
            self._untold += batch.routes[-1].count
            self.records_lost += batch.routes[-1].count
            del batch.routes[-1]
        if not batch.routes:
            self._waiting.clear()
        self._bytes = sum(batch.ByteSize() for batch in self._waiting)


def merged(older: ReportBatch, newer: ReportBatch) -> ReportBatch:
    """Both intervals as one: equal rows are added up."""
    rows: dict[tuple[str, str, int], RouteCounts] = {}
    for row in _rows(older, newer):
        key = row.route, row.method, row.status
        rows[key] = added(rows[key], row) if key in rows else row
    return ReportBatch(started=older.started, ended=newer.ended, routes=rows.values())


def _rows(*batches: ReportBatch) -> Iterator[RouteCounts]:
    for batch in batches:
        yield from batch.routes


def added(one: RouteCounts, other: RouteCounts) -> RouteCounts:
    return RouteCounts(
        route=one.route,
        method=one.method,
        status=one.status,
        count=one.count + other.count,
        latency=_histogram(one.latency, other.latency),
        request_bytes=one.request_bytes + other.request_bytes,
        response_bytes=one.response_bytes + other.response_bytes,
    )


def _histogram(one: Histogram, other: Histogram) -> Histogram:
    counts = dict(zip(one.bucket, one.count, strict=True))
    for bucket, count in zip(other.bucket, other.count, strict=True):
        counts[bucket] = counts.get(bucket, 0) + count
    return Histogram(bucket=counts, count=counts.values(), sum=one.sum + other.sum)
