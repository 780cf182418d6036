"""From the samples of a race to rows, ratios and warnings: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.bench.outcome import Figure, Goal, Row
from tests.bench.sample import Sample, middle, paired_ratios

COLUMNS = {
    "cpu us/req": "cpu_us",
    "req/s": "requests_per_second",
    "p50 ms": "p50_ms",
    "p99 ms": "p99_ms",
    "MB/s": "megabytes_per_second",
    "RSS MB": "rss_megabytes",
    "busy": "busy",
}
SATURATED = 0.9
DISTURBED = 0.05


def rows(samples: Mapping[str, Sequence[Sample]], suffix: str = "") -> list[Row]:
    """The medians of each contestant; `suffix` tells loads of one case apart."""
    return [
        Row(name + suffix, {column: middle(rounds, metric) for column, metric in COLUMNS.items()})
        for name, rounds in samples.items()
    ]


def ratio(
    samples: Mapping[str, Sequence[Sample]],
    metric: str,
    ours: str,
    theirs: str,
    *,
    name: str,
    goal: Goal | None = None,
) -> Figure:
    """How many times theirs ours is, in one metric: the median of the rounds, with the lowest and the highest."""
    rounds = paired_ratios(samples[ours], samples[theirs], metric)
    return Figure(name, median(rounds), "x", goal, (rounds[0], rounds[-1]))


def notes(samples: Mapping[str, Sequence[Sample]], suffix: str = "") -> list[str]:
    """What makes these samples weaker than they look: a core that was shared, a proxy that was not the bottleneck."""
    found = []
    for name, rounds in samples.items():
        if (foreign := middle(rounds, "foreign")) > DISTURBED:
            found.append(f"{name}{suffix}: others took {foreign:.0%} of its core; measure on a quiet machine")
        if (busy := middle(rounds, "busy")) < SATURATED:
            found.append(f"{name}{suffix}: busy only {busy:.0%}, so load or origin set its req/s and latency, not it")
    return found
