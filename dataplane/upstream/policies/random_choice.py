"""Policies that draw lots: one endpoint by weight, or the better one of two.

Two choices (Mitzenmacher, "The power of two choices in randomized load balancing") keep the longest queue short and do
not send everyone to the same endpoint, as a choice of the best of all would. The first of the two is drawn by weight
and wins a tie, so that endpoints that are equally well off get the shares that their weights say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.upstream.balancer import Balancer

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.upstream.pool import Pool
    from dataplane.upstream.turns import Rotation


class Random(Balancer):
    """By weight and chance alone."""

    def choose(self, x: Exchange, rotation: Rotation) -> Pool:
        turns = rotation.turns
        return turns[int(self.draw() * len(turns))]


class TwoChoices(Balancer):
    """The one of two that bears less for its weight."""

    def choose(self, x: Exchange, rotation: Rotation) -> Pool:
        turns, pools, weights = rotation.turns, rotation.pools, rotation.weights
        if len(pools) == 1:
            return pools[0]
        first = turns[int(self.draw() * len(turns))]
        index = int(self.draw() * len(pools))
        second = pools[index]
        if second is first:
            second = pools[(index + 1) % len(pools)]
        return second if self.load(second) * weights[first] < self.load(first) * weights[second] else first

    def load(self, pool: Pool) -> float:
        """What an endpoint bears now; less is better."""
        raise NotImplementedError


class LeastRequest(TwoChoices):
    """Load is the number of requests that are with the endpoint, or wait for a connection to it."""

    def load(self, pool: Pool) -> float:
        return float(pool.busy)


class Ewma(TwoChoices):
    """Load is how long a new request would take: the latency of late, times the requests before it and itself."""

    measures = True

    def load(self, pool: Pool) -> float:
        latency = pool.latency
        return latency.cost(self.clock(), pool.busy) if latency is not None else 0.0
