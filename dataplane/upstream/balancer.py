"""Which endpoint of an upstream serves the next attempt.

A balancer belongs to one compiled upstream; what must outlive it (whose turn it is, how endpoints fare) it gets from
`Live`. What `pick` reads is arranged beforehand: `refresh` does it anew whenever an endpoint comes, goes, fails or
returns, so that a request only looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.runtime import Endpoint
    from dataplane.upstream.endpoint_health import PassiveHealth
    from dataplane.upstream.pool import Pool

_MOST_TURNS: Final = 1024


class Balancer:
    """Smooth weighted round robin.

    `turns` is one round: the endpoints that may be picked, each as often as its weight says. `slow_start` is seconds,
    `panic_percent` the share of available endpoints below which all of them are used, `has_fallback` whether another
    upstream takes over when none is left.
    """

    def __init__(
        self,
        endpoints: Mapping[Pool, Endpoint],
        counter: Iterator[int],
        *,
        passive: PassiveHealth | None = None,
        slow_start: float = 0.0,
        panic_percent: float = 0.0,
        has_fallback: bool = False,
    ) -> None:
        self.endpoints = endpoints
        self.passive = passive
        self.slow_start = slow_start
        self.panic_percent = panic_percent
        self.has_fallback = has_fallback
        self.serving = False
        self.panic = False  # endpoints that are not available are used all the same
        self.turns: tuple[Pool, ...] = ()
        self._counter = counter
        self.refresh()

    def pick(self, x: Exchange, tried: Sequence[Pool]) -> Pool | None:
        """The endpoint for an attempt, one that was not tried yet if there is any; None where there is none at all."""
        turns = self.turns
        if len(turns) == 1:
            return turns[0]
        if not turns:
            return None
        pool = turns[next(self._counter) % len(turns)]
        if tried and pool in tried:
            others = [other for other in turns if other not in tried]
            if others:
                return others[next(self._counter) % len(others)]
        return pool

    # ---- which endpoints there are

    def serve(self) -> None:
        """This is the balancer that serves now: the health of its endpoints reports to it."""
        if not self.serving:
            self.serving = True
            self._adopt()

    def follow(self, endpoints: Mapping[Pool, Endpoint]) -> None:
        """Other endpoints from now on, while serving; those that stay keep everything."""
        for pool in self.endpoints:
            if pool not in endpoints:
                pool.health.retire()
        self.endpoints = endpoints
        if self.serving:
            self._adopt()
        else:
            self.refresh()

    def _adopt(self) -> None:
        """Newcomers among endpoints that serve already start slowly; where all are new, none can."""
        newcomers = [pool for pool in self.endpoints if pool.health.balancer is None]
        for pool in self.endpoints:
            pool.health.balancer = self
            if self.passive is None:
                pool.health.pardon()
        if len(newcomers) < len(self.endpoints):
            for pool in newcomers:
                pool.health.ramp()
        self.refresh()

    # ---- how they fare

    def refresh(self) -> None:
        """Arrange anew what `pick` reads; called whenever something about an endpoint has changed."""
        weighed = {pool: self.endpoints[pool].weight for pool in self.endpoints if self.endpoints[pool].weight}
        usable = [pool for pool in weighed if pool.health.available]
        few = not usable or len(usable) * 100 < self.panic_percent * len(weighed)
        self.panic = few and bool(weighed) and (bool(usable) or not self.has_fallback)
        if self.panic:
            usable = list(weighed)
        steps = [weighed[pool] * pool.health.step for pool in usable]
        self.turns = tuple(usable[index] for index in smooth_turns(steps))

    def may_eject(self) -> bool:
        """Whether one more endpoint may be out without more than the allowed share being so.

        Those that active checks took out count; the allowed number is rounded down, and the last one always stays.
        """
        total = len(self.endpoints)
        if self.passive is None or total < 2:
            return False
        out = sum(not pool.health.available for pool in self.endpoints)
        return (out + 1) * 100 <= self.passive.percent * total


def smooth_turns(weights: Sequence[int]) -> list[int]:
    """Indexes in one round of smooth weighted round robin: each as often as its weight, spread as evenly as can be.

    Every turn each index gains its weight and the richest one pays the total (the rule nginx documents). Weights are
    reduced by their common divisor, and scaled down where a round would be longer than 1024 turns.
    """
    divisor = reduce(gcd, weights, 0) or 1
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    if total > _MOST_TURNS:
        shares = [max(1, weight * _MOST_TURNS // total) if weight else 0 for weight in shares]
        total = sum(shares)
    credit = [0] * len(shares)
    turns: list[int] = []
    for _ in range(total):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        richest = max(range(len(credit)), key=credit.__getitem__)
        credit[richest] -= total
        turns.append(richest)
    return turns
