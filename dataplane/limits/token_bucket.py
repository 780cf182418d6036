"""Token buckets: `limit` tokens flow in during each window, a bucket holds `burst` of them, a request takes one.

A count's `amount` are the tokens there were at the time `at`. A bucket that nobody touches for as long as it takes to
fill is full.
"""

from __future__ import annotations

from dataplane.limits.counts import Counts
from dataplane.limits.rule import Rule


class TokenBuckets(Counts):
    """The buckets of one rule. A node's share is at least one request at a time, at its share of the rate."""

    __slots__ = ("_token_seconds",)

    def __init__(self, rule: Rule, epoch: float = 0.0) -> None:
        super().__init__(rule, epoch)
        self._token_seconds = rule.window / rule.limit

    def take(self, key: str, now: float, nodes: int = 1) -> float:
        """As Counts has it."""
        rule = self.rule
        capacity = max(1.0, rule.burst / nodes)
        rate = rule.limit / (rule.window * nodes)
        count = self.find(key, now, max(rule.burst, nodes) * self._token_seconds)
        if count is None:
            count = self.add(key, capacity, now, now)
        else:
            count.amount = min(capacity, count.amount + max(0.0, now - count.at) * rate)
            count.at = now
        if count.amount < 1.0:
            return -(1.0 - count.amount) / rate
        count.amount -= 1.0
        return count.amount

    def give_back(self, key: str) -> None:
        """As Counts has it."""
        count = self._new.get(key)
        if count is not None:
            count.amount += 1.0

    def reset(self, left: float, now: float, nodes: int = 1) -> float:
        """As Counts has it."""
        return max(0.0, (max(1.0, self.rule.burst / nodes) - left) * self._token_seconds * nodes)
