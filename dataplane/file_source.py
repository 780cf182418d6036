"""Runs alone: serves a YAML file and follows its edits, without a control plane.

Revisions count up from 1 within the process. An edit with a fault is told with its line, path and suggestion, and the
configuration before it keeps serving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable
from pathlib import Path

from dataplane.config_source import Held, Status, Target
from dataplane.serving import Serving
from dataplane.settings import Settings
from shared import log
from shared.document import read_file
from shared.faults import ConfigError, Fault
from shared.table import Table, table_of
from shared.watch import changes


class FileSource:
    """The configuration in one file: a ConfigSource."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        *,
        changes: Callable[[Path], AsyncIterable[None]] = changes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.config is not None
        self._path = settings.config
        self._changes = changes
        self._clock = clock
        self._serving = Serving(target, clock=clock)
        self._broken_since: float | None = None
        self._error = ""
        self._unread = 0  # edits that could not be read, or did not pass the checks

    def __repr__(self) -> str:
        return f"<FileSource {self._path} {self.status}>"

    @property
    def status(self) -> Status:
        """As it is now."""
        held = self._serving.held
        age = 0.0 if self._broken_since is None else self._clock() - self._broken_since
        return Status(
            source="file" if held else "none",
            revision=held.revision if held else 0,
            digest=held.table.digest.hex() if held else "",
            age_seconds=age if held else None,
            last_error=self._error,
            apply_failures=self._serving.failures + self._unread,
        )

    def boot(self) -> None:
        """Serve the file; ConfigError with all its faults where that cannot be."""
        self._edits = self._changes(self._path)  # first: what is written from here on is an edit
        self._offer(*_read(self._path))

    async def run(self) -> None:
        """Follow the file's edits until cancelled."""
        async for _ in self._edits:
            await self._reload()

    def stopped(self) -> None:
        """Nothing to put in order."""

    async def _reload(self) -> None:
        try:
            # In a thread: a large document takes a second to read, and requests go on meanwhile.
            read = None
            read = await asyncio.to_thread(_read, self._path)
            self._offer(*read)
        except ConfigError as error:
            faults = [f"{self._path}: {fault}" for fault in error.faults]
            if faults[0] != self._error:
                log.warn("config.rejected", file=str(self._path), faults=faults)
            self._unread += read is None  # what was read and refused is counted where it was offered
            self._error = faults[0]
            self._broken_since = self._clock() if self._broken_since is None else self._broken_since
        else:
            self._error, self._broken_since = "", None

    def _offer(self, table: Table, warnings: list[Fault]) -> None:
        held = self._serving.held
        if held is not None and held.table.digest == table.digest:
            return  # a comment, or an edit that was taken back
        for warning in warnings:
            log.warn("config.warning", file=str(self._path), warning=str(warning))
        self._serving.offer(Held(table, held.revision + 1 if held else 1), "file")


def _read(path: Path) -> tuple[Table, list[Fault]]:
    document = read_file(path)
    return table_of(document.config), document.warnings
