"""Which limits concern a route: the global one, those by path, its own, and those of consumers. Read at compile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from dataplane.exchange import Exchange
from dataplane.filters.context import Context, auth_of
from dataplane.filters.reach import Test, reach
from dataplane.http1.fields import value_of
from dataplane.limits.asking import Rule as StoreRule
from dataplane.limits.counts import Counts
from dataplane.limits.lease import Leases
from dataplane.limits.rule import Rule
from dataplane.limits.store import StoreKey
from dataplane.live import LimitKey
from dataplane.routing.pattern import BadPattern
from dataplane.tokens.claims import text_of
from shared import defaults
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import RateLimit, RateLimits, Route, RouteRateLimit, Settings

KeyOf = Callable[[Exchange], str]
Source = RateLimit | RouteRateLimit

_LONGEST_KEY = 64
"""Longer values of a header or a claim are counted by their hash: others choose them, and they must not fill memory."""
_CONSUMERS = b"rateLimit of consumers"
_CODES = {"token-bucket": 0, "fixed-window": 1, "sliding-window": 2}
"""The algorithms, as the store's script has them."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule as it applies to one route."""

    where: str  # for people
    counts: Counts
    key: KeyOf
    message: str
    shadow: bool
    applies: Test | None  # asked with the path; None: to all of the route
    head: bytes  # the header lines that never change, the last one open for the remaining requests
    name: bytes
    store_key: str  # before what is counted apart; the same on all nodes that have this rule
    store_rule: StoreRule
    leases: Leases | None  # where requests are leased


def limits_of(route: Route, context: Context) -> list[Limit]:
    """The limits that can concern requests of a route, those of consumers aside."""
    return [_limit(context, where, message, applies) for where, message, applies in _rules(route, context)]


def limits_of_consumers(route: Route, context: Context) -> Mapping[str, Limit]:
    """By consumer, where the route knows its consumers. Made once for all routes."""
    if auth_of(route, context.settings).mode not in {"required", "optional"}:
        return {}
    made: Mapping[str, Limit] | None = context.made.get(_CONSUMERS)
    if made is None:
        listed = context.consumers.items() if _section_on(context) else ()
        made = context.made[_CONSUMERS] = {
            name: _limit(context, "consumer", consumer.rate_limit, None)
            for name, consumer in listed
            if consumer.HasField("rate_limit") and _on(consumer.rate_limit)
        }
    return made


def limit_keys(route: Route, context: Context) -> list[LimitKey]:
    """The live state that a route's own limits use."""
    return [_live_key(context, where, message) for where, message, _ in _rules(route, context)]


def consumer_limit_keys(context: Context) -> list[LimitKey]:
    """The live state that the limits of consumers use."""
    limited = (c.rate_limit for c in context.consumers.values() if c.HasField("rate_limit"))
    return [_live_key(context, "consumer", rule) for rule in limited if _on(rule)]


def store_key_of(settings: Settings) -> StoreKey | None:
    """The store that counts, where limits are shared."""
    config = settings.rate_limit
    if config.backend != "redis" or (config.HasField("enabled") and not config.enabled):
        return None
    redis = config.redis
    timeout = redis.timeout if redis.HasField("timeout") else defaults.REDIS_TIMEOUT
    return StoreKey(redis.url, redis.key_prefix or defaults.REDIS_KEY_PREFIX, timeout / 1000.0)


def leased(config: RateLimits) -> bool:
    """Whether requests are taken from the store ahead of time."""
    return (config.mode or defaults.RATE_LIMIT_MODE) == "leased"


def _rules(route: Route, context: Context) -> Iterator[tuple[str, Source, Test | None]]:
    """(where it stands, the message, the test of paths it is confined to) of every rule that can concern a route."""
    if not _section_on(context):
        return
    config = context.settings.rate_limit
    if config.HasField("global") and _on(getattr(config, "global")):
        yield "global", getattr(config, "global"), None
    for rule in config.per_route:
        applies = _reached(rule.path, route)
        if applies:
            yield f"perRoute {rule.path}", rule, None if applies is True else applies
    if route.HasField("rate_limit") and _on(route.rate_limit):
        yield f"route {route.name}", route.rate_limit, None


def _section_on(context: Context) -> bool:
    config = context.settings.rate_limit
    return config.enabled or not config.HasField("enabled")


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
    algorithm = rule.algorithm or config.algorithm or defaults.RATE_LIMIT_ALGORITHM
    burst = rule.max
    if algorithm == "token-bucket":
        burst = rule.burst or (config.burst if where == "global" else 0) or rule.max
    word = "consumer" if where == "consumer" else rule.key or config.key or defaults.RATE_LIMIT_KEY
    return where, Rule(rule.max, rule.window_ms / 1000.0, burst, algorithm), word


def _limit(context: Context, where: str, rule: Source, applies: Test | None) -> Limit:
    config = context.settings.rate_limit
    store = store_key_of(context.settings)
    live_key = _live_key(context, where, rule)
    counted = live_key[1]
    seconds = math.ceil(live_key[1].window)
    name = where.split(" ", 1)[0].encode()
    store_rule = (_CODES[counted.algorithm], counted.limit, counted.window, counted.burst)
    leases = context.live.leases_of(live_key, store_rule, store) if store is not None and leased(config) else None
    return Limit(
        where=where,
        counts=context.live.counts(live_key),
        key=_key_of(live_key[2], hashed=store is not None),
        message=rule.message,
        shadow=rule.shadow if rule.HasField("shadow") else config.shadow,
        applies=applies,
        head=b'RateLimit-Policy: "%b";q=%d;w=%d\r\nX-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: '
        % (name, rule.max, seconds, rule.max),
        name=name,
        store_key=f"{store.prefix}{_digest(repr(live_key).encode())}:" if store is not None else "",
        store_rule=store_rule,
        leases=leases,
    )


def _key_of(word: str, *, hashed: bool) -> KeyOf:
    """What a limit counts by. Without a credential the address stands in, so that nobody is counted with everybody.

    `hashed`: a header's value, which may be a secret, does not leave the process as it is; nor does a claim's.
    """
    longest = 0 if hashed else _LONGEST_KEY
    if word == "ip":
        return lambda x: x.client_ip
    if word == "route":
        return lambda x: ""
    if word.startswith("header:"):
        name = word.removeprefix("header:").strip().lower().encode()
        return lambda x: _short(value_of(x.headers, name), longest) or x.client_ip
    if word.startswith("claim:"):
        claim = word.removeprefix("claim:").strip()
        return lambda x: _short(_claim(x, claim), longest) or x.credential or x.client_ip
    return lambda x: x.credential or x.client_ip


def _claim(x: Exchange, name: str) -> bytes:
    return text_of(x.claims, name).encode("utf-8", "replace") if x.claims is not None else b""


def _short(value: bytes | None, longest: int) -> str:
    if not value:
        return ""
    return value.decode("latin-1") if len(value) <= longest else _digest(value)


def _digest(value: bytes) -> str:
    return blake2b(value, digest_size=16).hexdigest()
