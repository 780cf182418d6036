"""Measurements over real streams that break: the control plane's own counting ends up with every request once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio

from dataplane.events import KEPT, Events
from dataplane.report import Reporter
from dataplane.settings import Settings
from dataplane.spool import Spool
from shared.pb.telemetry_pb2 import Event as EventMessage
from shared.pb.telemetry_pb2 import Histogram, ReportAck, ReportBatch, RouteCounts
from shared.pb.telemetry_pb2_grpc import TelemetryServicer, add_TelemetryServicer_to_server
from tests.support.deadline import DEADLINE, Bell


class Requests:
    """Counts requests, as the traffic of a data plane does."""

    def __init__(self) -> None:
        self.total = 0
        self._new = 0

    def happen(self, count: int) -> None:
        self.total += count
        self._new += count

    def drain(self) -> list[RouteCounts]:
        count, self._new = self._new, 0
        if not count:
            return []
        latency = Histogram(bucket=[4], count=[count], sum=float(count))
        return [RouteCounts(route="r", method="GET", status=200, count=count, latency=latency)]


class Sink(TelemetryServicer):
    """Counts each sequence number once. `swallow` batches are counted, and break their stream instead of an answer."""

    def __init__(self) -> None:
        self.counted = self.lost = self.events_lost = self.floor = self.streams = self.swallow = 0
        self.mute = False
        self.events: list[EventMessage] = []
        self.metadata: dict[str, str | bytes] = {}
        self.bell = Bell()

    async def Report(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[ReportBatch], context: aio.ServicerContext[ReportBatch, ReportAck]
    ) -> AsyncIterator[ReportAck]:
        self.streams += 1
        self.metadata = dict(context.invocation_metadata() or ())
        async for batch in request_iterator:
            assert batch.seq <= self.floor + 1, "a batch was left out"
            if batch.seq == self.floor + 1:
                self.floor += 1
                self.counted += sum(row.count for row in batch.routes)
                self.lost += batch.records_lost
                self.events.extend(batch.events)
                self.events_lost += batch.events_lost
            self.bell.ring()
            if self.swallow:
                self.swallow -= 1
                return
            if not self.mute:
                yield ReportAck(seq=self.floor)


@asynccontextmanager
async def listening(sink: Sink, port: int = 0) -> AsyncIterator[str]:
    """A server around the sink; gives its address."""
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    add_TelemetryServicer_to_server(sink, server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


def reporter(
    address: str,
    requests: Requests,
    *,
    answer_seconds: float = 15.0,
    spool: Spool | None = None,
    events: Events | None = None,
) -> Reporter:
    """Collects when the test says so, and pauses for a turn only."""
    settings = Settings(control_plane=(address,), node_id="n/0", node_token="t0ken", report_interval=3600.0)

    async def pause(seconds: float) -> None:
        await asyncio.sleep(0.001 if seconds <= 30 and seconds != answer_seconds else seconds)

    return Reporter(
        settings,
        requests,
        events or Events(time.time),
        "epoch",
        spool=spool,
        jitter=lambda: 1.0,
        sleep=pause,
        answer_seconds=answer_seconds,
    )


@asynccontextmanager
async def running(made: Reporter) -> AsyncIterator[Reporter]:
    """Run it for the length of the block."""
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()


async def test_counts_arrive_and_are_acknowledged() -> None:
    """A batch with node, epoch and number; once acknowledged it is kept no longer."""
    sink, requests = Sink(), Requests()
    async with listening(sink) as address, running(reporter(address, requests)) as sender:
        requests.happen(3)
        assert await sender.flush(DEADLINE)
        requests.happen(4)
        assert await sender.flush(DEADLINE)
        assert (sink.counted, sink.floor, sink.streams, len(sender.spool)) == (7, 2, 1, 0)
        assert sink.metadata["authorization"] == "Bearer t0ken"


async def test_streams_that_break_lose_and_repeat_nothing() -> None:
    """Every batch breaks its stream before it is acknowledged: all is sent again, and counted once."""
    sink, requests = Sink(), Requests()
    async with listening(sink) as address, running(reporter(address, requests)) as sender:
        for count in range(1, 8):
            sink.swallow = 1
            requests.happen(count)
            assert await sender.flush(DEADLINE)
        assert (sink.counted, sender.records_lost) == (requests.total, 0)
        assert sink.streams >= 8


async def test_an_outage_is_made_up_for() -> None:
    """What was counted while the control plane was away comes when it is back, downsampled, in full."""
    sink, requests = Sink(), Requests()
    async with listening(sink) as address:
        pass
    spool = Spool("n/0", "epoch", capacity_batches=5)
    async with running(reporter(address, requests, spool=spool)) as sender:
        for _ in range(100):
            requests.happen(1)
            sender.collect()
        assert len(spool) == 5
        async with listening(sink, int(address.rpartition(":")[2])):
            assert await sender.flush(DEADLINE)
    assert (sink.counted, sink.lost, sink.floor) == (100, 0, 5)


async def test_what_was_lost_is_told_exactly() -> None:
    """A spool without room drops, and the control plane hears how much."""
    sink, requests = Sink(), Requests()
    spool = Spool("n/0", "epoch", capacity_bytes=5)
    async with listening(sink) as address, running(reporter(address, requests, spool=spool)) as sender:
        requests.happen(9)
        assert await sender.flush(DEADLINE)
        assert (sink.counted, sink.lost, sender.records_lost) == (0, 9, 9)


async def test_a_control_plane_that_never_acknowledges_is_left() -> None:
    """Batches are taken and not answered: the stream is ended and the batch comes again on another."""
    sink, requests = Sink(), Requests()
    sink.mute = True
    async with listening(sink) as address, running(reporter(address, requests, answer_seconds=0.05)) as sender:
        requests.happen(2)
        sender.collect()
        await sink.bell.until(lambda: sink.streams >= 2, "a second stream")
        sink.mute = False
        assert await sender.flush(DEADLINE)
        assert sink.counted == 2


async def test_a_flush_ends_in_time() -> None:
    """Without a control plane the end of the process waits no longer than it was told."""
    sink, requests = Sink(), Requests()
    async with listening(sink) as address:
        pass
    async with running(reporter(address, requests)) as sender:
        requests.happen(1)
        assert not await sender.flush(0.02)
        assert len(sender.spool) == 1


async def test_events_arrive_once_and_in_order() -> None:
    """Though every batch breaks its stream before it is acknowledged; without any request, too."""
    sink, events = Sink(), Events(lambda: 5.0)
    async with listening(sink) as address, running(reporter(address, Requests(), events=events)) as sender:
        for turn in range(5):
            sink.swallow = 1
            events.emit("upstream.failure", upstream="u", turn=turn)
            events.emit("upstream.recovered", upstream="u", turn=turn)
            assert await sender.flush(DEADLINE)
    assert [event.number for event in sink.events] == list(range(1, 11))
    assert [event.name for event in sink.events[:2]] == ["upstream.failure", "upstream.recovered"]
    assert json.loads(sink.events[-1].data) == {"upstream": "u", "turn": 4}
    assert (sink.events[0].at, sender.events_lost) == (5.0, 0)


async def test_an_event_that_is_too_long_tells_its_subject() -> None:
    """A batch stays small whatever an event carries; and what is no JSON is told as text."""
    sink, events = Sink(), Events(time.time)
    async with listening(sink) as address, running(reporter(address, Requests(), events=events)) as sender:
        events.emit("request.error", subject="r", detail="x" * 5000)
        events.emit("request.error", subject=b"bytes", odd="\ud800")
        assert await sender.flush(DEADLINE)
    first, second = (json.loads(event.data) for event in sink.events)
    assert first == {"subject": "r", "tooLong": 5030}
    assert second == {"subject": "b'bytes'", "odd": "\ud800"}


async def test_more_events_than_are_kept_between_two_reports_are_told_as_lost() -> None:
    """The newest thousand arrive; the node and the control plane know how many are missing."""
    sink, events = Sink(), Events(time.time)
    async with listening(sink) as address, running(reporter(address, Requests(), events=events)) as sender:
        for number in range(KEPT + 70):
            events.emit(f"e{number % 3}")
        assert await sender.flush(DEADLINE)
    assert (len(sink.events), sink.events[0].number, sink.events_lost, sender.events_lost) == (KEPT, 71, 70, 70)
