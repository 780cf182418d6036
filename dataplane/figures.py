"""What this node served since it took up the revision that it serves: told with every heartbeat, for rollouts to judge.

Fed with what the report drains, so a request costs nothing more for it. Totals since a beginning, so that a heartbeat
that is lost, or a control plane that restarted, loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.pb.rollout_pb2 import Figures as Message
from shared.pb.telemetry_pb2 import Histogram, RouteCounts


class Figures:
    """The totals of one revision."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, revision: int) -> None:
        """This revision serves from now on."""
        self._revision = revision
        self._requests = self._errors = 0
        self._latency: dict[int, int] = {}
        self._sum = 0.0

    def add(self, rows: Iterable[RouteCounts]) -> None:
        """What was served meanwhile."""
        latency = self._latency
        for row in rows:
            self._requests += row.count
            if row.status >= 500:
                self._errors += row.count
            self._sum += row.latency.sum
            for bucket, count in zip(row.latency.bucket, row.latency.count, strict=True):
                latency[bucket] = latency.get(bucket, 0) + count

    def message(self) -> Message:
        """As it travels."""
        latency = Histogram(bucket=self._latency.keys(), count=self._latency.values(), sum=self._sum)
        return Message(revision=self._revision, requests=self._requests, errors=self._errors, latency=latency)
