"""The tables of shorthands: what operators may write instead of the canonical form, place by place.

Keys are "Message.field" in JSON names. `shared/normalise.py` walks a document along the model and applies them;
docs/reference/configuration.md lists them for operators.
"""

from __future__ import annotations

from collections.abc import Callable

from shared import quantities

Scalar = str | int | float | bool

UNITS: dict[str, Callable[[object], Scalar]] = {
    **dict.fromkeys(
        (
            *(f"Timeouts.{phase}" for phase in ("request", "connect", "dns", "header", "response", "idle")),
            *(f"CircuitBreaker.{name}" for name in ("windowMs", "openDuration", "slowCallMs")),
            "HealthCheck.interval",
            "HealthCheck.timeout",
            "PassiveHealth.ejectionTime",
            "LoadBalancer.slowStart",
            "Dns.refresh",
            "ConnectionPool.timeout",
            "Backoff.initialDelay",
            "Backoff.maxDelay",
            "Cors.maxAge",
            "Cache.ttl",
            "Fault.delay",
            "RateLimit.windowMs",
            "RouteRateLimit.windowMs",
            "Proxy.drainTimeout",
            "Redis.timeout",
            "Backpressure.queueTimeout",
            "Limits.queueTimeout",
            "Sampling.slowMs",
            "RolloutPlan.bake",
            "RolloutPlan.applyTimeout",
            "Gates.p99Floor",
        ),
        quantities.duration,
    ),
    **dict.fromkeys(
        (
            *(f"Proxy.{name}" for name in ("maxBodySize", "maxResponseSize", "maxHeaderSize", "maxHeadersSize")),
            "Route.maxBodySize",
            "Cache.maxSize",
        ),
        quantities.size,
    ),
    **dict.fromkeys(
        (
            "CircuitBreaker.failurePercent",
            "PassiveHealth.maxEjectedPercent",
            "LoadBalancer.panicThreshold",
            "Mirror.percent",
            "Fault.percent",
            "RetryBudget.percent",
            "Wave.percent",
            "Gates.errorRatePercent",
        ),
        quantities.percent,
    ),
    "Auth.clockSkew": quantities.seconds,
}
"""Fields that hold a quantity: how to read what stands there."""


def _auto(value: object) -> object:
    return 0 if value == "auto" else value


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _reason(value: object) -> object:
    """`deprecated: true` needs no reason; the word itself is one."""
    return ("deprecated" if value else "") if isinstance(value, bool) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


WORDINGS: dict[str, Callable[[object], object]] = {
    "Proxy.workers": _auto,
    "Config.version": _text_of_number,
    "ListenerTls.minVersion": _text_of_number,
    "Route.deprecated": _reason,
    "Route.hosts": _lower,
    **dict.fromkeys(("Route.methods", "Cors.methods", "Retry.methods", "Cache.methods"), _upper),
}
"""Fields whose values have another way to write them; applied before the type is checked, to each element of a list."""

EVERYTHING = {"Route.methods"}
"""Lists that are empty for "all", where operators also write "*"."""

OBJECTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "Timeouts": ((int, float, str), "request"),
    "LoadBalancer": (str, "policy"),
    "Rewrite": (str, "path"),
    "Auth": (str, "mode"),
    "StringMatch": (str, "exact"),
    "HealthCheck": (str, "path"),
    "Endpoint": (str, "url"),
    "Redis": (str, "url"),
    "Otlp": (str, "endpoint"),
    "Dns": ((int, float, str), "refresh"),
}
"""Messages that a plain value may stand for, and the field it fills. Besides, true and false fill `enabled`."""


def _threshold(value: object) -> str:
    return "failurePercent" if isinstance(value, str) and value.endswith("%") else "failureThreshold"


def _always(name: str) -> Callable[[object], str]:
    def target(value: object) -> str:
        del value
        return name

    return target


ALIASES: dict[str, Callable[[object], str]] = {
    "CircuitBreaker.timeout": _always("openDuration"),
    "CircuitBreaker.threshold": _threshold,
    "CircuitBreaker.failureThreshold": _threshold,
    "RateLimit.requests": _always("max"),
    "RateLimit.window": _always("windowMs"),
    "RouteRateLimit.requests": _always("max"),
    "RouteRateLimit.window": _always("windowMs"),
    "Route.targetUrl": _always("upstream"),
    "Route.id": lambda value: "name" if isinstance(value, str) else "id",
    "Upstream.retries": lambda value: "retry" if isinstance(value, dict) else "retries",
}
"""Other names of a field; which field is meant may depend on the value."""
