"""Several control planes over one PostgreSQL: any node on any of them, and what is left when one is killed."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.configuration import configured
from tests.e2e.data_plane import data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.e2e.process import DEADLINE
from tests.e2e.replicas import YAML, replicas, written
from tests.support.origin import serving
from tests.support.postgres import Postgres

pytestmark = pytest.mark.chaos
NODES = ("a", "b", "c")


def all_current(shown: list[Any], revision: int) -> bool:
    """Whether every node is connected, to whichever replica, and runs this revision."""
    current = {node["id"] for node in shown if node["connected"] and node["ackedRevision"] == revision}
    return current == set(NODES)


@pytest.mark.long
async def test_a_replica_killed_under_load(tmp_path: Path, postgres: Postgres, outcome: Outcome) -> None:
    """Its nodes are on the other one within seconds, with the certificates that it gave them; no request fails, the
    nodes of both counted together all the time, and the next write reaches all.
    """
    url = await postgres.create()
    async with serving(echo) as origin, AsyncExitStack() as stack:
        assert await written(url, configured(origin.url, 1)) == 1
        one, two = await stack.enter_async_context(replicas(tmp_path, url, 2))
        planes = []
        for name, addresses in zip(NODES, ((one, two), (two, one), (one, two)), strict=True):
            token, fingerprint = await one.token()
            where = ",".join(replica.address for replica in addresses)
            flags = "--enrol-token", token, "--ca-fingerprint", fingerprint, "--report-interval", "0.5"
            planes.append(await stack.enter_async_context(data_plane(where, tmp_path, name, *flags)))
        for replica in (one, two):
            await replica.nodes(lambda shown: all_current(shown, 1))
        for plane in planes:
            await plane.shares_limits_with(len(NODES))
        async with under_load(*(plane.port for plane in planes)) as load:
            outcome.struck("a replica of the control plane killed")
            await one.process.kill()
            await two.nodes(lambda shown: all_current(shown, 1) and not any(node["replica"] for node in shown))
            outcome.recovered()
            assert await written(url, configured(origin.url, 2)) == 2
            await two.nodes(lambda shown: all_current(shown, 2))
            for plane in planes:
                await load.more_from(plane.port)
                await plane.shares_limits_with(len(NODES))
        outcome.load(load)
        assert load.failures == []
        assert set(load.answered) == {1, 2}
        assert (await two.get("/api/metrics"))["summary"]["totalRequests"] > 0  # measurements found it too


async def test_revoked_at_one_replica_cut_at_the_other(tmp_path: Path, postgres: Postgres, outcome: Outcome) -> None:
    """Revoking at one replica ends the node's stream at another, and the node serves on what it has."""
    url = await postgres.create()
    async with serving(echo) as origin, AsyncExitStack() as stack:
        await written(url, configured(origin.url, 1))
        one, two = await stack.enter_async_context(replicas(tmp_path, url, 2))
        token, fingerprint = await one.token()
        flags = "--enrol-token", token, "--ca-fingerprint", fingerprint
        plane = await stack.enter_async_context(data_plane(two.address, tmp_path, "a", *flags))
        [node] = await one.nodes(lambda shown: bool(shown) and shown[0]["state"] == "current")
        assert node["replica"]
        async with under_load(plane.port, connections=1) as load:
            outcome.struck("a node's certificate revoked at another replica")
            await one.revoke(node["certificate"])
            await two.nodes(lambda shown: not shown[0]["connected"])
            outcome.recovered()
            await plane.process.event("control_plane.disconnected")
            await load.more(50)
        outcome.load(load)
        assert load.failures == []


async def test_questions_reach_nodes_of_a_replica_until_it_dies(
    tmp_path: Path, postgres: Postgres, outcome: Outcome
) -> None:
    """Explain and dry run at one replica have the nodes of both. The other one freezes and is killed in the middle of a
    question: what its node would say is missing, with the replica's name, no later than the deadline.
    """
    url = await postgres.create()
    async with serving(echo) as origin, AsyncExitStack() as stack:
        await written(url, configured(origin.url, 1))
        one, two = await stack.enter_async_context(replicas(tmp_path, url, 2))
        for name, replica in (("a", one), ("b", two)):
            token, fingerprint = await one.token()
            flags = "--enrol-token", token, "--ca-fingerprint", fingerprint
            await stack.enter_async_context(data_plane(replica.address, tmp_path, name, *flags))
        shown = await one.nodes(lambda shown: [node["state"] for node in shown] == ["current", "current"])
        [name] = [node["replica"] for node in shown if node["id"] == "b"]

        async def explained() -> dict[str, str]:
            answer = await one.post("/api/explain", '{"path": "/x"}')
            return {node["node"]: node.get("reason", "") for node in answer["nodes"]}

        assert await explained() == {"a": "", "b": ""}
        tried = await one.post("/api/config/apply?dryRun=nodes", configured(origin.url, 2), YAML)
        assert {verdict["node"]: verdict.get("accepted") for verdict in tried["verdicts"]} == {"a": True, "b": True}
        outcome.struck("a replica frozen, and killed while it is asked")
        two.process.signal(signal.SIGSTOP)
        asked = asyncio.create_task(explained())
        await asyncio.sleep(0)  # it is on its way
        await two.process.kill()
        async with asyncio.timeout(DEADLINE):
            assert await asked == {"a": "", "b": f"its control plane {name} did not answer within 3 s"}
        await one.nodes(lambda shown: [node["connected"] for node in shown] == [True, False])
        assert await explained() == {"a": ""}
        outcome.recovered()


async def test_replicas_that_start_together(tmp_path: Path, postgres: Postgres) -> None:
    """On an empty database they share one authority, whoever made it."""
    url = await postgres.create()
    async with replicas(tmp_path, url, 2) as (one, two):
        found = await asyncio.gather(*(replica.get("/api/nodes/authority") for replica in (one, two)))
        assert found[0] == found[1], json.dumps(found)
