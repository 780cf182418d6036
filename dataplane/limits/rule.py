"""A rate limit as the algorithms need it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`limit` requests in `window` seconds. `burst`: how many at once, where the algorithm is a token bucket."""

    limit: int
    window: float
    burst: int
    algorithm: str = "token-bucket"
