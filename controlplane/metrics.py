"""The control plane's /metrics: what all nodes served, who runs what, and how the stream itself fares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.plane import Plane
from controlplane.traffic import Counts, Key
from shared.histogram import PROMETHEUS_BOUNDS, PROMETHEUS_INDEXES

LABELS = ("method", "route", "status")


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything one scrape shows, copied at one moment, so that it can be rendered off the event loop."""

    counts: Mapping[Key, Counts]
    states: Mapping[str, int]
    gauges: Mapping[str, tuple[str, float]]
    counters: Mapping[str, tuple[str, float]]
    events: Mapping[str, int]
    refused: Mapping[str, int]


def scrape(plane: Plane) -> Scrape:
    """Copy what is to be shown."""
    desired = plane.publisher.revision
    nodes, reports = plane.nodes, plane.reports
    gauges: dict[str, tuple[str, float]] = {
        "config_revision": ("The revision that every node should run", desired),
        "config_source_faults": ("Faults of the configuration file as it is now", len(plane.source.status.faults)),
        "config_oldest_revision": ("The oldest revision that is kept", plane.pruner.oldest),
        "nodes_connected": ("Data planes with an open configuration stream", nodes.live),
    }
    for port, files in plane.certificates.items():
        gauges[f"{port}_certificate_not_after_seconds"] = ("When the port's certificate ends", files.not_after)
    if plane.register is not None:
        enrolled = len(plane.register.known.enrolled)
        gauges["nodes_enrolled"] = ("Names of nodes that have a good certificate", enrolled)
    counters = {
        "enrolment_refusals": (
            "Enrolments and renewals that were refused here",
            plane.register.refusals if plane.register is not None else 0,
        ),
        "config_nacks": ("Revisions that a node refused", nodes.nacks),
        "drift_detected": ("Nodes found to hold something else than what was published", nodes.drifts),
        "config_superseded": ("Revisions that a node was never sent, because a newer one was there", nodes.superseded),
        "config_encodings": ("Times a revision was encoded, in full or as a delta", plane.publisher.encoded),
        "revisions_pruned": ("Revisions that were pruned here", plane.pruner.revisions),
        "audit_rows_pruned": ("Rows of the audit log that were pruned here", plane.pruner.rows),
        "report_batches": ("Telemetry batches counted", reports.batches),
        "report_batches_repeated": ("Telemetry batches that came again and were not counted again", reports.repeated),
        "report_records_lost": (
            "Records that nodes had to drop before they could report them",
            plane.traffic.records_lost,
        ),
        "report_events_lost": ("Events that nodes had to drop before they could report them", plane.events.lost),
    }
    states = nodes.states(plane.publisher.revision_of)
    events, refused = dict(plane.events.counts), dict(plane.auth.failures.counts)
    return Scrape(plane.traffic.copy(), states, gauges, counters, events, refused)


def render(scraped: Scrape) -> bytes:
    """The Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(scraped))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Families(Collector):
    """A scrape as Prometheus metric families."""

    def __init__(self, scraped: Scrape) -> None:
        self._scraped = scraped

    def collect(self) -> Iterator[Metric]:
        yield from self._traffic()
        states = GaugeMetricFamily("nodes", "Data planes by state", labels=["state"])
        for state, count in self._scraped.states.items():
            states.add_metric([state], count)
        yield states
        events = CounterMetricFamily("events", "Events of all nodes and of this control plane", labels=["event"])
        for name, count in self._scraped.events.items():
            events.add_metric([name], count)
        yield events
        refused = CounterMetricFamily("auth_failures", "Refused requests and logins, here", labels=["reason"])
        for reason, count in self._scraped.refused.items():
            refused.add_metric([reason], count)
        yield refused
        for name, (text, value) in self._scraped.gauges.items():
            yield GaugeMetricFamily(name, text, value)
        for name, (text, value) in self._scraped.counters.items():
            yield CounterMetricFamily(name, text, value)

    def _traffic(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("http_requests", "Requests answered by all nodes", labels=LABELS)
        received = CounterMetricFamily("http_request_bytes", "Bytes of request bodies", labels=LABELS)
        sent = CounterMetricFamily("http_response_bytes", "Bytes of response bodies", labels=LABELS)
        duration = HistogramMetricFamily("http_request_duration_ms", "Time to answer", labels=LABELS)
        for (route, method, status), counts in self._scraped.counts.items():
            labels = [method, route, str(status)]
            requests.add_metric(labels, counts.requests)
            received.add_metric(labels, counts.request_bytes)
            sent.add_metric(labels, counts.response_bytes)
            duration.add_metric(labels, _buckets(counts), counts.sum)
        yield from (requests, duration, received, sent)


def _buckets(counts: Counts) -> list[tuple[str, float]]:
    """Cumulative counts at the bounds of the contract."""
    upto = list(accumulate(counts.latency.get(index, 0) for index in range(PROMETHEUS_INDEXES[-1] + 1)))
    bounds = zip(PROMETHEUS_BOUNDS, PROMETHEUS_INDEXES, strict=True)
    below = [(f"{bound:g}", float(upto[index])) for bound, index in bounds]
    return [*below, ("+Inf", float(sum(counts.latency.values())))]
