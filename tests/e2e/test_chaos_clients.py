"""Clients that vanish in the midst of what they do: others are served, nothing is held back, no upstream is blamed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.support.client import connected, get
from tests.support.deadline import eventually
from tests.support.gateway import Samples
from tests.support.origin import serving

pytestmark = [pytest.mark.chaos, pytest.mark.long]
ROUNDS = 10
AT_ONCE = 20
UPLOAD = b"POST /load/x HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000


async def metrics(plane: DataPlane) -> Samples:
    return Samples.of((await plane.admin("/metrics")).body.decode())


async def vanish(port: int, data: bytes, how: int) -> None:
    """Send so much and go: with a reset, or by closing in order."""
    async with connected(port) as client:
        await client.send(data)
        if how % 2:
            client.abort()


async def test_clients_vanish_under_load(tmp_path: Path, outcome: Outcome) -> None:
    """Within heads, bodies and before answers: upstream connections end or are free again, none counts as a failure."""
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url)) as control,
        data_plane(control.address, tmp_path, "a") as plane,
    ):
        await control.until_current(nodes=1)
        async with under_load(plane.port) as load:
            outcome.struck(f"{ROUNDS * AT_ONCE} clients vanish within head, body or answer")
            for turn in range(ROUNDS):
                data = (UPLOAD, get("/load/1"), b"GET /load/1 HTTP/1.1\r\nHo", UPLOAD)
                await asyncio.gather(*(vanish(plane.port, data[n % 4], turn) for n in range(AT_ONCE)))
            await load.more()
        outcome.load(load)
        assert load.failures == []
        found = await eventually(
            lambda: metrics(plane),
            lambda shown: (
                shown.value("http_requests_in_flight") == shown.value("upstream_connections", state="busy") == 0
            ),
        )
        outcome.recovered()
        assert found.value("http_requests_total", status="499") >= ROUNDS * AT_ONCE // 4
        assert not found.labels("http_requests_total", "status") - {"200", "408", "499"}
        assert found.value("upstream_errors_total") == 0
