"""How many nodes share the limits, as far as a node can believe what it hears. Pure.

More are believed at once, fewer only when nothing else was heard for HOLD_SECONDS: after a restart of the control
plane nodes come back to it one after the other, and the first would be told that it is alone and grant everything. As
long as a node is wrong it grants too little, never too much.
"""

from __future__ import annotations

from collections import deque
from typing import Final

HOLD_SECONDS: Final = 30.0
"""As long as a node may take to find the control plane again (discovery.py)."""
_MISSED: Final = 3
"""After so many intervals without a word the control plane was away, and may have forgotten who is there."""


class Sharers:
    """`count` is never below `least`, the workers of this process. Times are seconds of any clock that only grows."""

    def __init__(self, least: int = 1) -> None:
        self.count = self._least = least
        self._heard: deque[tuple[float, int]] = deque()  # what may still count: times ascend, counts descend
        self._last = float("-inf")

    def hear(self, count: int, now: float, every: float) -> int:
        """The control plane, which speaks every so many seconds, counts so many; how many to believe in."""
        if now - self._last > _MISSED * every and self._heard:
            self._heard = deque([(now, self.count)])
        self._last = now
        while self._heard and self._heard[0][0] <= now - HOLD_SECONDS:
            self._heard.popleft()
        while self._heard and self._heard[-1][1] <= count:
            self._heard.pop()
        self._heard.append((now, count))
        self.count = max(self._least, self._heard[0][1])
        return self.count
