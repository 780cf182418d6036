"""A whole control plane whose truth is its database, with nodes on its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc import aio

from controlplane.app import ControlPlane, running
from controlplane.settings import Settings
from controlplane.store.audit import Search
from shared.pb.discovery_pb2 import Held
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_controlplane_app import BOSS, GOOD, rest, started
from tests.support.configuration import ALICE, route, upstream
from tests.support.deadline import eventually


@asynccontextmanager
async def serving(url: str, directory: Path) -> AsyncIterator[tuple[ControlPlane, aio.Channel]]:
    """A control plane over this database, and a channel to it."""
    settings = Settings(database=url, state_dir=directory / "state", port=0, grpc_port=0, admin_token=BOSS)
    async with (
        asyncio.timeout(60),
        running(settings) as control_plane,
        aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel,
    ):
        yield control_plane, channel


async def test_what_is_written_reaches_nodes(tmp_path: Path, database_url: str) -> None:
    """An empty database is ready to be written; a write reaches nodes as a delta, and outlives a restart."""
    async with serving(database_url, tmp_path) as (control_plane, channel), rest(control_plane) as client:
        assert (await client.ask("/health/ready"))[1]["status"] == "UP"
        assert (await client.ask("/api/routes"))[:2] == (200, [])
        service = control_plane.plane.service
        await service.commit([upstream("u"), route("a")], ALICE)
        await until(lambda: control_plane.plane.publisher.revision == 1)
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        assert ("route", "a") in node.table
        await service.commit([route("b")], ALICE)
        delta = await node.delta()
        assert (delta.base_revision, delta.revision, [one.name for one in delta.upserts]) == (1, 2, ["b"])
        node.held = Held(revision=2, digest=node.table.digest, store_epoch=delta.store_epoch)
    async with serving(database_url, tmp_path) as (control_plane, channel):
        again = NodeClient(channel)
        again.held = node.held
        await again.connect()
        assert (await again.next()).WhichOneof("message") == "current"


async def test_a_node_that_serves_comes_to_an_empty_database(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A database by mistake, or a new one: told before the first write takes everything from the nodes."""
    async with serving(database_url, tmp_path) as (_, channel):
        node = NodeClient(channel)
        node.held = Held(revision=9, digest=b"d" * 16, store_epoch="elsewhere")
        await node.connect()
        await until(lambda: "node.ahead_of_nothing" in caplog.messages)


async def test_an_edit_of_the_file_is_audited(tmp_path: Path) -> None:
    """Where a file is the truth its edits are in the audit log too, with what they changed, secrets redacted."""
    async with started(tmp_path) as (control_plane, file):
        file.write_text(GOOD.replace("max: 100", "max: 7"))
        audit = control_plane.plane.audit
        search = Search({"actor": "file"})
        [entry] = await eventually(lambda: audit.page(search), bool)
        assert (entry.action, entry.target, entry.detail["revision"]) == ("config.apply", str(file), 2)
        [change] = entry.detail["changes"]
        assert (change["before"]["rateLimit"]["max"], change["after"]["rateLimit"]["max"]) == (100, 7)
