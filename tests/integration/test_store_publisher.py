"""Commits of one control plane at another, and a database that goes and comes back under both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from controlplane.publisher import Publisher
from controlplane.store.consistency import findings
from controlplane.store.database import DatabaseGone
from controlplane.store.notify import follow
from controlplane.store.sql import CHANNEL
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_controlplane_app import rest
from tests.integration.test_store_app import serving
from tests.support.configuration import ALICE, Plane, plane, route, upstream
from tests.support.postgres import Postgres, running_postgres, started, stopped

NEVER = 3600.0
"""Seconds between looks without being told: a test that passes was told."""


@asynccontextmanager
async def following(parts: Plane, probe: float = NEVER) -> AsyncIterator[Publisher]:
    """A publisher that looks only when PostgreSQL tells it."""
    publisher = Publisher(parts.store, poll=NEVER)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(publisher.run()),
            tasks.create_task(follow(parts.database, {CHANNEL: publisher.poke}, probe=probe)),
        ]
        yield publisher
        for task in running:
            task.cancel()


async def test_a_commit_elsewhere_is_told(postgres: Postgres) -> None:
    """What one control plane commits another publishes without looking for it, write after write."""
    url = await postgres.create()
    async with plane(url) as first, plane(url) as second, following(second) as publisher:
        await first.commit(upstream("u"))
        for revision in range(2, 30):
            await first.commit(route(f"r{revision}"))
            await until(lambda: publisher.revision == revision)  # noqa: B023  # awaited within the turn of the loop


async def test_a_listener_comes_back(postgres: Postgres) -> None:
    """Its connection killed, it connects again, and what was committed meanwhile is published."""
    url = await postgres.create()
    async with plane(url) as first, plane(url) as second, following(second, probe=0.02) as publisher:
        await first.commit(upstream("u"))
        await until(lambda: publisher.revision == 1)
        killer = await asyncpg.connect(url)
        killed = await killer.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')"
        )
        await killer.close()
        assert killed
        await first.commit(route("a"))
        await until(lambda: publisher.revision == 2)
        await first.commit(route("b"))
        await until(lambda: publisher.revision == 3)


async def test_looking_finds_what_nobody_tells(tmp_path: Path) -> None:
    """On SQLite a second control plane over the same file finds commits by looking."""
    url = f"sqlite:///{tmp_path}/flexgate.db"
    async with plane(url) as first, plane(url) as second:
        await follow(second.database, {CHANNEL: lambda: None})  # returns: there is nothing to listen to
        publisher = Publisher(second.store, poll=0.01)
        looking = asyncio.create_task(publisher.run())
        await first.commit(upstream("u"))
        await until(lambda: publisher.revision == 1)
        looking.cancel()


@pytest.mark.chaos
async def test_a_database_that_goes_and_comes_back(tmp_path: Path) -> None:
    """While PostgreSQL is down nodes stay connected and reads work, writes say why not; then all goes on by itself."""
    with running_postgres() as server:
        url = await server.create()
        async with serving(url, tmp_path) as (control_plane, channel), rest(control_plane) as client:
            parts = control_plane.plane
            await parts.service.commit([upstream("u"), route("a")], ALICE)
            await until(lambda: parts.publisher.revision == 1)
            node = NodeClient(channel)
            await node.connect()
            await node.accept()
            for number in range(2):
                await stopped(server)
                with pytest.raises(DatabaseGone, match="does not answer"):
                    await parts.service.commit([route(f"b{number}")], ALICE)
                parts.publisher.poke()
                await until(lambda: bool(parts.publisher.trouble))
                status, body, _ = await client.ask("/health/ready")
                assert (status, body["status"], body["checks"]["database"]) == (200, "DEGRADED", "DOWN")
                assert (await client.ask("/api/routes"))[0] == 200
                assert parts.nodes.live == 1
                await started(server)
                outcome = await parts.service.commit([route(f"b{number}")], ALICE)
                assert outcome.committed.revision == number + 2
                delta = await node.delta()
                assert [one.name for one in delta.upserts] == [f"b{number}"]
                await node.ack(delta.nonce, delta.revision, delta.store_epoch)
                await until(lambda: not parts.publisher.trouble)
                assert (await client.ask("/health/ready"))[1]["status"] == "UP"
            async with plane(url) as other:
                await other.commit(route("c"))
            assert [one.name for one in (await node.delta()).upserts] == ["c"]


async def test_a_commit_that_was_cut_off_is_whole_or_nothing(tmp_path: Path) -> None:
    """A database that crashes under many writes has all that were answered, and agrees with itself."""
    with running_postgres() as server:
        async with plane(await server.create()) as parts:
            await parts.commit(upstream("u"))
            answered: list[int] = []

            async def write(number: int) -> None:
                with suppress(DatabaseGone):
                    answered.append((await parts.commit(route(f"r{number}"))).committed.revision)

            writers = [asyncio.create_task(write(number)) for number in range(60)]
            await until(lambda: len(answered) > 5)
            await stopped(server)
            await asyncio.gather(*writers)
            await started(server)
            assert await findings(parts.database) == []
            assert (await parts.newest()).revision >= max(answered)
            assert 5 < len(answered) < 60
