"""The data plane as a process: boots from what it kept, shares a port among workers, and says why it does not start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.document import read
from shared.table import Table, table_of
from tests.integration.controlplane_node import serving, until

DEADLINE = 20.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FLEXGATE_")}
ROUTE = "upstreams: [{name: u, url: 'http://127.0.0.1:9'}]\nroutes: [{path: '/%s', upstream: u}]\n"


def routed(path: str) -> Table:
    """The table of a small document."""
    return table_of(read(ROUTE % path).config)


class Process:
    """A running data plane, and the events in its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of this name; fails the test when the log ends before."""
        assert self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            async for line in self._process.stderr:
                event: dict[str, Any] = json.loads(line)
                if event.get("event") == name:
                    return event
        raise AssertionError(f"it ended without {name}")

    async def end(self, number: int) -> int:
        """Send a signal; the exit code."""
        self._process.send_signal(number)
        return await self.exit_code()

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE):
            _, rest = await self._process.communicate()
            self.rest = rest.decode()
            return self._process.returncode or 0

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


@asynccontextmanager
async def dataplane(*argv: str) -> AsyncIterator[Process]:
    """`python -m dataplane` on free ports; killed at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dataplane", "--port", "0", "--admin-port", "0", "--drain-delay", "0", *argv,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip  # the command line reads as one
    started = Process(process)
    try:
        yield started
    finally:
        await started.kill()


async def get(port: int, path: str) -> tuple[int, str | None]:
    """(status, the revision that served it)."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, response.headers.get("X-Config-Version")


async def test_a_killed_node_comes_back_without_a_control_plane(tmp_path: Path) -> None:
    """Served and kept; SIGKILL; control plane gone: it boots ready from disk, at the old revision."""
    flags = ("--cache-dir", str(tmp_path), "--trust-after", "0", "--node-id", "n")
    async with serving() as server:
        await server.publish(routed("x"), revision=41)
        async with dataplane("--control-plane", server.target, *flags) as first:
            listening = await first.event("listening")
            await until(lambda: [node.state for node in server.nodes.view(41)] == ["current"])
            await first.event("config.kept")
            assert await get(listening["port"], "/x") == (502, "41")
            assert await first.end(signal.SIGKILL) == -signal.SIGKILL
    async with dataplane("--control-plane", server.target, *flags) as second:
        listening = await second.event("listening")
        assert listening["revision"] == 41
        assert await get(listening["port"], "/x") == (502, "41")
        assert (await get(listening["adminPort"], "/health/ready"))[0] == 200
        assert await second.end(signal.SIGTERM) == 0


async def test_a_new_node_without_a_control_plane_is_not_ready(tmp_path: Path) -> None:
    """Nothing kept and nobody there: 503 on every path, never an open 404."""
    async with dataplane("--control-plane", "127.0.0.1:1", "--cache-dir", str(tmp_path)) as node:
        listening = await node.event("listening")
        assert (await get(listening["adminPort"], "/health/ready"))[0] == 503
        assert (await get(listening["port"], "/x"))[0] == 503
        assert (await node.event("control_plane.disconnected"))["reason"].startswith("control plane 127.0.0.1:1: ")
        assert await node.end(signal.SIGTERM) == 0


async def test_workers_share_a_port_and_follow_the_stream_each(tmp_path: Path) -> None:
    """Two workers are two nodes, on one traffic port, each with its own admin port and its own files."""
    async with serving() as server:
        await server.publish(routed("x"))
        flags = ("--control-plane", server.target, "--cache-dir", str(tmp_path), "--node-id", "pod", "--workers", "2")
        async with dataplane(*flags) as parent:
            one, two = await parent.event("listening"), await parent.event("listening")
            assert one["port"] == two["port"] != 0
            assert one["adminPort"] != two["adminPort"]
            assert sorted((one["node"], two["node"])) == ["pod/0", "pod/1"]
            await until(lambda: [node.state for node in server.nodes.view(1)] == ["current"] * 2)
            assert await get(one["port"], "/x") == (502, "1")
            assert sorted(os.listdir(tmp_path)) == ["worker-0", "worker-1"]
            assert await parent.end(signal.SIGTERM) == 0


async def test_a_killed_parent_leaves_no_workers(tmp_path: Path) -> None:
    """SIGKILL to the parent: the workers drain and go, and the port is free."""
    path = tmp_path / "proxy.yml"
    path.write_text(ROUTE % "x")
    async with dataplane("--config", str(path), "--workers", "2") as parent:
        await parent.event("listening")
        await parent.event("listening")
        await parent.end(signal.SIGKILL)  # its log ends when the last worker has closed it
        assert parent.rest.count('"stopped"') == 2


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_unusable_cache_directory_is_one_line(tmp_path: Path, workers: str) -> None:
    """Said once, with what to do; exit code 1, nothing half started."""
    (tmp_path / "file").write_bytes(b"")
    flags = ("--control-plane", "127.0.0.1:1", "--cache-dir", str(tmp_path / "file"), "--workers", workers)
    async with dataplane(*flags) as node:
        assert await node.exit_code() == 1
        [line] = node.rest.splitlines()
        assert line.startswith("flexgate-dataplane: ")
        assert "cannot be written to: Not a directory; give another --cache-dir" in line
