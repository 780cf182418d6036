"""What operators see of the keys of tokens: health, metrics, and how old the keys are. Pure: state in, words out."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from dataplane.tokens.key_source import KeySource


def check(sources: Collection[KeySource]) -> str:
    """DOWN: some keys were never fetched, so their routes answer 503. DEGRADED: some cannot be fetched anew."""
    if any(source.keys is None for source in sources):
        return "DOWN"
    return "DEGRADED" if any(source.error for source in sources) else "UP"


def described(sources: Collection[KeySource]) -> Mapping[str, Any]:
    """For /health/deep, by host and path."""
    return {
        _name(source): {
            "keys": len(source.keys) if source.keys is not None else 0,
            "ageSeconds": _age(source),
            "failures": source.failures,
            "error": source.error,
        }
        for source in sources
    }


def metrics(sources: Collection[KeySource]) -> Iterator[Metric]:
    """How the fetches go."""
    fetches = CounterMetricFamily("jwks_fetches", "Fetches of keys for tokens", labels=["source", "result"])
    age = GaugeMetricFamily("jwks_age_seconds", "Since the last good fetch", labels=["source"])
    for source in sources:
        name = _name(source)
        fetches.add_metric([name, "success"], source.fetches - source.fetches_failed)
        fetches.add_metric([name, "failure"], source.fetches_failed)
        if (seconds := _age(source)) is not None:
            age.add_metric([name], seconds)
    yield fetches
    yield age


def _name(source: KeySource) -> str:
    """Without the query, which may hold what others must not see."""
    parts = urlsplit(source.url)
    return f"{parts.netloc}{parts.path}"


def _age(source: KeySource) -> float | None:
    return round(time.time() - source.fetched_at, 3) if source.fetched_at else None
