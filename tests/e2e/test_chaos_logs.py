"""Whoever collects the logs stops reading: lines are lost and counted, requests are not."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from shared.document import read
from shared.table import table_of
from tests.e2e.configuration import configured
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.integration.controlplane_node import Server, until
from tests.integration.controlplane_node import serving as publishing
from tests.support.client import ask, get
from tests.support.gateway import Samples
from tests.support.origin import serving

pytestmark = [pytest.mark.chaos, pytest.mark.long]
PIPE_BYTES = 4096
EDITS = 120


class Unread:
    """A data plane whose output goes into a small pipe that is read up to the line `listening`, and no further."""

    def __init__(self, process: asyncio.subprocess.Process, listening: dict[str, Any]) -> None:
        self.process = process
        self.port: int = listening["port"]
        self.admin_port: int = listening["adminPort"]

    async def metrics(self) -> Samples:
        return Samples.of((await ask(self.admin_port, get("/metrics", "Connection: close"))).body.decode())


@asynccontextmanager
async def unread(server: Server, directory: Path) -> AsyncIterator[Unread]:
    """It follows that control plane; killed at the end unless it ended itself."""
    output, inherited = os.pipe()
    fcntl.fcntl(inherited, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    argv = ["--control-plane", server.target, "--cache-dir", str(directory), "--node-id", "a", "--drain-delay", "0"]
    argv += ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dataplane", *argv, stdout=inherited, stderr=inherited
    )
    os.close(inherited)
    with os.fdopen(output, "rb", buffering=0) as lines:
        try:
            yield Unread(process, await asyncio.to_thread(listening_in, lines))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def runs(server: Server, revision: int) -> bool:
    """Whether the only node has acknowledged this revision."""
    return [node.state for node in server.nodes.view(revision)] == ["current"]


def listening_in(lines: BinaryIO) -> dict[str, Any]:
    for line in lines:
        record: dict[str, Any] = json.loads(line)
        if record.get("event") == "listening":
            return record
    raise AssertionError("it ended before it listened")


async def test_nobody_reads_the_logs(tmp_path: Path, outcome: Outcome) -> None:
    """Both logs fill the pipe. Requests and edits go on, what was lost is counted, and SIGTERM still drains."""
    async with serving(echo) as origin, publishing() as server:
        await server.publish(table_of(read(configured(origin.url)).config))
        async with unread(server, tmp_path) as plane:
            await until(partial(runs, server, 1))
            async with under_load(plane.port) as load:
                outcome.struck("nobody reads the logs")
                for edit in range(1, EDITS + 1):
                    await server.publish(table_of(read(configured(origin.url, edit)).config))
                    await until(partial(runs, server, edit + 1))
                for _ in range(EDITS):  # an error, and so a line each
                    assert (await ask(plane.port, get("/nowhere"))).status == 404
                await load.more(200)
                assert (await ask(plane.port, get("/load/1"))).value("x-edit") == str(EDITS)
            outcome.load(load)
            assert load.failures == []
            plane.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await plane.process.wait() == 0
            outcome.recovered()
