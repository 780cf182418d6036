"""Token buckets by key, in memory: exact for every key that is in use, bounded in number. Pure but for the clock given.

A bucket that nobody touched for as long as it takes to fill is full, so it need not be kept: two generations of buckets
are turned over at that pace, and what is still in the older one when it is dropped is full by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MOST_BUCKETS: Final = 100_000
"""In one generation: under an attack with a key per request memory stays below some tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`limit` requests in `window` seconds; up to `burst` of them at once."""

    limit: int
    window: float
    burst: int


class TokenBuckets:
    """The buckets of one rule. Each of `nodes` live nodes grants its share of the limit."""

    __slots__ = ("_new", "_old", "_token_seconds", "_turned", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._new: dict[str, tuple[float, float]] = {}
        self._old: dict[str, tuple[float, float]] = {}
        self._turned = float("-inf")
        self._token_seconds = rule.window / rule.limit

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def take(self, key: str, now: float, nodes: int = 1) -> float:
        """Take one token. Not negative: how many are left. Negative: refused, minus the seconds until there is one."""
        if now - self._turned > max(self.rule.burst, nodes) * self._token_seconds or len(self._new) >= _MOST_BUCKETS:
            self._old, self._new, self._turned = self._new, {}, now
        rule = self.rule
        capacity = max(1.0, rule.burst / nodes)
        rate = rule.limit / (rule.window * nodes)
        bucket = self._new.get(key) or self._old.get(key)
        tokens = capacity if bucket is None else min(capacity, bucket[0] + max(0.0, now - bucket[1]) * rate)
        if tokens < 1.0:
            self._new[key] = (tokens, now)
            return -(1.0 - tokens) / rate
        tokens -= 1.0
        self._new[key] = (tokens, now)
        return tokens

    def seconds_to_full(self, left: float, nodes: int = 1) -> float:
        """How long until a bucket with `left` tokens is full again."""
        return max(0.0, (max(1.0, self.rule.burst / nodes) - left) * self._token_seconds * nodes)
