"""Rate limits: the global one, those by path, and the route's own; all must have a token left.

Every limited answer tells the tightest of them, in the customary X-RateLimit fields and in those of the IETF draft
(draft-ietf-httpapi-ratelimit-headers: RateLimit, RateLimit-Policy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dataplane.errors import TooManyRequests
from dataplane.exchange import Exchange
from dataplane.filters.context import Context
from dataplane.filters.reach import Test, reach
from dataplane.http1.fields import value_of
from dataplane.limits.token_bucket import Rule, TokenBuckets
from dataplane.live import LimitKey
from dataplane.routing.pattern import BadPattern
from dataplane.runtime import RequestFilter
from shared import defaults
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import RateLimit, RateLimits, Route, RouteRateLimit

KeyOf = Callable[[Exchange], str]


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule as it applies to one route."""

    buckets: TokenBuckets
    key: KeyOf
    message: str
    shadow: bool
    applies: Test | None  # asked with the path; None: to all of the route
    head: bytes  # the header lines that never change, the last one open for the remaining tokens
    name: bytes


def build(route: Route, context: Context) -> RequestFilter | None:
    limits = [_limit(context, where, message, applies) for where, message, applies in _rules(route, context)]
    if not limits:
        return None
    live = context.live
    clock = live.clock
    epoch = live.wall() - clock()
    traffic = live.traffic.route(route.name)

    def limited(x: Exchange) -> None:
        now = clock()
        tightest = math.inf
        for limit in limits:
            if limit.applies is not None and not limit.applies(x.path):
                continue
            left = limit.buckets.take(limit.key(x), now, live.nodes)
            if left < 0.0:
                traffic.limited += 1
            if limit.shadow:
                continue  # counted, neither told nor enforced
            if left < tightest:
                tightest = left
                x.limit_lines = _lines(limit, left, now + epoch, live.nodes)
            if left < 0.0:
                raise TooManyRequests(limit.message, retry_after=max(1, math.ceil(-left)))

    return limited


def limit_keys(route: Route, context: Context) -> list[LimitKey]:
    """The live state that a route's limits use."""
    return [_live_key(context, where, message) for where, message, _ in _rules(route, context)]


Source = RateLimit | RouteRateLimit


def _rules(route: Route, context: Context) -> Iterator[tuple[str, Source, Test | None]]:
    """(where it stands, the message, the test of paths it is confined to) of every rule that can concern a route."""
    config = context.settings.rate_limit
    if config.HasField("enabled") and not config.enabled:
        return
    if config.HasField("global") and _on(getattr(config, "global")):
        yield "global", getattr(config, "global"), None
    for rule in config.per_route:
        applies = _reached(rule.path, route)
        if applies:
            yield f"perRoute {rule.path}", rule, None if applies is True else applies
    if route.HasField("rate_limit") and _on(route.rate_limit):
        yield f"route {route.name}", route.rate_limit, None


def _on(rule: RateLimit) -> bool:
    return rule.enabled or not rule.HasField("enabled")


def _reached(rule: str, route: Route) -> Test | bool:
    try:
        return reach(rule, route.path)
    except BadPattern as error:
        raise ConfigError(
            [Fault("path", f"{rule} or {route.path}: {error}", "invalid", "route", route.name)]
        ) from error


def _live_key(context: Context, where: str, rule: Source) -> LimitKey:
    config = context.settings.rate_limit
    burst = rule.burst or (config.burst if where == "global" else 0) or rule.max
    return where, Rule(rule.max, rule.window_ms / 1000.0, burst), rule.key or config.key or defaults.RATE_LIMIT_KEY


def _limit(context: Context, where: str, rule: Source, applies: Test | None) -> Limit:
    config: RateLimits = context.settings.rate_limit
    live_key = _live_key(context, where, rule)
    seconds = math.ceil(live_key[1].window)
    name = where.split(" ", 1)[0].encode()
    return Limit(
        buckets=context.live.buckets(live_key),
        key=_key_of(live_key[2]),
        message=rule.message,
        shadow=rule.shadow if rule.HasField("shadow") else config.shadow,
        applies=applies,
        head=b'RateLimit-Policy: "%b";q=%d;w=%d\r\nX-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: '
        % (name, rule.max, seconds, rule.max),
        name=name,
    )


def _lines(limit: Limit, left: float, epoch_now: float, nodes: int) -> bytes:
    remaining = int(left) if left > 0.0 else 0
    reset = limit.buckets.seconds_to_full(max(left, 0.0), nodes) if left >= 0.0 else -left
    return b'%b%d\r\nX-RateLimit-Reset: %d\r\nRateLimit: "%b";r=%d;t=%d' % (
        limit.head,
        remaining,
        int(epoch_now + reset) + 1,
        limit.name,
        remaining,
        int(reset) + 1,
    )


def _key_of(word: str) -> KeyOf:
    """What a limit counts by. Without a credential the address stands in, so that nobody is counted with everybody."""
    if word == "ip":
        return lambda x: x.client_ip
    if word == "route":
        return lambda x: ""
    if word.startswith("header:"):
        name = word.removeprefix("header:").strip().lower().encode()
        return lambda x: (value_of(x.headers, name) or b"").decode("latin-1") or x.client_ip
    return lambda x: x.credential or x.client_ip
