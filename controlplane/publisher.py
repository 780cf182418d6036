"""The newest snapshot, for whoever streams it: a level, never a queue.

The publisher looks at the store when it is poked, and now and then without being poked, so that a lost poke or a commit
of another replica only delays. Subscribers are woken and then read `newest`; what came and went between is not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from controlplane.snapshot import Snapshot
from controlplane.store import Committed, Reader
from controlplane.store.database import DatabaseGone
from controlplane.views import Views
from shared import log
from shared.faults import ConfigError
from shared.table import Table


class Audience(Protocol):
    """Who is to get a snapshot: a node."""

    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...

    def reached(self, epoch: str) -> int:
        """The newest revision of this line that it is known to have run."""
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """A revision that not all nodes get yet. `base` is what the others keep; `table` reads it where it is not known."""

    revision: int
    base: int
    admits: Callable[[str], bool]
    table: Callable[[], Awaitable[Table]]


Holding = Callable[[Committed], Awaitable[Hold | None]]
"""Whether a revision is held back from some nodes."""


class Publisher:
    """Turns what is committed into the snapshot that nodes get."""

    def __init__(self, store: Reader, *, poll: float = 5.0) -> None:
        self._store = store
        self.holding: Holding | None = None  # of the part that stages revisions, if there is one
        self._poll = poll  # seconds
        self._poked = asyncio.Event()
        self._wakes: set[asyncio.Event] = set()
        self._views: Views | None = None  # of the newest revision
        self._hold: Hold | None = None
        self._base: Views | None = None  # of what held nodes keep
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
        """What this node should run now; None before the first commit. The one place that decides it.

        Its groups' view of the revision that it is at: the newest, or what a rollout has it keep. A node that has run
        the newest is never sent back: going back is a revision of its own.
        """
        views = self._base if self._held_back(node) else self._views
        return views.of(node.labels) if views else None

    def revision_of(self, node: str, acked: int) -> int:
        """The revision that a node should run now, by its id and what it runs; here or at another control plane."""
        return self._base.whole.revision if self._base and self._keeps_base(node, acked) else self.revision

    def holds_back(self, node: str, revision: int) -> bool:
        """Whether this node is not meant to run this revision yet."""
        return self._hold is not None and revision >= self._hold.revision and not self._hold.admits(node)

    def _held_back(self, node: Audience) -> bool:
        return self._views is not None and self._keeps_base(node.id, node.reached(self._views.whole.epoch))

    def _keeps_base(self, node: str, reached: int) -> bool:
        hold = self._hold
        return hold is not None and self._base is not None and not hold.admits(node) and reached < hold.revision

    def trial(self, table: Table) -> Views | None:
        """The views that a table would have as the next revision; None before the first commit."""
        if self._views is None:
            return None
        views, newest = self._views.branch(), self._views.whole
        views.follow(newest.followed_by(newest.epoch, newest.revision + 1, table))
        return views

    def published(self, revision: int, digest: bytes) -> bool:
        """Whether some node was meant to hold this."""
        return any(views.published(revision, digest) for views in (self._views, self._base) if views is not None)

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
        if committed is None:
            return
        hold = await self.holding(committed) if self.holding is not None else None
        base = await self._keep(committed, hold) if hold is not None else None
        newest = self.newest
        same = newest is not None and (newest.epoch, newest.revision) == (committed.epoch, committed.revision)
        if same and hold is None and self._hold is None:
            return
        if not same:
            self._follow(committed, base)
        self._hold, self._base = hold, base
        for wake in self._wakes:
            wake.set()

    async def _keep(self, committed: Committed, hold: Hold) -> Views:
        """The views that held nodes keep."""
        for views in (self._base, self._views):
            if views is not None and (views.whole.epoch, views.whole.revision) == (committed.epoch, hold.base):
                return views
        table, newest = await hold.table(), self.newest
        if self._views is None or newest is None or newest.revision > hold.base:
            return Views(Snapshot(committed.epoch, hold.base, table))
        views = self._views.branch()
        views.follow(newest.followed_by(committed.epoch, hold.base, table))
        return views

    def _follow(self, committed: Committed, base: Views | None) -> None:
        """Move on to a revision; with a `base` from there, so that what held nodes keep stays as it is."""
        if base is not None:
            self._views = base.branch()
        if self._views is None:
            self._views = Views(Snapshot(committed.epoch, committed.revision, committed.table))
            return
        self._views.follow(self._views.whole.followed_by(committed.epoch, committed.revision, committed.table))

    @contextmanager
    def subscribed(self, wake: asyncio.Event) -> Iterator[None]:
        """Set `wake` whenever there is a newer snapshot."""
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)
