"""What may be meant as it is written, and probably is not: warnings, never faults."""

from __future__ import annotations

import math
from collections.abc import Iterator

from shared.check import conflicts, connecting, tokens
from shared.check.tokens import NO_EFFECT
from shared.check.values import address, split_url
from shared.defaults import MAX_QUEUE_SIZE
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Config, Upstream

SHADOWED = "shadowed"
SHORT_WINDOW_MS = 100
"""Shorter windows end before a client could send another request."""


def advice(config: Config) -> list[Fault]:
    """The warnings about a configuration without faults."""
    rules = (_idle_thresholds, _without_effect, _shadowed, _short_windows, _never_retried)
    found = [fault for rule in rules for fault in rule(config)]
    return [*connecting.advice(config), *found, *tokens.advice(config)]


def _shadowed(config: Config) -> Iterator[Fault]:
    """Routes that never serve, because others take all that they could."""
    for index, names in conflicts.shadowed(config.routes):
        others = ", ".join(map(repr, names))
        yield Fault(item("routes", index), f"never serves: {others} takes all that it matches, by priority", SHADOWED)


def _short_windows(config: Config) -> Iterator[Fault]:
    """Windows of limits that were probably meant in seconds."""
    limits = config.settings.rate_limit
    found: list[tuple[str, int]] = [("rateLimit.global", getattr(limits, "global").window_ms)]
    found += [(item("rateLimit.perRoute", index), rule.window_ms) for index, rule in enumerate(limits.per_route)]
    found += [(f"{item('routes', i)}.rateLimit", route.rate_limit.window_ms) for i, route in enumerate(config.routes)]
    found += [(f"{item('consumers', i)}.rateLimit", one.rate_limit.window_ms) for i, one in enumerate(config.consumers)]
    for at, window in found:
        if 0 < window < SHORT_WINDOW_MS:
            message = f"{window} is milliseconds, and limits next to nothing; write {window}s if seconds were meant"
            yield Fault(f"{at}.windowMs", message, NO_EFFECT)


def _never_retried(config: Config) -> Iterator[Fault]:
    """429 among the statuses to retry: it asks for fewer requests, not for more."""
    found = [("retry", config.settings.retry)]
    found += [(f"{item('upstreams', i)}.retry", upstream.retry) for i, upstream in enumerate(config.upstreams)]
    for at, retry in found:
        for index, status in enumerate(retry.retryable_status_codes):
            if status == 429:
                where = item(f"{at}.retryableStatusCodes", index)
                yield Fault(where, "429 is never retried: it asks for fewer requests", NO_EFFECT)


def _idle_thresholds(config: Config) -> Iterator[Fault]:
    """Thresholds that are never reached, or have nobody to refuse."""
    backpressure, priorities = config.settings.backpressure, config.settings.priorities
    most = backpressure.max_queue_size if backpressure.HasField("max_queue_size") else MAX_QUEUE_SIZE
    default = next((one.weight for one in priorities if one.name == "default"), 0)
    classes = {one.weight for one in priorities} | {default}
    for index, threshold in enumerate(backpressure.thresholds):
        at = item("backpressure.thresholds", index)
        if threshold.queue_size > most:
            yield Fault(f"{at}.queueSize", f"is never reached: at most {most} wait (maxQueueSize)", NO_EFFECT)
        if threshold.action == "reject_low_priority" and len(classes) == 1:
            message = "refuses nobody: all requests have the same priority; give `priorities` with different weights"
            yield Fault(f"{at}.action", message, NO_EFFECT)


def _without_effect(config: Config) -> Iterator[Fault]:
    """Rules for endpoints that can never take hold."""
    for index, upstream in enumerate(config.upstreams):
        at = item("upstreams", index)
        balancer, passive = upstream.load_balancer, upstream.passive_health
        if balancer.policy == "consistent-hash" and balancer.slow_start:
            where = f"{at}.loadBalancer.slowStart"
            yield Fault(where, "has no effect with consistent-hash: a key has one endpoint", NO_EFFECT)
        count, percent = _counted(upstream), passive.max_ejected_percent
        switched_on = passive.enabled or not passive.HasField("enabled")
        if switched_on and passive.HasField("max_ejected_percent") and count > 1 and count * percent < 100:
            yield Fault(
                f"{at}.passiveHealth.maxEjectedPercent",
                f"{percent:g}% of {count} endpoints is none; at least {math.ceil(100 / count)}% lets one be ejected",
                NO_EFFECT,
            )


def _counted(upstream: Upstream) -> int:
    """How many endpoints an upstream has; 0 where names decide, which may have any number of addresses."""
    splits = [split_url(endpoint.url) for endpoint in upstream.endpoints]
    hosts = ["" if isinstance(split, str) else (split[0].hostname or "") for split in splits]
    return 0 if any(address(host) is None for host in hosts) else len(hosts)
