"""A clock that goes by itself, as real sockets need it, and that a test may turn on."""

from __future__ import annotations

import time


class Clock:
    """Monotonic seconds; `turn` lets time pass at once."""

    def __init__(self) -> None:
        self._turned = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._turned

    def turn(self, seconds: float) -> None:
        self._turned += seconds
