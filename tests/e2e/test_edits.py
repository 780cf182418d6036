"""A thousand configuration edits while clients keep asking: nothing fails, and what they do not touch lives on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.document import read
from shared.table import table_of
from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.integration.controlplane_node import serving as publishing
from tests.support.client import connected, get
from tests.support.deadline import eventually
from tests.support.origin import Origin, serving

pytestmark = pytest.mark.long
EDITS = 1000
BURST = 40
"""Edits that follow each other at once; then it is waited until all nodes run the last one."""
SPENT = 7
CLIENTS = 5
REPLACEMENTS = 200


@asynccontextmanager
async def state_that_survives(plane: DataPlane, origin: Origin, at_once: int) -> AsyncIterator[None]:
    """A bucket partly spent and an open tunnel, before the block; both must be as they were after it.

    `at_once`: the most requests at any time; the origin saw that many connections, and the tunnel's, and no others.
    """
    left = [int((await plane.ask("/limited")).value("x-ratelimit-remaining") or -1) for _ in range(SPENT)]
    assert left == [left[0] - spent for spent in range(SPENT)]
    assert left[-1] > 0
    async with connected(plane.port) as tunnel:
        assert (await tunnel.ask(get("/tunnel", "Connection: Upgrade", "Upgrade: websocket"))).status == 101
        await tunnel.send(b"before")
        assert await tunnel.exactly(6) == b"before"
        yield
        await tunnel.send(b"after")
        assert await tunnel.exactly(5) == b"after"
    assert (await plane.ask("/limited")).value("x-ratelimit-remaining") == str(left[-1] - 1)
    assert origin.connections <= at_once + 1


async def test_a_thousand_edits_of_the_file(tmp_path: Path) -> None:
    """Edited in bursts on the control plane, followed by two data planes: no request fails, every burst arrives."""
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url)) as control,
        data_plane(control.address, tmp_path, "a") as one,
        data_plane(control.address, tmp_path, "b") as two,
    ):
        revision = await control.until_current(nodes=2)
        await one.shares_limits_with(2)
        # At once: all clients, and the last question to each data plane.
        async with state_that_survives(one, origin, CLIENTS + 2), under_load(one.port, connections=CLIENTS - 1) as load:
            async with under_load(two.port, connections=1) as other:
                for edit in range(1, EDITS + 1):
                    control.write(configured(origin.url, edit))
                    await load.more(1)
                    if edit % BURST == 0:
                        revision = await control.until_current(nodes=2, revision=revision + 1)
            assert (load.failures, other.failures) == ([], [])
            assert len(load.answered) >= EDITS // BURST
            for plane in (one, two):
                answer = await plane.ask("/load/last")
                assert (answer.value("x-edit"), answer.value("x-config-version")) == (str(EDITS), str(revision))
                assert plane.process.events("config.refused") == []


async def test_a_thousand_revisions(tmp_path: Path) -> None:
    """Each published by itself and acknowledged before the next: each serves, and no request fails."""
    async with serving(echo) as origin, publishing() as server:
        await server.publish(table_of(read(configured(origin.url)).config))
        async with data_plane(server.target, tmp_path, "a") as plane:
            await plane.serves(1)
            async with (
                state_that_survives(plane, origin, CLIENTS + 1),
                under_load(plane.port, connections=CLIENTS) as load,
            ):
                for edit in range(1, EDITS + 1):
                    await server.publish(table_of(read(configured(origin.url, edit)).config))
                    await plane.serves(edit + 1)
                await eventually(lambda: plane.ask("/load/last"), lambda answer: answer.value("x-edit") == str(EDITS))
            assert load.failures == []
            assert len(plane.process.events("config.applied", source="stream")) == EDITS + 1
            [node] = server.nodes.view(EDITS + 1)
            assert (node.state, node.superseded) == ("current", 0)


async def test_upstreams_that_come_and_go(tmp_path: Path) -> None:
    """Each revision leads the route under load to another upstream and drops the one before: no request fails.

    The connections of what was dropped are closed; only those of the last upstream stay.
    """
    async with serving(echo) as origin, publishing() as server:

        async def publish(edit: int) -> None:
            upstream = {"name": f"u{edit}", "url": origin.url}
            text = configured(origin.url, edit, load={"upstream": f"u{edit}"}, upstreams=[upstream])
            await server.publish(table_of(read(text).config))

        await publish(0)
        async with data_plane(server.target, tmp_path, "a") as plane:
            await plane.serves(1)
            async with under_load(plane.port, connections=CLIENTS) as load:
                for edit in range(1, REPLACEMENTS + 1):
                    await publish(edit)
                    await plane.serves(edit + 1)
                    await load.more(2)
            assert load.failures == []
            assert len(load.answered) > REPLACEMENTS // 2
            await origin.until(lambda: origin.open <= CLIENTS, "old connections to end")
            assert origin.connections > REPLACEMENTS
