"""What may be picked now: each endpoint as often as its weight says, arranged before any request asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dataplane.upstream.pool import Pool

_MOST_TURNS: Final = 1024


class Rotation:
    """`turns`: one round of smooth weighted round robin; `pools`: each of them once; `weights`: what each is due."""

    __slots__ = ("pools", "turns", "weights")

    def __init__(self, weights: dict[Pool, int]) -> None:
        self.weights = weights
        pools = tuple(pool for pool, weight in weights.items() if weight)
        self.pools: tuple[Pool, ...] = pools
        self.turns: tuple[Pool, ...] = tuple(pools[index] for index in smooth_turns([weights[pool] for pool in pools]))

    def without(self, tried: Collection[Pool]) -> Rotation:
        """The rotation of those that were not tried; of all where all were."""
        others = {pool: weight for pool, weight in self.weights.items() if weight and pool not in tried}
        return Rotation(others) if others else self


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
