"""The settings: rules that need more than one field of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shared.check import auth, limits, upstreams
from shared.check.required import reference, required, unique
from shared.defaults import ADMIN_PORT, MAX_HEADER_SIZE, MAX_HEADERS_SIZE, PORT
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Backpressure, Config, Proxy


def faults(config: Config, routes: Collection[str]) -> Iterator[Fault]:
    """The faults of everything that is no route, upstream, consumer or credential; `routes`: names and paths."""
    settings = config.settings
    yield from _proxy(settings.proxy)
    if settings.security.HasField("auth"):
        yield from auth.settings(settings.security.auth)
    yield from limits.settings(settings.rate_limit)
    yield from upstreams.breaker(settings, "circuitBreaker")
    yield from upstreams.backoff(settings.retry, "retry")
    yield from _thresholds(settings.backpressure)
    yield from _priorities(config, routes)
    if settings.tracing.enabled:
        yield from required("tracing.otlp.endpoint", settings.tracing.otlp.endpoint, "where spans are sent")


def _proxy(proxy: Proxy) -> Iterator[Fault]:
    port = proxy.port if proxy.HasField("port") else PORT
    admin = proxy.admin_port if proxy.HasField("admin_port") else ADMIN_PORT
    if port == admin and port:
        yield Fault("proxy.adminPort", f"{admin} is the port of the traffic too; choose another")
    line = proxy.max_header_size if proxy.HasField("max_header_size") else MAX_HEADER_SIZE
    total = proxy.max_headers_size if proxy.HasField("max_headers_size") else MAX_HEADERS_SIZE
    if line > total:
        field = "maxHeaderSize" if proxy.HasField("max_header_size") else "maxHeadersSize"
        yield Fault(f"proxy.{field}", f"one header may have {line} bytes, all of them together only {total}")
    if proxy.HasField("tls"):
        yield from required("proxy.tls.cert", proxy.tls.cert, "a PEM file with the certificate chain")
        yield from required("proxy.tls.key", proxy.tls.key, "a PEM file with the private key")


def _thresholds(backpressure: Backpressure) -> Iterator[Fault]:
    """A threshold says from how many waiting requests on what is done."""
    thresholds = backpressure.thresholds
    for index, threshold in enumerate(thresholds):
        at = item("backpressure.thresholds", index)
        yield from required(f"{at}.queueSize", threshold.queue_size, "from how many waiting requests on, at least 1")
        yield from required(f"{at}.action", threshold.action, "disable_logging, sample_metrics, reject_low_priority …")
    pairs = ((item("backpressure.thresholds", i), (t.queue_size, t.action)) for i, t in enumerate(thresholds))
    yield from unique(pairs, "a length and an action")


def _priorities(config: Config, routes: Collection[str]) -> Iterator[Fault]:
    priorities = config.settings.priorities
    for index, priority in enumerate(priorities):
        at = item("priorities", index)
        yield from required(f"{at}.name", priority.name, "a name unique among priorities")
        for i, route in enumerate(priority.routes):
            yield from reference(item(f"{at}.routes", i), route, routes, "route")
    yield from unique(((f"{item('priorities', i)}.name", p.name) for i, p in enumerate(priorities)), "a name")
    known = {priority.name for priority in priorities}
    for index, consumer in enumerate(config.consumers):
        yield from reference(f"{item('consumers', index)}.priority", consumer.priority, known, "priority")
