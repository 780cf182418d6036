"""Upstreams: their endpoints, and the chains of fallbacks between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from shared.check import limits
from shared.check.required import names, reference, required, unique
from shared.defaults import HEALTH_CHECK_INTERVAL
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Config, HealthCheck, Retry, Upstream
from shared.url_upstreams import canonical

CYCLE = "cycle"
_PROBED_PATH = re.compile(r"""/[!"$-)+-~]*""")
"""Visible ASCII but `#` and `*`: a path as it is sent, with a query perhaps, no fragment and no pattern."""


def faults(config: Config, known: Collection[str]) -> Iterator[Fault]:
    """The faults of all upstreams; `known` are their names."""
    yield from names("upstreams", config.upstreams)
    for index, upstream in enumerate(config.upstreams):
        at = item("upstreams", index)
        yield from _endpoints(upstream, at)
        yield from _policies(upstream, at)
        yield from reference(f"{at}.fallback", upstream.fallback, known, "upstream")
    yield from _cycles(config.upstreams)


def endpoints(upstream: Upstream, at: str) -> list[tuple[str, str]]:
    """(path, URL) of every endpoint."""
    several = [(f"{item(f'{at}.endpoints', i)}.url", endpoint.url) for i, endpoint in enumerate(upstream.endpoints)]
    return ([(f"{at}.url", upstream.url)] if upstream.url else []) + several


def _endpoints(upstream: Upstream, at: str) -> Iterator[Fault]:
    if upstream.url and upstream.endpoints:
        yield Fault(f"{at}.endpoints", "url and endpoints exclude each other; keep one")
    elif not upstream.endpoints:
        yield from required(f"{at}.url", upstream.url, "http://host:port, or several in `endpoints`")
    for where, url in endpoints(upstream, at):
        yield from required(where, url, "http://host:port") if where != f"{at}.url" else ()
    yield from unique(((where, url and canonical(url)) for where, url in endpoints(upstream, at)), "an address")
    weights = [endpoint.weight if endpoint.HasField("weight") else 1 for endpoint in upstream.endpoints]
    if weights and not any(weights):
        yield Fault(f"{at}.endpoints", "no endpoint has a weight above 0, so nothing would be served")


def _policies(upstream: Upstream, at: str) -> Iterator[Fault]:
    yield from limits.phases(upstream.timeout, at, ("request", "connect", "dns", "response", "idle"))
    yield from breaker(upstream, f"{at}.circuitBreaker")
    balancer, check, tls = upstream.load_balancer, upstream.health_check, upstream.tls
    if balancer.on and balancer.policy != "consistent-hash":
        yield Fault(f"{at}.loadBalancer.on", "counts only for policy consistent-hash; remove it or set the policy")
    if balancer.policy == "consistent-hash":
        yield from required(f"{at}.loadBalancer.on", balancer.on, "ip, consumer, header:NAME or cookie:NAME")
    yield from _check(check, f"{at}.healthCheck")
    bulkhead = upstream.limits
    if bulkhead.ListFields() and not bulkhead.HasField("max_connections"):
        yield from required(f"{at}.limits.maxConnections", "", "how many requests may be at the upstream at a time")
    if bool(tls.cert) != bool(tls.key):
        missing = "key" if tls.cert else "cert"
        yield Fault(f"{at}.tls.{missing}", "cert and key belong together; give both or neither", "required")
    if upstream.HasField("retries") and upstream.HasField("retry") and upstream.retry.HasField("max_attempts"):
        yield Fault(f"{at}.retries", "retries and retry.maxAttempts say the same; keep one")
    yield from backoff(upstream.retry, f"{at}.retry")


def _check(check: HealthCheck, at: str) -> Iterator[Fault]:
    if check.path and not _PROBED_PATH.fullmatch(check.path):
        yield Fault(f"{at}.path", f'{check.path!r} is no path to ask; write one such as "/health"')
    interval = check.interval if check.HasField("interval") else HEALTH_CHECK_INTERVAL
    if check.HasField("timeout") and check.timeout > interval:
        yield Fault(f"{at}.timeout", f"is longer than the interval, {interval} ms: the next probe would be late")


def breaker(holder: object, at: str) -> Iterator[Fault]:
    """A breaker opens at a count of failures or at a share of them. `holder` is an Upstream or the Settings."""
    if holder.HasField("circuit_breaker"):  # type: ignore[attr-defined]  # two message types, one field
        given = holder.circuit_breaker  # type: ignore[attr-defined]  # as above
        if given.HasField("failure_threshold") and given.HasField("failure_percent"):
            yield Fault(f"{at}.failurePercent", "a count and a share of failures exclude each other; keep one")


def backoff(retry: Retry, at: str) -> Iterator[Fault]:
    """The first delay is not longer than the longest."""
    delays = retry.backoff
    if delays.HasField("initial_delay") and delays.HasField("max_delay") and delays.initial_delay > delays.max_delay:
        yield Fault(f"{at}.backoff.maxDelay", f"is shorter than initialDelay, {delays.initial_delay} ms")


def _cycles(upstreams: Sequence[Upstream]) -> Iterator[Fault]:
    """Follow each chain of fallbacks once; a chain that comes back to itself would never end."""
    following = {upstream.name: upstream.fallback for upstream in upstreams if upstream.fallback}
    index_of = {upstream.name: index for index, upstream in enumerate(upstreams)}
    done: set[str] = set()
    for start in following:
        chain: dict[str, None] = {}
        name = start
        while name in following and name not in done and name not in chain:
            chain[name] = None
            name = following[name]
        if name in chain:
            ring = [*list(chain)[list(chain).index(name) :], name]
            yield Fault(f"upstreams[{index_of[name]}].fallback", f"goes in a circle: {' -> '.join(ring)}", CYCLE)
        done |= chain.keys()
