"""What the data plane counts, and how it tells it: to Prometheus as totals, to the control plane as counts since.

A request costs one dictionary look-up and a few additions. Labels come from configuration and from HTTP's own words,
never from a raw path, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dataplane.errors import GatewayError
from dataplane.http1.methods import KNOWN, OTHER
from shared.histogram import bucket_of
from shared.pb.telemetry_pb2 import Histogram, RouteCounts

UNMATCHED: Final = "unmatched"
"""The route of requests that matched none, or were refused before they could."""


class Cell:
    """All requests of one (route, method, status). The `told_…` fields are what the last drain has told."""

    __slots__ = (
        "buckets",
        "count",
        "key",
        "method",
        "request_bytes",
        "response_bytes",
        "status",
        "sum_ms",
        "told_buckets",
        "told_count",
        "told_request_bytes",
        "told_response_bytes",
        "told_sum_ms",
        "touched",
    )

    def __init__(self, key: tuple[str, str, int]) -> None:
        self.key = key
        _, self.method, self.status = key
        self.count = self.told_count = 0
        self.sum_ms = self.told_sum_ms = 0.0
        self.buckets: dict[int, int] = {}
        self.told_buckets: dict[int, int] = {}
        self.request_bytes = self.told_request_bytes = 0
        self.response_bytes = self.told_response_bytes = 0
        self.touched = False

    def drain(self) -> RouteCounts:
        """The counts since the last drain."""
        self.touched = False
        route, method, status = self.key
        told = self.told_buckets
        new = [(bucket, count - told.get(bucket, 0)) for bucket, count in self.buckets.items()]
        new = [(bucket, count) for bucket, count in new if count]
        counts = RouteCounts(
            route=route,
            method=method,
            status=status,
            count=self.count - self.told_count,
            latency=Histogram(
                bucket=[bucket for bucket, _ in new],
                count=[count for _, count in new],
                sum=self.sum_ms - self.told_sum_ms,
            ),
            request_bytes=self.request_bytes - self.told_request_bytes,
            response_bytes=self.response_bytes - self.told_response_bytes,
        )
        self.told_count, self.told_sum_ms, self.told_buckets = self.count, self.sum_ms, dict(self.buckets)
        self.told_request_bytes, self.told_response_bytes = self.request_bytes, self.response_bytes
        return counts


class RouteTraffic:
    """The cells of one route, and what its limits refused; `shadowed` is what its shadow limits would have."""

    __slots__ = ("_cells", "_latest", "_traffic", "limited", "route", "shadowed")

    def __init__(self, route: str, traffic: Traffic) -> None:
        self.route = route
        self.limited = 0
        self.shadowed = 0
        self._traffic = traffic
        self._cells: dict[tuple[str, int], Cell] = {}
        self._latest: Cell | None = None  # most requests are as the one before

    def record(self, method: str, status: int, ms: float, request_bytes: int, response_bytes: int) -> None:
        """Count one finished request."""
        cell = self._latest
        if cell is None or cell.status != status or cell.method != method:
            self._latest = cell = self._cells.get((method, status)) or self._first(method, status)
        if not cell.touched:
            cell.touched = True
            self._traffic.touched.append(cell)
        cell.count += 1
        every = self._traffic.histogram_every
        if every == 1 or cell.count % every == 0:
            bucket = bucket_of(ms)
            cell.sum_ms += ms * every
            cell.buckets[bucket] = cell.buckets.get(bucket, 0) + every
        cell.request_bytes += request_bytes
        cell.response_bytes += response_bytes

    def _first(self, method: str, status: int) -> Cell:
        """A cell for what was not counted before; methods that clients invent share one."""
        if method and method not in KNOWN:  # "": of a request that was refused before it was read
            method = OTHER
        cell = self._cells.get((method, status))
        if cell is None:
            cell = self._cells[method, status] = Cell((self.route, method, status))
        return cell

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())


class UpstreamTraffic:
    """What one upstream did: attempts by outcome, and time to the head of its answers."""

    __slots__ = (
        "buckets",
        "checks_failed",
        "checks_passed",
        "count",
        "ejections",
        "errors",
        "fallbacks",
        "lookup_failures",
        "lookups",
        "repeated",
        "sum_ms",
        "upstream",
    )

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.count = 0
        self.sum_ms = 0.0
        self.buckets: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.repeated = 0
        self.ejections = 0
        self.checks_passed = self.checks_failed = 0  # probes of its endpoints
        self.lookups = 0  # of its hosts' names
        self.lookup_failures: dict[str, int] = {}  # by kind
        self.fallbacks: dict[str, int] = {}  # requests that another upstream got instead, by its name

    def answered(self, ms: float) -> None:
        self.count += 1
        self.sum_ms += ms
        bucket = bucket_of(ms)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def failed(self, error: GatewayError) -> None:
        self.count += 1
        self.errors[error.kind] = self.errors.get(error.kind, 0) + 1

    def broke_off(self, error: GatewayError) -> None:
        """An answer that was counted already was not whole."""
        self.errors[error.kind] = self.errors.get(error.kind, 0) + 1

    def fell_back(self, upstream: str) -> None:
        self.fallbacks[upstream] = self.fallbacks.get(upstream, 0) + 1


class Traffic:
    """Everything counted since the process began."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.log_successes = True
        self.histogram_every = 1  # a request in so many is in the histograms, and stands for all of them
        self.auth_failures: dict[str, int] = {}
        self.log_lines_lost = 0
        self.touched: list[Cell] = []
        self._routes: dict[str, RouteTraffic] = {}
        self._upstreams: dict[str, UpstreamTraffic] = {}
        self.unmatched = self.route(UNMATCHED)

    def route(self, name: str) -> RouteTraffic:
        """The counts of a route by name: the same ones through every configuration that has it."""
        traffic = self._routes.get(name)
        if traffic is None:
            traffic = self._routes[name] = RouteTraffic(name, self)
        return traffic

    def upstream(self, name: str) -> UpstreamTraffic:
        traffic = self._upstreams.get(name)
        if traffic is None:
            traffic = self._upstreams[name] = UpstreamTraffic(name)
        return traffic

    def auth_failed(self, reason: str) -> None:
        self.auth_failures[reason] = self.auth_failures.get(reason, 0) + 1

    @property
    def routes(self) -> Iterable[RouteTraffic]:
        return self._routes.values()

    @property
    def upstreams(self) -> Iterable[UpstreamTraffic]:
        return self._upstreams.values()

    def drain(self) -> list[RouteCounts]:
        """The counts since the last drain, for `report`; what was not touched is not told."""
        touched, self.touched = self.touched, []
        return [cell.drain() for cell in touched]

    def forget(self, routes: Iterable[str], upstreams: Iterable[str]) -> None:
        """Drop what is configured no more: upstreams, and the routes that have nothing left to tell."""
        kept = set(upstreams)
        for name in [name for name in self._upstreams if name not in kept]:
            del self._upstreams[name]
        names = {UNMATCHED, *routes}
        for name in [name for name in self._routes if name not in names]:
            if not any(cell.touched for cell in self._routes[name]):
                del self._routes[name]
