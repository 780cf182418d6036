"""Sends measurements and events to the control plane: collected per interval, spooled until they are acknowledged.

Requests never wait for it. A stream that ends is dialled again, and begins with what was not acknowledged on the last;
the control plane tells by sequence number what it has counted already.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from grpc import aio

from dataplane.dial import Redial, addresses, describe, dial, metadata
from dataplane.events import Event, Events
from dataplane.figures import Figures
from dataplane.identity import IdentityError
from dataplane.settings import Settings
from dataplane.spool import Spool, added
from dataplane.together import together
from shared import log
from shared.pb.rollout_pb2 import Figures as FiguresMessage
from shared.pb.telemetry_pb2 import Event as EventMessage
from shared.pb.telemetry_pb2 import ReportAck, ReportBatch, RouteCounts
from shared.pb.telemetry_pb2_grpc import TelemetryStub

ANSWER_SECONDS = 15.0
"""A batch that is not acknowledged for so long: the stream is dead, whatever the transport believes."""
FLUSH_SECONDS = 2.0
"""What a stopping process spends at most on telling its last counts."""
EVENT_BYTES = 2048
"""Of the data of one event; of one that has more, only the subject is told."""

Call = aio.StreamStreamCall[ReportBatch, ReportAck]


class Traffic(Protocol):
    """What counts requests."""

    def drain(self) -> Sequence[RouteCounts]:
        """The counts since the last drain."""


class UnansweredError(Exception):
    """The control plane takes batches and does not acknowledge them."""


class Reporter:
    """The measurements of one process, on their way out."""

    def __init__(
        self,
        settings: Settings,
        traffic: Traffic,
        events: Events,
        instance_epoch: str,
        *,
        spool: Spool | None = None,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.spool = spool if spool is not None else Spool(settings.node_id, instance_epoch)
        self._settings = settings
        self._traffic = traffic
        self._events = events
        self._carried: dict[tuple[str, str, int], RouteCounts] = {}  # drained for the figures, not in the spool yet
        self.figures = Figures()
        self._told = 0  # the number of the last event that went into the spool
        self._now = now
        self._sleep = sleep
        self._jitter = jitter
        self._redial = Redial(jitter)
        self._answer_seconds = answer_seconds
        self._since = now()
        self._wake = asyncio.Event()
        self._acked = asyncio.Event()
        self._error = ""

    @property
    def records_lost(self) -> int:
        """Requests whose measurements were dropped."""
        return self.spool.records_lost

    @property
    def events_lost(self) -> int:
        """Events that were dropped."""
        return self.spool.events_lost

    async def run(self) -> None:
        """Collect and deliver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect_each_interval())
            tasks.create_task(self._deliver())

    async def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Tell what is left; whether all of it was acknowledged within that time. `run` must still be running."""
        self.collect()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.spool.delivered:
                    self._acked.clear()
                    await self._acked.wait()
        return self.spool.delivered

    def collect(self) -> None:
        """Put what was counted since the last time into the spool."""
        now = self._now()
        self._carry()
        rows, self._carried = self._carried, {}
        self.spool.put(rows.values(), self._since, now)
        self._collect_events()
        self._since = now
        self._wake.set()

    def turn(self, revision: int) -> None:
        """Another revision serves from now on: what was counted so far was served under the one before."""
        self._carry()
        self.figures.begin(revision)

    def served(self) -> FiguresMessage:
        """What was served under this revision, up to now."""
        self._carry()
        return self.figures.message()

    def _carry(self) -> None:
        rows = self._traffic.drain()
        self.figures.add(rows)
        carried = self._carried
        for row in rows:
            key = row.route, row.method, row.status
            carried[key] = added(carried[key], row) if key in carried else row

    def _collect_events(self) -> None:
        fresh = self._events.after(self._told)
        lost = self._events.emitted - self._told - len(fresh)
        self._told = self._events.emitted
        self.spool.put_events([_message(event) for event in fresh], lost)

    async def _collect_each_interval(self) -> None:
        while True:
            await self._sleep(self._settings.report_interval)
            self.collect()

    # ---- delivery

    async def _deliver(self) -> None:
        for address in addresses(self._settings, self._jitter):
            reason = await self._converse(address)
            if reason != self._error:  # not once for every attempt of a long night
                self._error = reason
                log.warn("report.disconnected", address=address, reason=reason, waiting=len(self.spool))
            await self._sleep(self._redial.delay())

    async def _converse(self, address: str) -> str:
        """One stream, from the dial to its end; why it ended."""
        try:
            async with dial(address, self._settings) as channel:
                call = TelemetryStub(channel).Report(metadata=metadata(self._settings))
                await together(self._send(call), self._take_acknowledgements(call), self._watch())
        except aio.AioRpcError as error:
            return describe(error)
        except (UnansweredError, IdentityError, OSError) as error:
            return str(error)
        return "the stream ended"

    async def _send(self, call: Call) -> None:
        """All that is in the spool, and whatever comes."""
        # A call that ended under a write is for the other task to tell: it knows why.
        with suppress(asyncio.InvalidStateError):
            for batch in self.spool.unacknowledged():
                await call.write(batch)
            while True:
                self._wake.clear()
                while (fresh := self.spool.next()) is not None:
                    await call.write(fresh)
                await self._wake.wait()

    async def _take_acknowledgements(self, call: Call) -> None:
        while True:
            ack = await call.read()
            if not isinstance(ack, ReportAck):  # aio.EOF
                raise UnansweredError("the control plane closed the stream")
            self._redial.succeeded()
            self._error = ""
            self.spool.acknowledged(ack.seq)
            self._acked.set()
            self._wake.set()  # there is room in the window

    async def _watch(self) -> None:
        """End a stream that takes batches and does not acknowledge them."""
        while True:
            oldest = self.spool.oldest_sent
            await self._sleep(self._answer_seconds)
            if oldest is not None and oldest == self.spool.oldest_sent:
                raise UnansweredError(f"batch {oldest} was not acknowledged within {self._answer_seconds:g} s")


def _message(event: Event) -> EventMessage:
    """As it travels."""
    data = json.dumps(event.data, default=str)
    if len(data) > EVENT_BYTES:
        data = json.dumps({"subject": str(event.data.get("subject", ""))[:256], "tooLong": len(data)})
    return EventMessage(number=event.number, name=event.name, at=event.at, data=data)
