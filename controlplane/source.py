"""A YAML file as the source of the configuration: read at the start, then followed.

A file that is bad at the start stops the control plane. One that goes bad later is reported, with line, path and
suggestion, in the log and in the status; what was committed before keeps serving until the file is good again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controlplane.actor import ADMIN, Actor
from controlplane.changes import changes_between
from controlplane.events import Events
from controlplane.fault_text import fields_of
from controlplane.service import Service
from controlplane.store import Committed, Write
from controlplane.store.audit import Audit
from controlplane.store.database import DatabaseGone
from controlplane.store.sql import audited
from shared import log
from shared.document import read_file
from shared.faults import ConfigError, Fault
from shared.watch import changes

FILE = Actor("file", ADMIN)
_MOST_FAULTS = 5  # in an event; the log and the status have all


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How the file stands, `since` when (epoch seconds). `faults` are of its content now; none: it is what serves."""

    file: str
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    since: float = 0.0


class Source(Protocol):
    """Where the configuration comes from."""

    @property
    def status(self) -> SourceStatus: ...


class DatabaseSource:
    """The database itself: there is nothing that could be out of step with it."""

    def __init__(self, name: str, now: Callable[[], float] = time.time) -> None:
        self.status = SourceStatus(name, since=now())


class FileSource:
    """Brings the file to the service."""

    def __init__(
        self,
        path: Path,
        service: Service,
        events: Events,
        *,
        watch: Callable[[Path], AsyncIterator[None]] = changes,
        audit: Audit | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._audit = audit
        self._path = path
        self._service = service
        self._events = events
        self._watch = watch
        self._edits: AsyncIterator[None] | None = None
        self._now = now
        self.status = SourceStatus(str(path))

    async def load(self) -> None:
        """Read and commit the file; ConfigError, and nothing committed, where it has faults."""
        self._edits = self._watch(self._path)  # before it is read, so that no edit falls in between
        await self._apply()

    async def run(self) -> None:
        """Follow the file, once it was loaded, until cancelled."""
        assert self._edits is not None, "load comes first"
        async for _ in self._edits:
            try:
                await self._apply()
            except ConfigError as error:
                self._reject(error.faults)

    async def _apply(self) -> None:
        document = await asyncio.to_thread(read_file, self._path)
        before = self._service.committed
        committed = await self._service.adopt(document)
        self.status = SourceStatus(str(self._path), (), tuple(document.warnings), self._now())
        for warning in document.warnings:
            log.warn("config.warning", file=str(self._path), **fields_of(warning))
        resources = len(committed.table)
        log.info("config.committed", file=str(self._path), revision=committed.revision, resources=resources)
        if before is not None and before.revision != committed.revision:
            self._events.saw("config.changed", file=str(self._path), revision=committed.revision, resources=resources)
            await self._tell(before, committed)

    async def _tell(self, before: Committed, after: Committed) -> None:
        """An audit row for an edit of the file; who edited it, its repository knows."""
        changes = changes_between(before.table, after.table)
        _, detail = audited(Write(changes, after.table, message=f"{self._path} was edited"))
        try:
            if self._audit is not None:
                detail["revision"] = after.revision  # counted in the state directory, not in the database
                await self._audit.record(FILE, "config.apply", str(self._path), detail)
        except DatabaseGone as error:
            log.error("audit.lost", file=str(self._path), revision=after.revision, reason=str(error))

    def _reject(self, faults: list[Fault]) -> None:
        self.status = SourceStatus(str(self._path), tuple(faults), (), self._now())
        committed = self._service.committed
        serving = committed.revision if committed else 0
        told = [fields_of(fault) for fault in faults[:_MOST_FAULTS]]
        self._events.saw("config.rejected", file=str(self._path), serving=serving, count=len(faults), faults=told)
        for fault in faults:
            log.error("config.rejected", file=str(self._path), still_serving=serving, **fields_of(fault))
