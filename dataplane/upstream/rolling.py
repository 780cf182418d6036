"""Counts over the last seconds: ten buckets on a grid, the oldest of which falls out as time goes on.

Two numbers are counted side by side: everything (`whole`), and the part of it that matters to whoever counts. What was
counted is seen for at least nine tenths of the window, and never for longer than all of it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BUCKETS: Final = 10


class RollingCounts:
    """Time is in seconds of any clock; it comes with each call, and only ever grows."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.whole = 0
        self.part = 0
        self._end = 0.0  # of the newest bucket
        self._newest_whole = 0
        self._newest_part = 0
        self._start = 0.0
        self._older: deque[tuple[float, int, int]] = deque()

    def __repr__(self) -> str:
        return f"<RollingCounts {self.part} of {self.whole} in {self.window:g} s>"

    def count(self, now: float) -> None:
        """One more of the whole."""
        if now >= self._end:
            self.turn(now)
        self.whole += 1
        self._newest_whole += 1

    def count_part(self, now: float) -> None:
        """One more of the part; the whole is counted apart."""
        if now >= self._end:
            self.turn(now)
        self.part += 1
        self._newest_part += 1

    def turn(self, now: float) -> None:
        """Let go of what is too old, so that `whole` and `part` are those of the window that ends now."""
        if now < self._end:
            return
        if self._newest_whole or self._newest_part:
            self._older.append((self._start, self._newest_whole, self._newest_part))
            self._newest_whole = self._newest_part = 0
        width = self.window / BUCKETS
        self._start = now // width * width
        self._end = self._start + width
        if self._end <= now:  # rounding: a bucket is never empty of time
            self._end = now + width
        oldest = self._start - self.window + width / 2  # halfway between two starts: safe from rounding
        while self._older and self._older[0][0] < oldest:
            _, whole, part = self._older.popleft()
            self.whole -= whole
            self.part -= part

    def resize(self, window: float) -> None:
        """Look back over another time from the next count on; what is older than it goes then."""
        if window != self.window:
            self.window = window
            self._end = 0.0

    def clear(self) -> None:
        self.whole = self.part = self._newest_whole = self._newest_part = 0
        self._older.clear()
