"""Control planes that share a PostgreSQL, each a process of its own with TLS for nodes; and a writer beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from controlplane.actor import SYSTEM
from controlplane.publisher import Publisher
from controlplane.service import Service
from controlplane.store.audit import Audit
from controlplane.store.migrate import opened
from controlplane.store.sql import SqlStore
from shared.document import read
from tests.e2e.control_plane import HEARTBEAT
from tests.e2e.process import DEADLINE, Process, running
from tests.support.client import ask, get, post

TOKEN = "admin-token-of-the-tests"
JSON, YAML = "Content-Type: application/json", "Content-Type: application/yaml"
_PAUSE = 0.02
"""Seconds between two questions: polling must not take the processor from what is tested."""


class Replica:
    """One control plane."""

    def __init__(self, process: Process, port: int, grpc_port: int) -> None:
        self.process = process
        self.port = port
        self.address = f"127.0.0.1:{grpc_port}"

    async def get(self, path: str) -> Any:
        """The JSON at a path of the REST API."""
        lines = "Connection: close", f"Authorization: Bearer {TOKEN}"
        answer = await ask(self.port, get(path, *lines, host="127.0.0.1"))
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    async def post(self, path: str, body: str, kind: str = JSON) -> Any:
        """The JSON that a POST answers."""
        lines = "Connection: close", f"Authorization: Bearer {TOKEN}", kind
        answer = await ask(self.port, post(body.encode(), path, *lines))
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    async def token(self) -> tuple[str, str]:
        """(a new enrolment token, the fingerprint to trust)."""
        lines = "Connection: close", f"Authorization: Bearer {TOKEN}"
        answer = await ask(self.port, post(b"{}", "/api/nodes/enrolments", *lines, JSON))
        assert answer.status == 201, (answer.status, answer.body)
        return answer.json["token"], answer.json["fingerprint"]

    async def revoke(self, serial: str) -> None:
        """Let nobody in with this certificate any more."""
        lines = "Connection: close", f"Authorization: Bearer {TOKEN}"
        answer = await ask(self.port, post(b"{}", f"/api/nodes/certificates/{serial}/revoke", *lines, JSON))
        assert answer.status == 200, (answer.status, answer.body)

    async def nodes(self, accept: Callable[[list[Any]], bool]) -> list[Any]:
        """The nodes as this replica shows them, once they are accepted; an AssertionError after DEADLINE."""
        shown: list[Any] = []
        try:
            async with asyncio.timeout(DEADLINE):
                while not accept(shown := (await self.get("/api/nodes"))["nodes"]):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise AssertionError(f"after {DEADLINE} s still {shown}") from None
        return shown


@asynccontextmanager
async def replicas(directory: Path, url: str, count: int) -> AsyncIterator[list[Replica]]:
    """So many control planes over one database, on ports of their own; killed at the end."""
    async with AsyncExitStack() as processes:
        made = []
        for number in range(count):
            flags: list[str | Path | float] = [
                "--database",
                url,
                "--state-dir",
                directory / f"cp-{number}",
                "--heartbeat",
                HEARTBEAT,
            ]
            flags += ["--port", 0, "--grpc-port", 0, "--grpc-tls", "on", "--admin-token", TOKEN, "--api-rate-limit", 0]
            process = await processes.enter_async_context(running("controlplane", *flags))
            listening = await process.event("listening")
            made.append(Replica(process, listening["port"], listening["grpcPort"]))
        yield made


async def written(url: str, text: str) -> int:
    """Make this document the configuration, as any control plane over this database would; its revision."""
    async with opened(url) as database:
        store = SqlStore(database, Audit(database))
        outcome = await Service(store, Publisher(store)).replace(read(text), SYSTEM)
        return outcome.committed.revision
