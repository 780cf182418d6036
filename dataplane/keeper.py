"""Keeps what has proved itself: a revision is written to disk once it has served for a while.

Where revisions follow each other faster than that, none would ever be kept; so after a few such whiles the one that
serves is kept all the same. A disk that fails is told and tried again later; it never stops the serving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from dataplane.boot_guard import BootGuard
from dataplane.config_source import Held
from dataplane.last_known_good import LastKnownGood
from dataplane.serving import Serving
from shared import log

PATIENCE = 6
"""How many times `trust_after` a restless configuration may go without being kept."""
LEAST_RETRY = 1.0  # seconds, where trust_after is shorter


class Keeper:
    """Watches what is served; `failures` counts writes that did not succeed."""

    def __init__(
        self,
        serving: Serving,
        cache: LastKnownGood,
        guard: BootGuard,
        trust_after: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serving = serving
        self._cache = cache
        self._guard = guard
        self._trust_after = trust_after
        self._clock = clock
        self._kept: Held | None = None
        self._restless_since: float | None = None  # when the first revision came that is not proved yet
        self._changed = asyncio.Event()
        self.due: float | None = None
        self.failures = 0

    def booted(self, held: Held) -> None:
        """This is served, and is on disk already."""
        self._kept = held
        self.applied()

    def applied(self) -> None:
        """Something else is served from now on: it has to prove itself."""
        now = self._clock()
        if self._restless_since is None:
            self._restless_since = now
        self.due = min(now + self._trust_after, self._restless_since + PATIENCE * self._trust_after)
        self._changed.set()

    async def run(self) -> None:
        """Keep what is due, when it is due, until cancelled."""
        while True:
            self._changed.clear()
            delay = None if self.due is None else max(0.0, self.due - self._clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            await self.keep()

    async def keep(self) -> None:
        """Keep what is served, if it is due now."""
        served = self._serving.served
        if self.due is None or self._clock() < self.due or served is None:
            return
        self.due = self._restless_since = None
        self._guard.survived(served.held.table.digest, newest=served.origin == "stream")
        if served.origin != "stream" or _same(served.held, self._kept):
            return
        try:
            # In a thread: encoding a large table takes a while, and fsync takes what the disk takes.
            path = await asyncio.to_thread(self._cache.save, served.held)
        except OSError as error:
            self._failed(error)
            return
        self._kept = served.held
        log.info("config.kept", revision=served.held.revision, file=str(path))

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        log.warn("config.not_kept", reason=error.strerror or str(error), failures=self.failures)
        if self.due is None:  # nothing newer came meanwhile
            self.due = self._clock() + max(self._trust_after, LEAST_RETRY)


def _same(held: Held, kept: Held | None) -> bool:
    return kept is not None and (held.epoch, held.revision, held.table.digest) == (
        kept.epoch,
        kept.revision,
        kept.table.digest,
    )
