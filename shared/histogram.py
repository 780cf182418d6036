"""Mergeable latency histograms over one fixed set of bounds, in milliseconds.

Bounds grow by about 12% from 0.05 ms to 10 minutes, so a quantile is within 6% of the truth, and they contain the
Prometheus buckets of the contract exactly: one `bisect` per request serves both. Merging is adding counts; percentiles
are always read from merged counts, never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

PROMETHEUS_BOUNDS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)
_ANCHORS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, *PROMETHEUS_BOUNDS, 10_000.0, 30_000.0, 60_000.0, 120_000.0, 600_000.0)
_GROWTH = 1.125


def _bounds() -> tuple[float, ...]:
    """The anchors, with each gap divided into equal ratios of at most `_GROWTH`."""
    bounds = [_ANCHORS[0]]
    for low, high in pairwise(_ANCHORS):
        steps = 1
        while (high / low) ** (1 / steps) > _GROWTH:
            steps += 1
        ratio = (high / low) ** (1 / steps)
        bounds += [low * ratio**i for i in range(1, steps)]
        bounds.append(high)
    return tuple(bounds)


BOUNDS: Final[tuple[float, ...]] = _bounds()
"""Upper bounds, inclusive; bucket len(BOUNDS) holds what is above the last."""

BUCKETS: Final[int] = len(BOUNDS) + 1
PROMETHEUS_INDEXES = tuple(BOUNDS.index(bound) for bound in PROMETHEUS_BOUNDS)


def bucket_of(milliseconds: float) -> int:
    """The index of the bucket that counts this latency."""
    low, high = 0, BUCKETS - 1
    while low < high:  # `bisect` would make objects of the numbers, where this is compiled
        middle = (low + high) >> 1
        if BOUNDS[middle] < milliseconds:
            low = middle + 1
        else:
            high = middle
    return low


def quantile(counts: Mapping[int, int], share: float) -> float:
    """The latency (ms) that `share` (0 to 1) of the counted requests did not exceed; 0.0 where nothing was counted.

    Interpolates within the bucket in proportion to its rank.
    """
    total = sum(counts.values())
    if not total:
        return 0.0
    rank, seen = share * total, 0
    for bucket in sorted(counts):
        count = counts[bucket]
        if count and seen + count >= rank:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            high = BOUNDS[min(bucket, len(BOUNDS) - 1)]
            return low + (high - low) * max(0.0, rank - seen) / count
        seen += count
    return BOUNDS[-1]
