"""Upgrades of databases that were in use: whatever an earlier version wrote is served, listed and audited as before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from controlplane.app import ControlPlane
from controlplane.store.consistency import findings
from controlplane.store.migrate import versions
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_controlplane_app import Client
from tests.integration.test_rest_resources import api
from tests.integration.upgrades import PASSWORD, TABLES, file_of, load, secrets_of

VERSIONS = [version for version in versions() if file_of(version).exists()]
HEADERS = {"X-Kind": {"exact": 'it\'s "quoted"'}}


def test_every_earlier_version_has_its_rows() -> None:
    """A migration comes with rows of its version, at the latest with the next one; CONTRIBUTING tells how."""
    assert set(versions()[:-1]) <= set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_was_written_goes_on(tmp_path: Path, database_url: str, version: str) -> None:
    """After the upgrade everything that the older program kept is there, works, and agrees with itself."""
    await load(database_url, version)
    async with api(tmp_path, database=database_url) as (client, control_plane):
        assert await findings(control_plane.plane.database) == []
        await _is_served(client, version)
        await _is_listed(client, version)
        await _goes_on(client, control_plane)
        if version >= "0002":
            await _lets_in(client, version)
        assert await findings(control_plane.plane.database) == []
    if version >= "0003":
        await _knows_nodes(tmp_path, database_url, version)


def rows(version: str, table: str) -> int:
    """How many rows the older program left."""
    return len(re.findall(f"^INSERT INTO {table} ", file_of(version).read_text(), re.MULTILINE))


async def _is_served(client: Client, version: str) -> None:
    """The configuration, as the document that it came from."""
    _, document, _ = await client.ask("/api/config/export")
    routes = {one["name"]: one for one in document["routes"]}
    assert set(routes) == {"users", "Zoë"} | ({"orders", "late"} if version >= "0005" else set())
    assert (routes["users"]["priority"], routes["users"]["path"]) == (5, "/users/*")
    assert routes["Zoë"]["headers"] == HEADERS
    assert document["proxy"]["timeout"]["request"] == 20000
    assert [one["name"] for one in document["consumers"]] == ["billing"]
    assert {one["name"] for one in document["upstreams"]} == {"users", "orders"}


async def _is_listed(client: Client, version: str) -> None:
    """Revisions, the audit log, rollouts: as many as there were, and whole."""
    _, listed, _ = await client.ask("/api/revisions?limit=1000")
    assert listed["total"] == rows(version, "revisions")
    oldest, newest = listed["revisions"][-1], listed["revisions"][0]
    for one in (oldest, newest):
        _, shown, _ = await client.ask(f"/api/revisions/{one['revision']}")
        assert len(shown["changes"]) == one["changeCount"]
    status, _, _ = await client.ask(f"/api/revisions/{newest['revision']}/diff?from={oldest['revision']}")
    assert status == 200
    _, verified, _ = await client.ask("/api/audit/verify")
    assert verified["valid"], verified
    _, log, _ = await client.ask("/api/audit?action=auth.login")
    assert [(one["actor"], one["detail"]) for one in log["logs"]] == [("boss", {"agent": "curl é"})]
    _, begun, _ = await client.ask("/api/rollouts")
    assert len(begun["rollouts"]) == rows(version, "rollouts")


async def _goes_on(client: Client, control_plane: ControlPlane) -> None:
    """It can be written and rolled back, and a node gets it."""
    _, listed, _ = await client.ask("/api/revisions")
    before = listed["revisions"][0]
    change: Any = {"priority": 9}
    status, body, _ = await client.ask("/api/routes/users?force=1", "PATCH", json=change)
    assert (status, body["priority"]) == (200, 9)
    status, body, _ = await client.ask(f"/api/revisions/{before['revision']}/rollback?force=1", "POST")
    assert (status, body["revision"]) == (200, before["revision"] + 2)
    _, again, _ = await client.ask(f"/api/revisions/{body['revision']}")
    assert again["digest"] == before["digest"]
    await until(lambda: control_plane.plane.publisher.revision == body["revision"])
    async with aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel:
        node = NodeClient(channel)
        await node.connect()
        await node.snapshot()
        assert node.table.digest.hex() == before["digest"]


async def _lets_in(client: Client, version: str) -> None:
    """Tokens and passwords open what they opened; what was revoked or disabled stays so."""
    secrets = secrets_of(version)
    for secret, status in ((secrets["token"], 200), (secrets["revoked"], 401)):
        assert (await client.ask("/api/nodes", headers={"Authorization": f"Bearer {secret}"}))[0] == status
    for name, status in (("ada", 200), ("bob", 401)):
        body = {"name": name, "password": PASSWORD}
        assert (await client.ask("/api/auth/login", "POST", json=body))[0] == status


async def _knows_nodes(directory: Path, url: str, version: str) -> None:
    """The authority is the one that nodes trust, and certificates are good or revoked as they were."""
    async with api(directory, database=url, grpc_tls=True) as (client, _):
        _, known, _ = await client.ask("/api/nodes/certificates")
        revoked = {one["node"]: bool(one.get("revokedAt")) for one in known["certificates"]}
        assert revoked == {"edge-1": False, "edge-2": True}
        _, authority, _ = await client.ask("/api/nodes/authority")
        assert authority["certificate"] in file_of(version).read_text()


def test_rows_are_in_every_table_that_lasts() -> None:
    """The newest rows have something in each table, but for those that hold questions of a moment."""
    newest = VERSIONS[-1]
    empty = {table for table in TABLES if not rows(newest, table)}
    assert empty <= {"rollout_views", "replica_questions", "quarantine"}
