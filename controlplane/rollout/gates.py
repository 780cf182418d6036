"""Whether what the chosen nodes serve is worse than what the others serve: by counts, and not by noise. Pure.

A rate that was counted in few requests says little, so a gate fails only where the rate is too high even at the lower
end of its confidence interval (E. B. Wilson 1927, one-sided, 99.5%), and where there are enough requests at all. Slow
requests are judged in the same way: as the share of those above a time that only one in a hundred should exceed.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from controlplane.rollout.sample import Sample
from shared.histogram import BOUNDS
from shared.pb.rollout_pb2 import Gates

MIN_REQUESTS = 100
ERROR_RATE_PERCENT = 1.0
ERROR_RATE_FACTOR = 2.0
P99_FLOOR = 100.0
"""Milliseconds."""
P99_FACTOR = 2.0
Z = 2.576
"""Of the normal distribution: one comparison in 200 without a difference looks like one. They are repeated while a wave
bakes, but on counts that only grow, and each must exceed the others' rate by its factor on top of that."""


def failing(gates: Gates, candidate: Sample, others: Sample, before: Sample) -> str:
    """Why the candidate fails; "" where it does not, or where too little was served to tell.

    `others` are the nodes without it, in the same time; where they served too little, all nodes `before` it stand in.
    """
    least = gates.min_requests if gates.HasField("min_requests") else MIN_REQUESTS
    if candidate.requests < max(1, least):
        return ""
    baseline = others if others.requests >= least else before if before.requests >= least else Sample()
    return _errors(gates, candidate, baseline) or _latency(gates, candidate, baseline)


def _errors(gates: Gates, candidate: Sample, baseline: Sample) -> str:
    factor = gates.error_rate_factor if gates.HasField("error_rate_factor") else ERROR_RATE_FACTOR
    floor = gates.error_rate_percent if gates.HasField("error_rate_percent") else ERROR_RATE_PERCENT
    most = max(floor / 100, factor * baseline.error_rate)
    if not factor or lower_bound(candidate.errors, candidate.requests) <= most:
        return ""
    rates = f"{candidate.error_rate:.2%} of {candidate.requests} requests failed, {baseline.error_rate:.2%} without it"
    return f"error rate: {rates}; at most {most:.2%}"


def _latency(gates: Gates, candidate: Sample, baseline: Sample) -> str:
    factor = gates.p99_factor if gates.HasField("p99_factor") else P99_FACTOR
    floor = gates.p99_floor if gates.HasField("p99_floor") else P99_FLOOR
    if not factor or not baseline.requests:
        return ""  # there is no telling what is usual
    most = max(floor, factor * baseline.p99)
    slow, counted = _above(candidate, most), sum(candidate.latency.values())
    if lower_bound(slow, counted) <= 0.01:
        return ""
    return f"p99: {candidate.p99:.0f} ms, {baseline.p99:.0f} ms without it; at most {most:.0f} ms"


def _above(sample: Sample, milliseconds: float) -> int:
    """Requests that took longer for certain: those in buckets that begin there or later."""
    first = bisect_left(BOUNDS, milliseconds) + 1
    return sum(count for bucket, count in sample.latency.items() if bucket >= first)


def lower_bound(part: int, whole: int) -> float:
    """The lower end of the interval for a share that was counted as `part` of `whole`."""
    if not whole:
        return 0.0
    share, z2 = part / whole, Z * Z
    spread = Z * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return max(0.0, (share + z2 / (2 * whole) - spread) / (1 + z2 / whole))
