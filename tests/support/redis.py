"""A real Redis under the test's control: on a free port; killed, stopped in its tracks, started again, asked."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.deadline import eventually
from tests.support.servers import free_port, needed


class Redis:
    """A redis-server that keeps nothing on disk; a restart loses everything, the scripts too."""

    def __init__(self, directory: str) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def section(self, **more: Any) -> dict[str, Any]:
        """The section `rateLimit` of a configuration that counts here. Busy machines are slow: a second to answer."""
        return {"backend": "redis", "redis": {"url": self.url, "timeout": 1000}, **more}

    async def start(self, *options: str) -> None:
        """Return once it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        words += ["--dir", self._directory, *options]
        self._process = await asyncio.create_subprocess_exec(
            "redis-server", *words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        password = ("-a", options[options.index("--requirepass") + 1]) if "--requirepass" in options else ()
        await eventually(lambda: self.ask("PING", flags=password), lambda answer: answer == "PONG")

    async def ask(self, *words: str, flags: tuple[str, ...] = ()) -> str:
        """The answer to a command, as redis-cli prints it."""
        cli = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(self.port), *flags, *words, stdout=PIPE, stderr=DEVNULL
        )
        answer, _ = await cli.communicate()
        return answer.decode().strip()

    def pause(self) -> None:
        """Stop it where it is: it accepts connections and bytes, and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@asynccontextmanager
async def running_redis(*options: str) -> AsyncIterator[Redis]:
    """A Redis that answers; killed at the end. Skips the test where there is no redis-server."""
    needed("redis-server", "redis-cli")
    with tempfile.TemporaryDirectory(prefix="flexgate-redis-") as directory:
        redis = Redis(directory)
        try:
            await redis.start(*options)
            yield redis
        finally:
            await redis.kill()
