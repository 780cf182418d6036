"""Limits by window: so many requests in each stretch of the wall clock, aligned to its epoch so that all nodes agree.

A count's `amount` are the requests of the window that began `at`; `before` those of the one before it.

Where there are more nodes than requests in a window, a node cannot grant less than one: its windows are stretched
instead, so that all nodes together keep to the rate.
"""

from __future__ import annotations

import math
from typing import Final

from dataplane.limits.counts import Count, Counts
from dataplane.limits.rule import Rule

_SLACK: Final = 1e-9
"""Of a request: shares are fractions, and sums of them must not miss a whole by a rounding."""
_LEAST_WAIT: Final = 1e-6


def length_of(rule: Rule, nodes: int) -> float:
    """The seconds of one window of one node."""
    return rule.window * max(1.0, nodes / rule.limit)


def share_of(rule: Rule, nodes: int) -> float:
    """The requests that one node grants in one window."""
    return max(1.0, rule.limit / nodes)


class FixedWindows(Counts):
    """Each window begins with nothing counted. Around the end of one, up to twice the limit may come at once."""

    __slots__ = ()

    def take(self, key: str, now: float, nodes: int = 1) -> float:
        """As Counts has it."""
        length, share, wall = length_of(self.rule, nodes), share_of(self.rule, nodes), now + self.epoch
        start = math.floor(wall / length) * length
        count = self.find(key, now, length)
        if count is None:
            count = self.add(key, 0.0, start, now)
        elif start > count.at:
            count.amount, count.at = 0.0, start
        if count.amount + 1.0 > share + _SLACK:
            return -max(_LEAST_WAIT, start + length - wall)
        count.amount += 1.0
        return max(0.0, share - count.amount)

    def give_back(self, key: str) -> None:
        """As Counts has it."""
        count = self._new.get(key)
        if count is not None:
            count.amount -= 1.0

    def reset(self, left: float, now: float, nodes: int = 1) -> float:
        """As Counts has it: the end of the window."""
        length, wall = length_of(self.rule, nodes), now + self.epoch
        return (math.floor(wall / length) + 1) * length - wall


class SlidingWindows(Counts):
    """The window slides: of the one before, the share that it still covers is counted, as if its requests came evenly.

    The counter of two windows that Cloudflare and Kong describe: two numbers for each key, whatever the limit.
    """

    __slots__ = ()

    def take(self, key: str, now: float, nodes: int = 1) -> float:
        """As Counts has it."""
        length, share, wall = length_of(self.rule, nodes), share_of(self.rule, nodes), now + self.epoch
        start = math.floor(wall / length) * length
        count = self.find(key, now, 2.0 * length)
        if count is None:
            count = self.add(key, 0.0, start, now)
        elif start > count.at:
            # One window later what was counted is what came before; two windows later it is nothing.
            count.before = count.amount if start - count.at < 1.5 * length else 0.0
            count.amount, count.at = 0.0, start
        passed = wall - start
        counted = count.amount + count.before * (1.0 - passed / length)
        if counted + 1.0 > share + _SLACK:
            return -max(_LEAST_WAIT, _wait(count, share, length, passed))
        count.amount += 1.0
        return max(0.0, share - counted - 1.0)

    def give_back(self, key: str) -> None:
        """As Counts has it."""
        count = self._new.get(key)
        if count is not None:
            count.amount -= 1.0

    def reset(self, left: float, now: float, nodes: int = 1) -> float:
        """As Counts has it: the end of the window after this one, when all of this one is forgotten."""
        length, wall = length_of(self.rule, nodes), now + self.epoch
        return (math.floor(wall / length) + 2) * length - wall


def _wait(count: Count, share: float, length: float, passed: float) -> float:
    """Seconds until one more fits: enough of the window before is forgotten, or else enough of this one."""
    room = share - 1.0 - count.amount
    if room >= -_SLACK and count.before > 0.0:
        return length * (1.0 - max(0.0, room) / count.before) - passed
    return length - passed + length * (1.0 - (share - 1.0) / count.amount)
