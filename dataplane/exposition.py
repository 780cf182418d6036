"""Prometheus text: every metric of CONTRACT section 5 that this version has, read from the counts when asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from dataplane.overload import telling as overload
from dataplane.tokens import telling as keys_of_tokens
from shared import log
from shared.histogram import PROMETHEUS_BOUNDS, PROMETHEUS_INDEXES

if TYPE_CHECKING:
    from dataplane.node import Node

_REGISTRY = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=_REGISTRY)


def exposition(node: Node) -> bytes:
    """The text of GET /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_NodeCollector(node))
    return generate_latest(registry) + generate_latest(_REGISTRY)


class _NodeCollector(Collector):
    def __init__(self, node: Node) -> None:
        self._node = node

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would collect everything once to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._node)
        yield from _upstreams(self._node)
        yield from _endpoints(self._node)
        yield from _resilience(self._node)
        yield from _policies(self._node)
        yield from overload.metrics(self._node.live)
        yield from keys_of_tokens.metrics(self._node.token_keys.sources.values())
        yield from _config(self._node)


def _requests(node: Node) -> Iterator[Metric]:
    labels = ["method", "route", "status"]
    total = CounterMetricFamily("http_requests", "Requests finished", labels=labels)
    duration = HistogramMetricFamily("http_request_duration_ms", "From the request's head to the end", labels=labels)
    received = SummaryMetricFamily("http_request_size_bytes", "Bytes of request bodies", labels=["method", "route"])
    sent = SummaryMetricFamily("http_response_size_bytes", "Bytes of response bodies", labels=["method", "route"])
    for route in node.traffic.routes:
        sizes: dict[str, list[int]] = {}
        for cell in route:
            name, method, status = cell.key
            values = [method, name, str(status)]
            total.add_metric(values, cell.count)
            duration.add_metric(values, _buckets(cell.buckets), cell.sum_ms)
            size = sizes.setdefault(method, [0, 0, 0])
            size[0] += cell.count
            size[1] += cell.request_bytes
            size[2] += cell.response_bytes
        for method, (count, up, down) in sizes.items():
            received.add_metric([method, route.route], count, up)
            sent.add_metric([method, route.route], count, down)
    in_flight = GaugeMetricFamily("http_requests_in_flight", "Requests being handled", value=node.traffic.in_flight)
    yield from (total, duration, received, sent, in_flight)


def _buckets(counts: Mapping[int, int]) -> Sequence[tuple[str, float]]:
    """Cumulative counts at the contract's bounds."""
    at = dict.fromkeys(PROMETHEUS_INDEXES, 0)
    above = 0
    for bucket, count in counts.items():
        bound = next((index for index in PROMETHEUS_INDEXES if bucket <= index), None)
        if bound is None:
            above += count
        else:
            at[bound] += count
    cumulative = list(accumulate(at.values()))
    named = [(f"{bound:g}", float(count)) for bound, count in zip(PROMETHEUS_BOUNDS, cumulative, strict=True)]
    return [*named, ("+Inf", float(cumulative[-1] + above))]


def _upstreams(node: Node) -> Iterator[Metric]:
    total = CounterMetricFamily("upstream_requests", "Attempts at an upstream", labels=["upstream"])
    duration = HistogramMetricFamily("upstream_request_duration_ms", "To the head of the answer", labels=["upstream"])
    errors = CounterMetricFamily("upstream_errors", "Attempts without an answer", labels=["upstream", "error"])
    lookups = CounterMetricFamily("dns_lookups", "Look-ups of endpoints' names", labels=["upstream"])
    checks = CounterMetricFamily("health_checks", "Probes of endpoints", labels=["upstream", "result"])
    unresolved = CounterMetricFamily("dns_errors", "Look-ups without an address", labels=["upstream", "error"])
    for upstream in node.traffic.upstreams:
        total.add_metric([upstream.upstream], upstream.count)
        duration.add_metric([upstream.upstream], _buckets(upstream.buckets), upstream.sum_ms)
        for kind, count in upstream.errors.items():
            errors.add_metric([upstream.upstream, kind], count)
        if upstream.checks_passed or upstream.checks_failed:
            checks.add_metric([upstream.upstream, "success"], upstream.checks_passed)
            checks.add_metric([upstream.upstream, "failure"], upstream.checks_failed)
        if upstream.lookups:
            lookups.add_metric([upstream.upstream], upstream.lookups)
        for kind, count in upstream.lookup_failures.items():
            unresolved.add_metric([upstream.upstream, kind], count)
    connections = GaugeMetricFamily("upstream_connections", "Connections to endpoints", labels=["upstream", "state"])
    states: dict[str, list[int]] = {}
    for pool in node.live.pools.values():
        state = states.setdefault(pool.key[0], [0, 0])
        state[0] += len(pool.idle)
        state[1] += pool.open - len(pool.idle)
    for name, (idle, busy) in states.items():
        connections.add_metric([name, "idle"], idle)
        connections.add_metric([name, "busy"], busy)
    yield from (total, duration, errors, connections, checks, lookups, unresolved)


