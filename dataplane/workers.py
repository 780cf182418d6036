"""`--workers N`: a small parent that starts N processes, which share the port, and keeps them running.

The parent never loads the proxy or gRPC, and starts its children afresh instead of forking. Each child's stdin is a
socket to the parent. The child writes to it when it serves; when it ends the parent is gone, however it died, and the
child goes too. A child that cannot start, at the start, ends everything with the one line that it said itself; one that
crashes later is started again, slower each time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from dataplane.parent import SERVING
from dataplane.settings import AUTO
from dataplane.start_error import StartError, reason_of
from shared import log

FIRST_DELAY = 0.5  # seconds before a crashed child is started again
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
"""A child that ran for so long has not crashed in a loop."""


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count(given: int | None, configured: int | None = None) -> int:
    """How many workers: the setting, else `proxy.workers` of the configuration, else 1; AUTO is one per processor."""
    wanted = given if given is not None else configured
    return processors() if wanted == AUTO else 1 if wanted is None else wanted


def supervise(argv: Sequence[str], workers: int, host: str, port: int) -> int:
    """Run the workers until a signal or a failed start; returns the exit code. `argv` is this program's own.

    StartError where the port cannot be had.
    """
    try:
        reserved = reserve(host, port)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port} for traffic: {reason_of(error)}") from error
    with reserved:
        port = reserved.getsockname()[1]

        def command(index: int) -> list[str]:
            own = ["--host", host, "--port", str(port), "--worker-index", str(index), "--worker-count", str(workers)]
            return [sys.executable, "-m", "dataplane", *argv, *own]

        return asyncio.run(Supervisor(command, workers).run())


def reserve(host: str, port: int) -> socket.socket:
    """A bound socket that never listens; OSError where the port cannot be had. It settles what port 0 is for all.

    Workers share the port with SO_REUSEPORT, which lets them share it with another gateway of the same user too: so the
    port is first asked for without it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as exclusive:
        address = exclusive.getsockname()
    shared = socket.socket(family)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.bind(address)
    return shared


class Worker:
    """One child, and the line to it."""

    def __init__(self, index: int, command: Callable[[int], Sequence[str]]) -> None:
        self.index = index
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._asked: int | None = None

    async def run(self, serving: Callable[[], None]) -> int:
        """From start to exit; `serving` is called when it serves. Returns its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            try:
                # A process group of its own: Ctrl-C is for the parent, which tells the children in its own way.
                process = await asyncio.create_subprocess_exec(
                    *self._command(self.index), stdin=theirs.fileno(), process_group=0
                )
            except OSError as error:
                log.warn("worker.not_started", worker=self.index, reason=str(error))
                return 1
            theirs.close()
            self._process = process
            if self._asked is not None:  # while it was being started
                self.signal(self._asked)
            line = asyncio.create_task(_listen(ours, serving))
            try:
                return await process.wait()
            finally:
                self._process = None
                line.cancel()
                await asyncio.wait([line])

    def signal(self, number: int) -> None:
        """Pass a signal on, now or as soon as there is a child to take it."""
        self._asked = number
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _listen(line: socket.socket, serving: Callable[[], None]) -> None:
    with suppress(ConnectionError):
        if await asyncio.get_running_loop().sock_recv(line, len(SERVING)):
            serving()


class Supervisor:
    """The children, from the first start to the last exit. `command` gives what to run for an index."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        workers: int,
        *,
        jitter: Callable[[], float] = random.random,
        first_delay: float = FIRST_DELAY,
        on_serving: Callable[[int], None] = lambda index: None,
    ) -> None:
        self._workers = [Worker(index, command) for index in range(workers)]
        self._jitter = jitter
        self._first_delay = first_delay
        self._on_serving = on_serving
        self._stopping = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        """Start one, to see that it can be done, then the others; returns the exit code when all have ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        first, *others = self._workers
        settled = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(first, settled))
            await settled.wait()
            if not self._stopping.is_set():
                for worker in others:
                    tasks.create_task(self._keep(worker, asyncio.Event()))
        return self._exit_code

    def stop(self) -> None:
        """Ask every child to drain; asked again, end them at once."""
        number = signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM
        self._stopping.set()
        for worker in self._workers:
            worker.signal(number)

    async def _keep(self, worker: Worker, settled: asyncio.Event) -> None:
        """Run a child, again and again. `settled` is set once it has served, or is known not to."""

        def serving() -> None:
            settled.set()
            self._on_serving(worker.index)

        loop, crashes = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            code = await worker.run(serving)
            if not settled.is_set() and not self._stopping.is_set():
                self._cannot_start(code)
            settled.set()
            if self._stopping.is_set():
                return
            crashes = 0 if loop.time() - began >= STEADY_SECONDS else crashes + 1
            delay = self.delay(crashes)
            log.warn("worker.ended", worker=worker.index, reason=_reason(code), restart_in_seconds=round(delay, 2))
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
                    return

    def _cannot_start(self, code: int) -> None:
        """It has said why: once is enough, and the others would say the same."""
        self._exit_code = code if code > 0 else 1
        self.stop()

    def delay(self, crashes: int) -> float:
        """Half of it fixed, so that a crashing child costs little; half of it by chance, so that they spread."""
        limit = min(LONGEST_DELAY, self._first_delay * float(1 << min(max(crashes - 1, 0), 16)))
        return limit * (1 + self._jitter()) / 2


def _reason(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
