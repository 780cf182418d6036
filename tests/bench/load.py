"""One kind of load: what is asked for, by how many connections at once."""

from __future__ import annotations

from dataclasses import dataclass

KEY = "bench-key"
KEY_HEADER = "X-API-Key"
"""Every contestant is sent the key, so that all receive the same bytes; only FlexGate looks at it."""


@dataclass(frozen=True, slots=True)
class Load:
    """A request that is sent over and over; `path` is one of tests/bench/origin.py."""

    path: str
    method: str = "GET"
    body_bytes: int = 0
    connections: int = 32
    bearers: tuple[str, ...] = ()
    """Tokens that are sent along, one after the other and then all over again."""
