"""An origin to be killed, frozen and started again, in a process: `python -m tests.e2e.origin_process PORT`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.e2e.origin import echo
from tests.e2e.process import Process, running
from tests.support.origin import serving


class OriginProcess:
    """One endpoint: what listens on its port now, if anything does."""

    def __init__(self, processes: AsyncExitStack) -> None:
        self.port = 0
        self._processes = processes
        self._process: Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Return once it listens; on the port of the one before, if there was one."""
        self._process = await self._processes.enter_async_context(running("tests.e2e.origin_process", self.port))
        self.port = (await self._process.event("listening"))["port"]

    async def kill(self) -> None:
        """SIGKILL: connections are reset, and new ones refused."""
        await self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP: the kernel goes on accepting connections and bytes, and nobody answers."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.signal(signal.SIGCONT)


@asynccontextmanager
async def origin_process() -> AsyncIterator[OriginProcess]:
    """An origin that echoes, in a process that ends with the block."""
    async with AsyncExitStack() as processes:
        origin = OriginProcess(processes)
        await origin.start()
        yield origin


async def _serve(port: int) -> None:
    async with serving(echo, port=port) as origin:
        sys.stdout.write(json.dumps({"event": "listening", "port": origin.port}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
