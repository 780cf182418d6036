"""A parent of workers that is killed: no worker stays behind and holds the port."""

from __future__ import annotations

import socket

from tests.support.client import ask, get
from tests.support.gateway import document
from tests.support.origin import OK, answering, serving
from tests.support.process import running_process


async def test_workers_go_with_their_parent() -> None:
    """SIGKILL to the parent: both workers drain and end, and the port is free."""
    async with serving(answering(OK)) as origin, running_process(document(origin.url), "--workers", "2") as running:
        await running.record(lambda record: record.get("event") == "listening" and record["node"].endswith("/1"))
        assert (await ask(running.port, get())).status == 200
        running.process.kill()
        await running.ended()  # their output is ours to read, and ends with the last of them
        assert [record["event"] for record in running.records].count("stopped") == 2
        with socket.create_server(("127.0.0.1", running.port)) as free:
            assert free.getsockname()[1] == running.port
