"""Limits of requests and of time, wherever they stand: on routes, upstreams and consumers, global, per path."""

from __future__ import annotations

from collections.abc import Iterator

from shared.check import paths
from shared.check.required import required, unique
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Consumer, RateLimit, RateLimits, RouteRateLimit, Timeouts


def limit(limit: RateLimit | RouteRateLimit, at: str) -> Iterator[Fault]:
    """A limit says how many requests in how much time; one that is switched off may say nothing."""
    if isinstance(limit, RateLimit) and limit.HasField("enabled") and not limit.enabled:
        return
    yield from required(f"{at}.max", limit.max, "the number of requests in the window, at least 1")
    yield from required(f"{at}.windowMs", limit.window_ms, "the length of the window, such as 60000 or 60s")
    yield from _burst(limit, at)


def of_consumer(consumer: Consumer, at: str) -> Iterator[Fault]:
    """The limit of a consumer, which counts by consumer and by nothing else."""
    yield from limit(consumer.rate_limit, f"{at}.rateLimit")
    if consumer.rate_limit.key not in {"", "consumer"}:
        yield Fault(f"{at}.rateLimit.key", "a consumer's limit counts by consumer; leave `key` out")


def _burst(limit: RateLimit | RouteRateLimit | RateLimits, at: str) -> Iterator[Fault]:
    if limit.HasField("burst") and limit.algorithm not in {"", "token-bucket"}:
        yield Fault(f"{at}.burst", f"only a token-bucket has a burst; {limit.algorithm} grants `max` in each window")


def settings(limits: RateLimits) -> Iterator[Fault]:
    """The section `rateLimit` of the settings."""
    if limits.HasField("global"):
        yield from limit(getattr(limits, "global"), "rateLimit.global")
    for index, rule in enumerate(limits.per_route):
        at = item("rateLimit.perRoute", index)
        yield from required(f"{at}.path", rule.path, 'a path such as "/api/*"')
        if rule.path and (problem := paths.fault(rule.path)):
            yield Fault(f"{at}.path", problem)
        yield from limit(rule, at)
    shapes = ((f"{item('rateLimit.perRoute', i)}.path", _shape(rule.path)) for i, rule in enumerate(limits.per_route))
    yield from unique(shapes, "a path")
    yield from _burst(limits, "rateLimit")
    if limits.backend == "redis":
        yield from required("rateLimit.redis.url", limits.redis.url, "backend redis needs redis://host:6379")


def _shape(path: str) -> str:
    return path if paths.fault(path) else paths.shape(path).text


def phases(timeout: Timeouts, at: str, known: tuple[str, ...]) -> Iterator[Fault]:
    """A phase is set where it can be kept: a client's head is read before its route is known, for one."""
    for field, _ in timeout.ListFields():
        if field.name not in known:
            place = "proxy" if field.name == "header" else "upstream"
            yield Fault(f"{at}.timeout.{field.name}", f"cannot be set here; set it in timeout of the {place}")
