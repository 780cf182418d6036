"""What some nodes served in some time: counts that add up and can be taken from each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.histogram import quantile
from shared.pb.rollout_pb2 import Figures
from shared.pb.telemetry_pb2 import Histogram


@dataclass(frozen=True, slots=True)
class Sample:
    """`errors` are answers of 500 and above; `latency` maps a bucket of shared.histogram to its count."""

    requests: int = 0
    errors: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: Sample) -> Sample:
        latency = dict(self.latency)
        for bucket, count in other.latency.items():
            latency[bucket] = latency.get(bucket, 0) + count
        return Sample(self.requests + other.requests, self.errors + other.errors, latency)

    def __sub__(self, earlier: Sample) -> Sample:
        """What came since; `earlier` is an older state of the same counts."""
        latency = {bucket: count - earlier.latency.get(bucket, 0) for bucket, count in self.latency.items()}
        return Sample(
            self.requests - earlier.requests,
            self.errors - earlier.errors,
            {bucket: count for bucket, count in latency.items() if count > 0},
        )

    @property
    def error_rate(self) -> float:
        """From 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return quantile(self.latency, 0.99)


def sample_of(figures: Figures) -> Sample:
    """As a node, or the database, tells it."""
    return Sample(
        figures.requests,
        figures.errors,
        dict(zip(figures.latency.bucket, figures.latency.count, strict=False)),
    )


def figures_of(sample: Sample) -> Figures:
    """To be kept and shown."""
    latency = Histogram(bucket=sample.latency.keys(), count=sample.latency.values())
    return Figures(requests=sample.requests, errors=sample.errors, latency=latency)


def total(samples: Iterable[Sample]) -> Sample:
    """All of them together."""
    return sum(samples, Sample())
