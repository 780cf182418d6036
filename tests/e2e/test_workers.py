"""Two workers on one port: both serve, one that crashes is started again, and together they grant one limit."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.configuration import LIMIT, configured
from tests.e2e.control_plane import ControlPlane, control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import CONNECTIONS, under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.e2e.process import running
from tests.support.origin import serving


@asynccontextmanager
async def two_workers(directory: Path) -> AsyncIterator[tuple[ControlPlane, DataPlane]]:
    """A data plane of two workers that serve, each knowing of the other."""
    async with (
        serving(echo) as origin,
        control_plane(directory, configured(origin.url)) as control,
        data_plane(control.address, directory, "pod", workers=2) as plane,
    ):
        await control.until_current(nodes=2)
        for worker in range(2):
            await plane.shares_limits_with(2, worker)
        yield control, plane


def worker_pid(parent: int, index: int) -> int:
    """The child of that index, as its command line tells."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[words.index(b"--worker-index") + 1] == b"%d" % index:
            return int(pid)
    raise AssertionError(f"no worker {index}")


async def requests_of(plane: DataPlane, worker: int) -> int:
    """How many a worker has answered, by its own count."""
    text = (await plane.admin("/metrics", worker)).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("http_requests_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


@pytest.mark.chaos
@pytest.mark.long
async def test_a_crashed_worker_is_started_again(tmp_path: Path, outcome: Outcome) -> None:
    """Both carry traffic; SIGKILL to one costs no more than what it had at hand, and it serves again."""
    async with two_workers(tmp_path) as (control, plane):
        assert sorted(plane.nodes) == ["pod/0", "pod/1"]
        nodes = (await control.get("/api/nodes"))["nodes"]
        assert [(node["id"], node["state"]) for node in nodes] == [("pod/0", "current"), ("pod/1", "current")]
        # Which worker gets a connection is for the kernel to say: with so many, each surely gets some.
        async with under_load(plane.port, connections=24) as load:
            assert await requests_of(plane, 0)
            assert await requests_of(plane, 1)
            victim = worker_pid(plane.process.pid, 1)
            outcome.struck("one of two workers killed")
            os.kill(victim, signal.SIGKILL)
            ended = await plane.process.event("worker.ended")
            assert (ended["worker"], ended["reason"]) == (1, "ended by SIGKILL")
            await load.more(200)
            await plane.process.event("listening", nth=2, node="pod/1")
            outcome.recovered()
            await load.more(200)
        outcome.load(load)
        assert 0 < len(load.failures) <= 24, load.failures
        assert all("Connection" in failure or "Truncated" in failure for failure in load.failures)
        assert worker_pid(plane.process.pid, 1) != victim

        await control.until_current(nodes=2)
        async with under_load(plane.port, connections=CONNECTIONS) as load:
            await load.more(200)
        assert load.failures == []


async def test_workers_share_a_limit(tmp_path: Path) -> None:
    """However the kernel spreads the connections, both together admit the limit and not twice as much."""
    async with two_workers(tmp_path) as (_, plane):
        statuses = [(await plane.ask("/limited")).status for _ in range(6 * LIMIT)]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == LIMIT


async def test_workers_alone_share_a_limit(tmp_path: Path) -> None:
    """With a file and no control plane to count them, each still grants its part, from its first request on."""
    config = tmp_path / "proxy.yml"
    async with serving(echo) as origin:
        config.write_text(configured(origin.url, proxy={"workers": 2}))
        argv: list[str | Path] = ["--config", config, "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]
        async with running("dataplane", *argv) as process:
            plane = DataPlane(process, [await process.event("listening", nth=number + 1) for number in range(2)])
            statuses = [(await plane.ask("/limited")).status for _ in range(6 * LIMIT)]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == LIMIT
