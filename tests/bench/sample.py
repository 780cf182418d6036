"""What one measured window gave, and what several windows say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One contestant in one round.

    `cpu_us` is user and system time of its processes for each answered request; `megabytes_per_second` counts bodies;
    `busy` is the share of the window its processes ran, `foreign` the share its core ran for somebody else.
    """

    cpu_us: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    megabytes_per_second: float
    rss_megabytes: float
    busy: float
    foreign: float


def middle(samples: Sequence[Sample], metric: str) -> float:
    """The median of one field over the rounds."""
    return median(_values(samples, metric))


def paired_ratios(ours: Sequence[Sample], theirs: Sequence[Sample], metric: str) -> list[float]:
    """Ours divided by theirs, for each round, in ascending order.

    Both were measured within the same round, moments apart, so whatever slows the machine for a while cancels out.
    """
    return sorted(a / b for a, b in zip(_values(ours, metric), _values(theirs, metric), strict=True))


def _values(samples: Sequence[Sample], metric: str) -> list[float]:
    return [getattr(sample, metric) for sample in samples]
