"""The newest snapshot, for whoever streams it: a level, never a queue.

The publisher looks at the store when it is poked, and now and then without being poked, so that a lost poke or a commit
of another replica only delays. Subscribers are woken and then read `newest`; what came and went between is not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol

from controlplane.snapshot import Snapshot
from controlplane.store import Reader
from controlplane.store.database import DatabaseGone
from controlplane.views import Views
from shared import log
from shared.faults import ConfigError
from shared.table import Table


class Audience(Protocol):
    """Who is to get a snapshot: a node."""

    @property
    def labels(self) -> Mapping[str, str]: ...


class Publisher:
    """Turns what is committed into the snapshot that nodes get."""

    def __init__(self, store: Reader, *, poll: float = 5.0) -> None:
        self._store = store
        self._poll = poll  # seconds
        self._poked = asyncio.Event()
        self._wakes: set[asyncio.Event] = set()
        self._views: Views | None = None
        self.trouble = ""  # why the store could not be asked the last time

    @property
    def newest(self) -> Snapshot | None:
        """The whole of the newest revision; None before the first commit."""
        return self._views.whole if self._views else None

    @property
    def revision(self) -> int:
        """What every node should run; 0 before the first commit."""
        return self.newest.revision if self.newest else 0

    @property
    def encoded(self) -> int:
        """How often a revision was encoded, in full or as a delta, since the start."""
        return self._views.encoded if self._views else 0

    def for_node(self, node: Audience) -> Snapshot | None:
        """What this node should run now; None before the first commit. The one place that decides it."""
        return self._views.of(node.labels) if self._views else None

    def holds_back(self, node: Audience, revision: int) -> bool:
        """Whether this node is not meant to run this revision yet."""
        return False

    def trial(self, table: Table) -> Views | None:
        """The views that a table would have as the next revision; None before the first commit."""
        if self._views is None:
            return None
        views, newest = self._views.branch(), self._views.whole
        views.follow(newest.followed_by(newest.epoch, newest.revision + 1, table))
        return views

    def published(self, revision: int, digest: bytes) -> bool:
        """Whether some node was meant to hold this."""
        return self._views is not None and self._views.published(revision, digest)

    def poke(self) -> None:
        """Look at the store now."""
        self._poked.set()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            self._poked.clear()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._poked.wait()

    async def _look(self) -> None:
        """Refresh; while the database is gone the newest snapshot stays, and that is logged once."""
        try:
            await self.refresh()
        except (DatabaseGone, ConfigError) as error:
            if not self.trouble:
                log.error("database.gone", reason=str(error), serving=self.revision)
            self.trouble = str(error)
        else:
            if self.trouble:
                log.info("database.back", revision=self.revision)
            self.trouble = ""

    async def refresh(self) -> None:
        """Publish what the store holds if it is not what is published."""
        committed = await self._store.read()
        newest = self.newest
        if committed is None:
            return
        if self._views is None or newest is None:
            self._views = Views(Snapshot(committed.epoch, committed.revision, committed.table))
        elif (newest.epoch, newest.revision) != (committed.epoch, committed.revision):
            self._views.follow(newest.followed_by(committed.epoch, committed.revision, committed.table))
        else:
            return
        for wake in self._wakes:
            wake.set()

    @contextmanager
    def subscribed(self, wake: asyncio.Event) -> Iterator[None]:
        """Set `wake` whenever there is a newer snapshot."""
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)
