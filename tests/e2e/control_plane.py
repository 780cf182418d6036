"""A control plane process over a file that tests edit; it can be killed and started again on the same ports."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.process import DEADLINE, Process, running
from tests.support.client import Response, ask, get

TOKEN = "a token of the tests"
HEARTBEAT = 0.2
"""Seconds; a node counts as lost after three of them."""
_PAUSE = 0.02
"""Seconds between two questions: polling must not take the processor from what is tested."""


class ControlPlane:
    """`process` is the one that runs now; ports are settled by the first."""

    def __init__(self, directory: Path, processes: AsyncExitStack) -> None:
        self.file = directory / "proxy.yml"
        self.port = 0
        self.grpc_port = 0
        self._state = directory / "control-plane"
        self._processes = processes
        self.process: Process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Return once it listens; on the ports of the one before, if there was one."""
        flags: list[str | Path | float] = ["--config", self.file, "--state-dir", self._state, "--heartbeat", HEARTBEAT]
        flags += ["--port", self.port, "--grpc-port", self.grpc_port]
        flags += ["--admin-token", TOKEN, "--api-rate-limit", 0]  # tests ask often
        self.process = await self._processes.enter_async_context(running("controlplane", *flags))
        listening = await self.process.event("listening")
        self.port, self.grpc_port = listening["port"], listening["grpcPort"]

    def write(self, text: str) -> None:
        """Replace the file's content as editors and ConfigMaps do: never half of it is seen."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.file)

    async def ask(self, path: str) -> Response:
        """The answer to an admin's GET."""
        lines = "Connection: close", f"Authorization: Bearer {TOKEN}"
        return await ask(self.port, get(path, *lines, host="127.0.0.1"))

    async def get(self, path: str) -> Any:
        """The JSON at a path of the REST API."""
        answer = await self.ask(path)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    async def until(self, path: str, accept: Callable[[Any], bool]) -> Any:
        """Ask until the answer is accepted; an AssertionError with the last one after DEADLINE."""
        answer: Any = None
        try:
            async with asyncio.timeout(DEADLINE):
                while not accept(answer := await self.get(path)):  # noqa: ASYNC110 - another process rings no bell
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise AssertionError(f"{path} after {DEADLINE} s still {answer}") from None
        return answer

    async def until_current(self, nodes: int, revision: int = 0) -> int:
        """Wait until exactly so many nodes run the newest revision, which is that one or later; which it is."""

        def settled(status: Any) -> bool:
            return bool(status["nodes"]["current"] == nodes and status["revision"] >= revision)

        return int((await self.until("/api/status", settled))["revision"])

    async def node(self, name: str) -> Any:
        """A node as /api/nodes shows it."""
        [found] = [node for node in (await self.get("/api/nodes"))["nodes"] if node["id"] == name]
        return found


@asynccontextmanager
async def control_plane(directory: Path, text: str) -> AsyncIterator[ControlPlane]:
    """A control plane that serves the text, and its file to edit."""
    async with AsyncExitStack() as processes:
        control = ControlPlane(directory, processes)
        control.write(text)
        await control.start()
        yield control
