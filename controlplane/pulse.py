"""The heartbeat that all streams share: the live node count and the time, encoded once per beat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from shared.pb.discovery_pb2 import ControlHeartbeat, ControlMessage

SETTLE = 0.1
"""Share of the interval to wait after nodes came or went, so that a hundred arrivals make one beat, not a hundred."""


class Pulse:
    """A level: `number` goes up with every beat, and a stream sends the newest beat that it has not sent."""

    def __init__(
        self,
        live: Callable[[], int],
        on_beat: Callable[[], None],
        *,
        interval: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._live = live
        self._on_beat = on_beat
        self._now = now
        self._membership = asyncio.Event()
        self.interval = interval  # seconds
        self.number = 0
        self.message = b""
        self._encode()

    def membership_changed(self) -> None:
        """Nodes divide their local limits by the live count: tell them soon."""
        self._membership.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval):
                    await self._membership.wait()
                    await asyncio.sleep(self.interval * SETTLE)
            self._membership.clear()
            self._encode()
            self._on_beat()

    def _encode(self) -> None:
        heartbeat = ControlHeartbeat(
            live_nodes=self._live(), time=self._now(), interval_ms=max(1, round(self.interval * 1000))
        )
        self.message = ControlMessage(heartbeat=heartbeat).SerializeToString()
        self.number += 1
