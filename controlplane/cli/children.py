"""Child processes of `flexgate start`: started together, watched together, stopped together.

Each writes to a log file of its own. When one dies the rest is stopped, and the last it wrote tells why. When the
parent dies, even by SIGKILL, the kernel tells them all to stop (bound.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controlplane.cli import bound

READY_SECONDS = 60.0
STOP_SECONDS = 40.0
"""A data plane drains for 30 s unless its configuration says otherwise."""
POLL_SECONDS = 0.1
TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `probe` is a URL that answers 200 once the program is ready."""

    name: str
    command: tuple[str, ...]
    probe: str
    log: Path


class ChildError(Exception):
    """A child died or never got ready; the text is one line."""


@dataclass(slots=True)
class Child:
    """A program that was started. When `line`, a file descriptor, is closed it stops: at our end, if not before."""

    program: Program
    process: asyncio.subprocess.Process
    line: int

    async def died(self) -> ChildError:
        """Waits for its end, which was not asked for."""
        code = await self.process.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        program = self.program
        return ChildError(f"{program.name} stopped ({how}): {_last_words(program.log)} [{program.log}]")

    async def ready(self) -> None:
        """Waits until its probe answers."""
        while not await asyncio.to_thread(_answers, self.program.probe):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """SIGTERM, patience, SIGKILL."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        os.close(self.line)


class Children:
    """A group that lives and dies together: an async context manager; stops in the reverse order of the start."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._children: list[Child] = []

    async def __aenter__(self) -> Children:
        for program in self._programs:
            self._children.append(await _spawn(program))
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in reversed(self._children):
            await child.stop()

    async def until_ready(self, stop: asyncio.Event) -> bool:
        """Waits until all are ready; False where `stop` came first. ChildError where one dies or takes too long."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                return await self._unless_died(self._all_ready(), stop)
        except TimeoutError:
            raise ChildError(f"not ready after {READY_SECONDS:g} s; the logs may tell why") from None

    async def until_stopped(self, stop: asyncio.Event) -> None:
        """Waits for `stop`; ChildError where one dies before."""
        await self._unless_died(asyncio.Event().wait(), stop)

    async def _all_ready(self) -> None:
        await asyncio.gather(*(child.ready() for child in self._children))

    async def _unless_died(self, awaited: object, stop: asyncio.Event) -> bool:
        done_task = asyncio.ensure_future(awaited)  # type: ignore[call-overload]  # any awaitable will do
        stop_task = asyncio.create_task(stop.wait())
        deaths = [asyncio.create_task(child.died()) for child in self._children]
        everything = [done_task, stop_task, *deaths]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if stop_task.done():
                return False
            for death in deaths:
                if death.done():
                    raise death.result()
            return True
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)


async def _spawn(program: Program) -> Child:
    program.log.parent.mkdir(parents=True, exist_ok=True)
    theirs, ours = os.pipe()
    try:
        with program.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches only us, and we stop the children in order.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", bound.__file__, *program.command),
                stdin=theirs,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return Child(program, process, ours)


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _last_words(log: Path) -> str:
    """The last line of a log, as text even where it is JSON."""
    with suppress(OSError):
        lines = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip().splitlines()
        if lines:
            return _plain(lines[-1].strip())
    return "it said nothing"


def _plain(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    skipped = {"timestamp", "level", "service", "logger"}
    return " ".join(f"{name}={value}" for name, value in record.items() if name not in skipped)
