"""A data plane as operators run it: a process with flags, JSON lines on stdout and stderr, signals, an exit code."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

START_DEADLINE = 20.0
"""Seconds for a process to import everything and listen, on a busy machine."""

Record = dict[str, Any]


class DataPlaneProcess:
    """`records` are the lines it wrote so far, in order; `port` and `admin_port` are known once it listens."""

    def __init__(self, process: Process, config: Path) -> None:
        self.process = process
        self.config = config
        self.records: list[Record] = []
        self.port = 0
        self.admin_port = 0

    async def record(self, wanted: Callable[[Record], bool]) -> Record:
        """The first record, of those written already or yet to come, that is wanted; an AssertionError at the end."""
        for known in self.records:
            if wanted(known):
                return known
        async with asyncio.timeout(START_DEADLINE):
            while (read := await self._next()) is not None:
                if wanted(read):
                    return read
        raise AssertionError(f"the process ended after {self.records}")

    async def _next(self) -> Record | None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            return None
        record: Record = json.loads(line)
        self.records.append(record)
        return record

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once the rest of its output is read."""
        async with asyncio.timeout(START_DEADLINE):
            while await self._next() is not None:
                pass
            return await self.process.wait()


def written(text: str, directory: str) -> Path:
    """A configuration file of its own for a gateway."""
    config = Path(directory, "proxy.yml")
    config.write_text(text)
    return config


@asynccontextmanager
async def running_process(text: str, *flags: str) -> AsyncIterator[DataPlaneProcess]:
    """A data plane process that serves the YAML text and listens; killed at the end unless it ended itself."""
    with tempfile.TemporaryDirectory(prefix="flexgate-test-") as directory:
        config = written(text, directory)
        argv = [
            sys.executable,
            "-m",
            "dataplane",
            "--config",
            str(config),
            "--cache-dir",
            str(Path(directory, "cache")),
        ]
        argv += ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", *flags]
        process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=STDOUT)
        running = DataPlaneProcess(process, config)
        try:
            listening = await running.record(lambda record: record.get("event") == "listening")
            running.port, running.admin_port = listening["port"], listening["adminPort"]
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await running.ended()
