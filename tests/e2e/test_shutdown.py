"""SIGTERM to one of two data planes while clients keep asking: what it took it answers, the rest goes elsewhere."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import data_plane
from tests.e2e.load import CONNECTIONS, FOR_GOOD, under_load
from tests.e2e.origin import Holding
from tests.e2e.outcome import Outcome
from tests.support.client import connected, get
from tests.support.origin import serving


@pytest.mark.chaos
@pytest.mark.long
@pytest.mark.parametrize("visit", [FOR_GOOD, 1], ids=["kept", "fresh"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_under_load(tmp_path: Path, workers: int, visit: int, outcome: Outcome) -> None:
    """Not ready first and still serving; then a whole answer to all it took; exit code 0, and no request failed.

    Also where clients take no notice and go on opening connections, one for each request.
    """
    holding = Holding()
    async with (
        serving(holding.script) as origin,
        control_plane(tmp_path, configured(origin.url)) as control,
        data_plane(control.address, tmp_path, "a", workers=workers) as leaving,
        data_plane(control.address, tmp_path, "b", workers=workers) as staying,
    ):
        await control.until_current(nodes=2 * workers)
        async with (
            under_load(leaving.port, staying.port, connections=2 * CONNECTIONS, visit=visit) as load,
            connected(leaving.port) as client,
        ):
            await load.more_from(leaving.port)
            held = asyncio.create_task(client.ask(get("/held")))
            await holding.arrived.wait()
            outcome.struck(f"SIGTERM to one of two data planes, {workers} workers each")
            leaving.process.signal(signal.SIGTERM)
            for worker in range(workers):
                await leaving.process.event("draining", nth=worker + 1)
                assert (await leaving.admin("/health/ready", worker)).status == 503
            answer = await leaving.ask("/load/late")
            assert (answer.status, answer.value("connection")) == (200, "close")

            await control.until("/api/status", lambda shown: shown["nodes"]["current"] == 2 * workers)
            await load.more_from(staying.port, 200)
            holding.release.set()
            answer = await held
            assert (answer.status, answer.body, answer.value("connection")) == (200, b"GET /held ", "close")
            assert await leaving.process.ended() == 0
            outcome.recovered()
            assert leaving.process.events("drain.timeout") == []
            assert len(leaving.process.events("stopped")) == workers
            await load.more_from(staying.port, 100)
        outcome.load(load)
        assert load.failures == []
        # Its last counts were told before it left: none is missing.
        expected = load.total + 2
        await control.until("/api/metrics", lambda shown: shown["summary"]["totalRequests"] >= expected)
        assert (await control.get("/api/metrics"))["summary"]["totalRequests"] == expected
