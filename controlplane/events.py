"""What happened on any node and on this control plane, newest kept: for people who ask, and counted for Prometheus.

Nodes tell theirs with their reports, so each is taken once (telemetry). An event is known by its process and number,
and keeps that id wherever it is told; the order here is that of arrival, because clocks of nodes differ.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from shared.pb.telemetry_pb2 import ReportBatch

KEPT = 10_000
"""Events; each has a few hundred bytes, a few KiB at most."""
NAMES = 200
"""Names that are counted apart; what comes beyond counts under OTHER."""
NAME_LIMIT = 128
LATEST = 32503680000.0
"""The year 3000: a clock that is wrong must not make a time that cannot be written."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """`position` grows with every arrival. `node` is "" for the control plane's own. `at`: epoch seconds."""

    position: int
    id: str
    node: str
    name: str
    at: float
    data: Json


class Events:
    """A bounded history over all nodes. `lost`: events that nodes had to drop before they could tell them."""

    def __init__(self, now: Callable[[], float] = time.time, *, kept: int = KEPT) -> None:
        self._now = now
        self._epoch = uuid.uuid4().hex
        self._kept: deque[Event] = deque(maxlen=kept)
        self._position = 0
        self.counts: dict[str, int] = {}
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Events {self._position}, {len(self._kept)} kept>"

    def saw(self, name: str, *, node: str = "", **data: Any) -> None:
        """Something that this control plane saw itself, of a node or of its own."""
        self._add(f"{self._epoch}-{self._position + 1}", node, name, self._now(), data)

    def take(self, batch: ReportBatch) -> None:
        """What a node told, in a batch that was not counted before."""
        self.lost += batch.events_lost
        for event in batch.events:
            name = event.name[:NAME_LIMIT]
            at = event.at if 0.0 <= event.at <= LATEST else self._now()
            self._add(f"{batch.instance_epoch}-{event.number}", batch.node_id, name, at, _read(event.data))

    def newest(self) -> Iterator[Event]:
        """What is kept, newest first."""
        return reversed(self._kept)

    def _add(self, id_: str, node: str, name: str, at: float, data: Json) -> None:
        self._position += 1
        self._kept.append(Event(self._position, id_, node, name, at, data))
        counted = name if name in self.counts or len(self.counts) < NAMES else "OTHER"
        self.counts[counted] = self.counts.get(counted, 0) + 1


def _read(text: str) -> Json:
    """The data as a node wrote it; nothing where it is not what it should be."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
