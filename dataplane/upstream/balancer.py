"""Which endpoint of an upstream serves the next attempt.

A balancer belongs to one compiled upstream; what must outlive it (whose turn it is, how endpoints fare) it gets from
`Live`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.runtime import Endpoint
    from dataplane.upstream.pool import Pool

_MOST_TURNS: Final = 1024


class Balancer:
    """Smooth weighted round robin."""

    def __init__(self, endpoints: Mapping[Pool, Endpoint], counter: Iterator[int]) -> None:
        self.endpoints = endpoints
        self.turns = _turns(endpoints)
        self._counter = counter

    def pick(self, x: Exchange, tried: Sequence[Pool]) -> Pool | None:
        """The endpoint for an attempt, one that was not tried yet if there is any; None where there is none at all."""
        turns = self.turns
        if not turns:
            return None
        return turns[0] if len(turns) == 1 else turns[next(self._counter) % len(turns)]


def _turns(endpoints: Mapping[Pool, Endpoint]) -> tuple[Pool, ...]:
    pools = list(endpoints)
    return tuple(pools[index] for index in smooth_turns([endpoints[pool].weight for pool in pools]))


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
