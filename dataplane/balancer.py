"""Whose turn it is among the endpoints of an upstream. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd

_MOST_TURNS = 1024


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
