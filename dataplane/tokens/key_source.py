"""Where the keys of tokens come from: the configuration, or a URL that is asked again and again (refreshing.py).

A request never waits for a routine fetch. It waits for the first one, and for one that it causes itself: by a token
whose key is not among those that are known. The latter happens only once in a while, however many such tokens come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.jws import KeySet

AGAIN: Final = 10.0
"""Seconds between two fetches for keys that were missed: forged tokens must not make us ask all the time."""


class KeySource:
    """The keys at a URL. It outlives configurations, by its URL; "" for keys that stand in the configuration."""

    def __init__(self, url: str, keys: KeySet | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.keys = keys  # of the last good answer
        self.content = b""  # of that answer
        self.fetched_at = 0.0  # epoch seconds, of that answer
        self.failures = 0  # in a row, since then
        self.error = ""  # of the last fetch; empty: it went well
        self.wanted = asyncio.Event()  # set: fetch now
        self.fetches = self.fetches_failed = 0
        self._clock = clock
        self._missed_at = float("-inf")
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<KeySource {self.url or 'given'} {self.error or self.keys}>"

    def missed(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """A key is not here: what to wait for, done when a fetch has ended; None where waiting would not help."""
        if not self.url or (self.keys is None and self.error):
            return None
        if self.keys is not None and not self.wanted.is_set():
            now = self._clock()
            if now < self._missed_at + AGAIN:
                return None
            self._missed_at = now
            self.wanted.set()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def fetched(self) -> None:
        """A fetch has ended, one way or the other: let those who wait look again."""
        self.wanted.clear()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