def _endpoints(node: Node) -> Iterator[Metric]:
    states = GaugeMetricFamily("upstream_endpoints", "Endpoints by how they fare", labels=["upstream", "state"])
    panic = GaugeMetricFamily("upstream_panic", "1: too few available, all are used", labels=["upstream"])
    for name, upstream in node.compiled.runtime.upstreams.items() if node.compiled is not None else ():
        health = [pool.health for pool in upstream.balancer.endpoints]
        states.add_metric([name, "total"], len(health))
        states.add_metric([name, "available"], sum(one.available for one in health))
        states.add_metric([name, "ejected"], sum(one.ejected for one in health))
        states.add_metric([name, "down"], sum(one.probed_down for one in health))
        panic.add_metric([name], upstream.balancer.panic)
    ejections = CounterMetricFamily("upstream_ejections", "Endpoints taken out by failures", labels=["upstream"])
    for traffic in node.traffic.upstreams:
        ejections.add_metric([traffic.upstream], traffic.ejections)
    yield from (states, panic, ejections)


def _policies(node: Node) -> Iterator[Metric]:
    traffic = node.traffic
    limited = CounterMetricFamily("rate_limit_exceeded", "Requests over a limit", labels=["route"])
    shadowed = CounterMetricFamily("rate_limit_shadow_exceeded", "Requests over a shadow limit", labels=["route"])
    for route in traffic.routes:
        if route.limited:
            limited.add_metric([route.route], route.limited)
        if route.shadowed:
            shadowed.add_metric([route.route], route.shadowed)
    auth = CounterMetricFamily("auth_failures", "Requests without a good credential", labels=["reason"])
    for reason, count in traffic.auth_failures.items():
        auth.add_metric([reason], count)
    yield limited
    yield shadowed
    stores = node.live.stores.values()
    yield CounterMetricFamily(
        "rate_limit_store_errors", "Failures of the limits' store", value=sum(s.errors for s in stores)
    )
    yield CounterMetricFamily("rate_limit_store_calls", "Round trips to it", value=sum(s.calls for s in stores))
    yield CounterMetricFamily(
        "rate_limit_store_fallbacks", "Requests decided without it", value=sum(s.fallbacks for s in stores)
    )
    yield CounterMetricFamily("rate_limit_leases", "Leases taken from it", value=sum(s.leases for s in stores))
    if stores:
        yield GaugeMetricFamily("rate_limit_store_up", "Whether it answers", value=int(all(s.up for s in stores)))
    yield auth


def _resilience(node: Node) -> Iterator[Metric]:
    labels = ["upstream"]
    state = GaugeMetricFamily("circuit_breaker_state", "0 closed, 1 half-open, 2 open", labels=labels)
    opened = CounterMetricFamily("circuit_breaker_opened", "How often a breaker opened", labels=labels)
    refused = CounterMetricFamily("circuit_breaker_refused", "Attempts that a breaker did not allow", labels=labels)
    retries = CounterMetricFamily("retry_attempts", "Attempts after the first", labels=labels)
    spent = CounterMetricFamily("retry_budget_exhausted", "Retries for which no budget was left", labels=labels)
    fallen = CounterMetricFamily("upstream_fallback", "Requests sent elsewhere", labels=["upstream", "fallback"])
    for traffic in node.traffic.upstreams:
        name = traffic.upstream
        retries.add_metric([name], traffic.repeated)
        for fallback, count in traffic.fallbacks.items():
            fallen.add_metric([name, fallback], count)
    for upstream in node.upstreams:
        name, breaker = upstream.name, upstream.breaker
        spent.add_metric([name], upstream.retry_budget.exhausted)
        if breaker is not None:
            state.add_metric([name], breaker.state)
            opened.add_metric([name], breaker.opened)
            refused.add_metric([name], breaker.refused)
    yield from (state, opened, refused, retries, spent, fallen)


def _config(node: Node) -> Iterator[Metric]:
    status = node.source_status
    yield GaugeMetricFamily("config_revision", "The revision that is served", value=node.revision)
    yield GaugeMetricFamily("config_age_seconds", "How far behind it may be", value=status.age_seconds or 0.0)
    yield CounterMetricFamily("config_apply_failures", "Configurations refused", value=status.apply_failures)
    yield CounterMetricFamily("drift_detected", "Digests that did not agree", value=status.drift_detected)
    yield CounterMetricFamily("report_records_lost", "Records that could not be told", value=node.records_lost)
    events = CounterMetricFamily("events", "Events told", labels=["event"])
    for name, count in node.live.events.counts.items():
        events.add_metric([name], count)
    yield events
    yield CounterMetricFamily("report_events_lost", "Events that could not be told", value=node.events_lost)
    yield CounterMetricFamily(
        "log_lines_lost", "Log lines there was no room for", value=node.log.lost + log.lines_lost()
    )
    yield CounterMetricFamily("connections_refused", "Connections over the limit", value=node.listener.refused)
    unannounced = CounterMetricFamily("proxy_protocol_errors", "Connections without a PROXY header", labels=["reason"])
    for reason, count in node.listener.unannounced.items():
        unannounced.add_metric([reason], count)
    yield unannounced
    yield GaugeMetricFamily("event_loop_lag_ms", "How late the loop turned last", value=node.deadlines.lag * 1000)
