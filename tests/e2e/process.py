"""A program under test as its users run it: `python -m …`, flags, JSON lines, signals and an exit code.

Its output is read all the time, so that a log nobody waits for never holds the program up.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.deadline import Bell

DEADLINE = 20.0
"""Seconds for what takes starting processes, or a few of their intervals, on a busy machine."""
_LONGEST_LINE = 1 << 20

Record = dict[str, Any]


class Process:
    """A running program; `records` are the lines that it wrote so far (`{"text": …}` where one is not JSON)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.records: list[Record] = []
        self._process = process
        self._bell = Bell()
        self._closed = False
        self._reader = asyncio.create_task(self._read())

    def events(self, name: str, **fields: Any) -> list[Record]:
        """The records of that event so far, with those fields."""
        wanted = {"event": name, **fields}
        return [record for record in self.records if wanted.items() <= record.items()]

    async def event(self, name: str, *, nth: int = 1, **fields: Any) -> Record:
        """The nth record of that event, written already or yet to come; an AssertionError where it never comes."""
        await self._bell.until(
            lambda: len(self.events(name, **fields)) >= nth or self._closed,
            f"{name} {fields}, number {nth}",
            seconds=DEADLINE,
        )
        found = self.events(name, **fields)
        assert len(found) >= nth, f"it ended without {name} {fields}: {self.records[-5:]}"
        return found[nth - 1]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once it and all that hold its output have ended."""
        async with asyncio.timeout(DEADLINE):
            await asyncio.shield(self._reader)
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.records.append(_record(line))
            self._bell.ring()
        self._closed = True
        self._bell.ring()


def _record(line: bytes) -> Record:
    try:
        record: Record = json.loads(line)
        return record
    except ValueError:
        return {"text": line.decode(errors="replace")}


@asynccontextmanager
async def running(module: str, *argv: str | Path | float) -> AsyncIterator[Process]:
    """`python -m MODULE ARGV`, without the FLEXGATE_ variables of whoever runs the tests; killed at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEXGATE_")}
    command = [sys.executable, "-m", module, *map(str, argv)]
    process = Process(
        await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=environment, limit=_LONGEST_LINE
        )
    )
    try:
        yield process
    finally:
        await process.kill()
