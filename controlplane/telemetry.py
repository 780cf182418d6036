"""Takes the nodes' reports: every batch is counted exactly once, whatever is lost, repeated or late on the way.

Within a stream batches come in order, and a node that reconnects starts with the oldest batch that was not acknowledged
to it. So the first batch of a stream tells that all before it were counted, here or by a control plane before this one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
from grpc import aio

from controlplane.events import Events
from controlplane.traffic import Traffic
from controlplane.trust.admission import Admission, NotAdmitted
from controlplane.trust.callers import Callers
from shared.pb.telemetry_pb2 import ReportAck, ReportBatch
from shared.pb.telemetry_pb2_grpc import TelemetryServicer

WINDOW = 1024
"""Batches counted ahead of a missing one; when there are more, the missing one was given up by its node."""
LEDGERS = 4096
"""(node, epoch) pairs that are remembered; the one that reported longest ago goes first."""
NAME_LIMIT = 256


@dataclass(slots=True)
class Ledger:
    """Which batches of one process were counted: all up to `floor`, and those in `ahead`."""

    floor: int = 0
    ahead: set[int] = field(default_factory=set)

    def opened(self, first: int) -> None:
        """A stream begins with this batch: what comes before it will not come again."""
        if first > self.floor + 1:
            self.ahead = {seq for seq in self.ahead if seq >= first}
            self._advance(first - 1)

    def count(self, seq: int) -> bool:
        """Whether this batch is new; then it is counted from now on."""
        if seq <= self.floor or seq in self.ahead:
            return False
        self.ahead.add(seq)
        self._advance(self.floor)
        if len(self.ahead) > WINDOW:
            self._advance(min(self.ahead) - 1)
        return True

    def _advance(self, floor: int) -> None:
        while floor + 1 in self.ahead:
            floor += 1
            self.ahead.discard(floor)
        self.floor = floor


class Reports:
    """The ledgers of all processes; each batch goes once to the traffic and to the events."""

    def __init__(self, traffic: Traffic, events: Events, *, ledgers: int = LEDGERS) -> None:
        self._traffic = traffic
        self._events = events
        self._limit = ledgers
        self._ledgers: OrderedDict[tuple[str, str], Ledger] = OrderedDict()
        self.batches = 0
        self.repeated = 0

    def __repr__(self) -> str:
        return f"<Reports {self.batches} batches of {len(self._ledgers)} processes>"

    def take(self, batch: ReportBatch, *, first: bool) -> int:
        """Count a batch unless it was counted; `first` of its stream. Returns what to acknowledge: all up to there."""
        key = batch.node_id, batch.instance_epoch
        ledger = self._ledgers.setdefault(key, Ledger())
        self._ledgers.move_to_end(key)
        if first:
            ledger.opened(batch.seq)
        if ledger.count(batch.seq):
            self.batches += 1
            self._traffic.add(batch)
            self._events.take(batch)
        else:
            self.repeated += 1
        while len(self._ledgers) > self._limit:
            self._ledgers.popitem(last=False)
        return ledger.floor


class TelemetryServer(TelemetryServicer):
    """The gRPC face of Reports."""

    def __init__(self, reports: Reports, admission: Admission | None = None) -> None:
        self._reports = reports
        self._admission = admission or Admission(Callers(tls=False))

    async def Report(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[ReportBatch], context: aio.ServicerContext[ReportBatch, ReportAck]
    ) -> AsyncIterator[ReportAck]:
        """Acknowledge each batch with the highest one up to which all are counted."""
        first = True
        async for batch in request_iterator:
            if not (0 < len(batch.node_id) <= NAME_LIMIT and 0 < len(batch.instance_epoch) <= NAME_LIMIT and batch.seq):
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, "a batch has a node_id, an instance_epoch and a seq"
                )
            try:
                self._admission.admit(context, batch.node_id)
            except NotAdmitted as refusal:
                await context.abort(refusal.code, str(refusal))
            yield ReportAck(seq=self._reports.take(batch, first=first))
            first = False
