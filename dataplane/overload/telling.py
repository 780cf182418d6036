"""What the gates tell of themselves: to Prometheus, and to people in /health/deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dataplane.overload.gate import NO_LIMIT, Gate
from dataplane.overload.stages import DISABLE_LOGGING, REJECT_ALL, REJECT_LOW_PRIORITY, SAMPLE_METRICS

if TYPE_CHECKING:
    from dataplane.live import Live

_ACTIONS = (DISABLE_LOGGING, SAMPLE_METRICS, REJECT_LOW_PRIORITY, REJECT_ALL)


def metrics(live: Live) -> Iterator[Metric]:
    """The metrics of the worker's gate, and those of the bulkheads. A limit that there is not is no sample."""
    shedding = live.shedding
    shed = CounterMetricFamily("requests_shed", "Requests refused for want of a place", labels=["priority"])
    for priority, count in shedding.shed.items():
        shed.add_metric([priority], count)
    stages = GaugeMetricFamily("overload_stages", "Thresholds in force", labels=["action"])
    for action in _ACTIONS:
        stages.add_metric([action], shedding.stages.count(action))
    limit = GaugeMetricFamily("concurrency_limit", "Requests that may be in flight")
    if shedding.limit != NO_LIMIT:
        limit.add_metric([], shedding.limit)
    yield from (shed, stages, limit)
    yield GaugeMetricFamily("requests_queued", "Requests that wait for a place", value=shedding.waiting)
    yield GaugeMetricFamily("memory_pressure", "0 none, 1 sheds, 2 accepts nobody", value=shedding.memory.pressure)
    yield from _bulkheads(live)


def _bulkheads(live: Live) -> Iterator[Metric]:
    places = GaugeMetricFamily("bulkhead_requests", "Requests at an upstream", labels=["upstream", "state"])
    limit = GaugeMetricFamily("bulkhead_limit", "Requests that may be at an upstream", labels=["upstream"])
    rejected = CounterMetricFamily("bulkhead_rejected", "Requests for which there was no place", labels=["upstream"])
    for name, bulkhead in live.bulkheads.items():
        places.add_metric([name, "inside"], bulkhead.inside)
        places.add_metric([name, "queued"], bulkhead.waiting)
        limit.add_metric([name], bulkhead.limit)
        rejected.add_metric([name], bulkhead.rejected)
    yield from (places, limit, rejected)


def document(live: Live) -> dict[str, Any]:
    """The section `overload` of /health/deep."""
    shedding = live.shedding
    in_force = shedding.stages.stages[: shedding.stages.in_force]
    adaptive = shedding.adaptive
    return {
        **_gate(shedding),
        "adaptive": {"usualMs": round(adaptive.usual, 3), "probing": adaptive.probing} if adaptive else None,
        "stages": [{"queueSize": stage.queue_size, "action": stage.action} for stage in in_force],
        "shed": dict(shedding.shed),
        "memory": {"pressure": shedding.memory.pressure.name.lower(), "limitBytes": shedding.memory.limit or None},
        "bulkheads": {name: {**_gate(one), "rejected": one.rejected} for name, one in live.bulkheads.items()},
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {
        "inFlight": gate.inside,
        "limit": gate.limit if gate.limit != NO_LIMIT else None,
        "queued": gate.waiting,
        "longestWaitMs": round(gate.longest_wait() * 1000, 1),
    }
