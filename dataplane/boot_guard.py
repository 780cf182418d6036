"""Ends boot loops: a configuration that twice ended the process soon after it was applied is not applied again.

Before a table is tried its digest is written down; it is crossed out once it has served for a while, and when the
process ends because it was asked to. A digest found standing at boot is one whose process died. Tables are told by
digest, so that one is known again whether it comes from disk or over the stream; deaths count for one version of the
program only, because an upgrade may have cured them.

At boot the writing is simply done. While traffic is served a thread does it, and only the next table waits for it: a
disk that hangs must not stop the requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from shared import log

DEATHS = 2
"""After so many a table is refused."""
FILE = "boot.json"
PATIENCE = 2.0
"""Seconds that a table waits for the disk: after that it is applied though a death of it may go unrecorded."""


class BootGuard:
    """The deaths on record in one directory, which belongs to one process."""

    def __init__(self, directory: Path, version: str, *, patience: float = PATIENCE) -> None:
        self._path = directory / FILE
        self._version = version
        self._deaths, on_trial = _read(self._path, version)
        if on_trial:
            self._deaths[on_trial] = self._deaths.get(on_trial, 0) + 1
        self._patience = patience
        self._trial = self._before = self._expected = ""
        self._stopped = False
        self._writer: ThreadPoolExecutor | None = None  # once traffic is served
        self._write()

    def __repr__(self) -> str:
        return f"<BootGuard trial={self._trial!r} deaths={self._deaths}>"

    def deaths(self, digest: bytes) -> int:
        """How often the process died soon after this table was applied."""
        return self._deaths.get(digest.hex(), 0)

    def refuses(self, digest: bytes) -> bool:
        """Whether this table has ended the process often enough."""
        return self.deaths(digest) >= DEATHS

    def serving(self) -> None:
        """Traffic is served from now on: nothing may wait for the disk but `expect`."""
        self._writer = ThreadPoolExecutor(1, "boot-guard")

    async def expect(self, digest: bytes) -> None:
        """This table is applied next: returns when that is on record. To be followed by `trying` or `unexpected`."""
        if self._stopped:
            return
        if not self._expected:
            self._before = self._trial
        self._trial = self._expected = digest.hex()
        written = self._write()
        if written is None:
            return
        try:
            done, _ = await asyncio.wait([asyncio.wrap_future(written)], timeout=self._patience)
            if not done:
                log.warn("boot_guard.unwritable", file=str(self._path), reason="the disk does not answer")
        except asyncio.CancelledError:
            self.unexpected()
            raise

    def unexpected(self) -> None:
        """What was expected last is not applied, if it was not: the table before it is on trial again."""
        if self._expected:
            self._expected = ""
            self.refused()

    def trying(self, digest: bytes) -> None:
        """This table is applied now."""
        expected, self._expected = self._expected, ""
        if self._stopped or digest.hex() == expected:
            return
        self._before, self._trial = self._trial, digest.hex()
        self._write()

    def refused(self) -> None:
        """The table tried last is not served: the one before it is on trial again, if it was."""
        if self._stopped:
            return
        self._trial = self._before
        self._write()

    def survived(self, digest: bytes, *, newest: bool) -> None:
        """This table has served for a while. As the `newest` there is, it makes those before it history."""
        if newest:
            self._deaths.clear()
        self._deaths.pop(digest.hex(), None)
        # What is expected next has not served at all.
        self._trial, self._before = ("" if of == digest.hex() else of for of in (self._trial, self._before))
        self._write()

    def stopped(self) -> None:
        """The process ends because it was asked to: nothing died of the table on trial, and nothing will."""
        self._stopped = True
        self._trial = ""
        self._write()

    def _write(self) -> Future[None] | None:
        """Put it on record; what is returned is done when it is, None: it is now."""
        record = json.dumps({"version": self._version, "trial": self._trial, "deaths": self._deaths})
        if self._writer is None:
            self._put(record)
            return None
        return self._writer.submit(self._put, record)

    def _put(self, record: str) -> None:
        # Not fsynced: it must outlive the process, not the machine, and it is written at every change of configuration.
        fresh = self._path.with_suffix(".tmp")
        try:
            fresh.write_text(record)
            fresh.replace(self._path)
        except OSError as error:
            log.warn("boot_guard.unwritable", file=str(self._path), reason=error.strerror)


def _read(path: Path, version: str) -> tuple[dict[str, int], str]:
    """(deaths by digest, the digest that was on trial); nothing where the file is absent, torn or another version's."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text())
        if isinstance(content, Mapping) and content.get("version") == version:
            deaths, trial = content.get("deaths"), content.get("trial")
            if isinstance(deaths, Mapping) and isinstance(trial, str):
                return {str(digest): count for digest, count in deaths.items() if isinstance(count, int)}, trial
    return {}, ""
