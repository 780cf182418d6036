"""What all nodes together served since this control plane started: counts and latency histograms that add up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from controlplane.rate import Rate
from shared.histogram import BUCKETS, quantile
from shared.pb.telemetry_pb2 import ReportBatch, RouteCounts

SERIES = 100_000
"""(route, method, status) that are kept apart; what comes beyond counts under OTHER, so that the sums stay right."""

Key = tuple[str, str, int]
"""(route, method, status)."""


@dataclass(slots=True)
class Counts:
    """Requests of one key. `latency` maps a bucket of shared.histogram to its count; `sum` is in milliseconds."""

    requests: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    sum: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0

    def add(self, counts: RouteCounts) -> None:
        """Merge what a node counted."""
        self.requests += counts.count
        for bucket, count in zip(counts.latency.bucket, counts.latency.count, strict=False):
            index = min(bucket, BUCKETS - 1)
            self.latency[index] = self.latency.get(index, 0) + count
        self.sum += counts.latency.sum
        self.request_bytes += counts.request_bytes
        self.response_bytes += counts.response_bytes

    def copy(self) -> Counts:
        """The same counts, which no longer change."""
        return Counts(self.requests, dict(self.latency), self.sum, self.request_bytes, self.response_bytes)


@dataclass(frozen=True, slots=True)
class Summary:
    """All requests taken together: latencies in milliseconds, `error_rate` and `availability` in percent.

    An error is an answer of 500 or above: what the gateway or an upstream failed to do, not what a client got wrong.
    """

    requests: int
    average: float
    error_rate: float
    availability: float
    p50: float
    p95: float
    p99: float


class Traffic:
    """Merged counts by key."""

    def __init__(self, now: Callable[[], float] = time.time, *, series: int = SERIES) -> None:
        self.rate = Rate(now)
        self.records_lost = 0
        self._series = series
        self._counts: dict[Key, Counts] = {}

    def __repr__(self) -> str:
        return f"<Traffic {sum(counts.requests for counts in self._counts.values())} requests>"

    def add(self, batch: ReportBatch) -> None:
        """Merge a batch."""
        self.records_lost += batch.records_lost
        total = 0
        for counts in batch.routes:
            self._of(counts).add(counts)
            total += counts.count
        self.rate.add(batch.ended, total)

    def copy(self) -> dict[Key, Counts]:
        """The counts as they are now, to be read elsewhere."""
        return {key: counts.copy() for key, counts in self._counts.items()}

    def status_codes(self) -> dict[int, int]:
        """Requests by status, in order."""
        codes: dict[int, int] = {}
        for (_, _, status), counts in self._counts.items():
            codes[status] = codes.get(status, 0) + counts.requests
        return dict(sorted(codes.items()))

    def summary(self) -> Summary:
        """The figures at a glance."""
        total, errors, milliseconds = 0, 0, 0.0
        latency: dict[int, int] = {}
        for (_, _, status), counts in self._counts.items():
            total += counts.requests
            errors += counts.requests if status >= 500 else 0
            milliseconds += counts.sum
            for bucket, count in counts.latency.items():
                latency[bucket] = latency.get(bucket, 0) + count
        share = 100.0 * errors / total if total else 0.0
        p50, p95, p99 = (quantile(latency, at) for at in (0.50, 0.95, 0.99))
        return Summary(total, milliseconds / total if total else 0.0, share, 100.0 - share, p50, p95, p99)

    def _of(self, counts: RouteCounts) -> Counts:
        key = counts.route, counts.method, counts.status
        found = self._counts.get(key)
        if found is None:
            if len(self._counts) >= self._series:
                key = "OTHER", "OTHER", counts.status
            found = self._counts.setdefault(key, Counts())
        return found
