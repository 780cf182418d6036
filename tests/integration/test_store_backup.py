"""Backups: made while it is written, brought back in a new epoch, and taken over by nodes."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import delete as sql_delete
from sqlalchemy import update

from controlplane.store.backup import BackupError, backup, new_epoch, restore
from controlplane.store.consistency import findings
from controlplane.store.database import Database
from controlplane.store.tables import AUDIT, AUDIT_TAIL, CHANGES, HEAD, RESOURCES, REVISIONS
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_store_app import serving
from tests.support.configuration import ALICE, plane, route, upstream
from tests.support.postgres import Postgres


async def test_a_restored_backup_reaches_a_connected_node(tmp_path: Path) -> None:
    """Restored under a running control plane, an older state is a new epoch: its node gets all of it, and follows."""
    url = f"sqlite:///{tmp_path}/flexgate.db"
    async with serving(url, tmp_path) as (control_plane, channel):
        parts = control_plane.plane
        await parts.service.commit([upstream("u"), route("a")], ALICE)
        await backup(parts.database, tmp_path / "backup.db")
        for name in "bcd":
            await parts.service.commit([route(name)], ALICE)
        await until(lambda: parts.publisher.revision == 4)
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        before = parts.publisher.newest
        restored = await restore(parts.database, tmp_path / "backup.db", ALICE)
        parts.publisher.poke()
        [chunk] = await node.snapshot()
        assert before is not None
        assert chunk.snapshot.store_epoch == restored.epoch != before.epoch
        assert (chunk.snapshot.revision, restored.revision) == (2, 2)
        assert {name for kind, name in node.table if kind == "route"} == {"a"}
        await node.ack(chunk.snapshot.nonce, 2, restored.epoch)
        outcome = await parts.service.commit([route("e")], ALICE)
        assert outcome.committed.revision == 3
        delta = await node.delta()
        assert (delta.base_revision, [one.name for one in delta.upserts]) == (2, ["e"])
        await node.ack(delta.nonce, 3, restored.epoch)
        await until(lambda: parts.nodes.states(3)["current"] == 1)
        assert await findings(parts.database) == []
        assert [one.action for one in await parts.audit.page()] == ["config.write", "config.restore", "config.write"]


async def test_a_backup_is_one_state_whatever_is_written(tmp_path: Path) -> None:
    """Backups made during writes each agree with themselves, and are for their owner alone."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        await parts.commit(upstream("u"), *(route(f"r{number}") for number in range(200)))

        async def write() -> None:
            for number in range(30):
                await parts.commit(route(f"r{number}", priority=7), route(f"r{number + 1}", priority=8))

        async def back_up() -> None:
            for number in range(6):
                await backup(parts.database, tmp_path / f"backup-{number}.db")

        await asyncio.gather(write(), back_up())
        for number in range(6):
            file = tmp_path / f"backup-{number}.db"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            copy = Database(f"sqlite:///{file}")
            assert await findings(copy) == []
            await copy.close()
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".backup")]


async def test_what_is_no_good_backup_is_refused(tmp_path: Path) -> None:
    """A missing file, another file, a damaged and an edited one restore nothing, and say why."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        await parts.commit(upstream("u"), route("a"))
        (tmp_path / "text").write_text("no database, but long enough to be looked at\n" * 99)
        edited = tmp_path / "edited.db"
        await backup(parts.database, edited)
        copy = Database(f"sqlite:///{edited}")
        async with copy.transaction() as connection:
            await connection.execute(update(RESOURCES).where(RESOURCES.c.name == "a").values(body={"name": "b"}))
        await copy.close()
        for name, message in (
            ("none", "no such file"),
            ("text", "not a database"),
            ("edited.db", "does not agree with itself: route 'a' is not what"),
        ):
            with pytest.raises(BackupError, match=message):
                await restore(parts.database, tmp_path / name, ALICE)
        with pytest.raises(BackupError, match="cannot back up to"):
            await backup(parts.database, tmp_path / "none" / "backup.db")
        assert (await parts.newest()).revision == 1


async def test_postgresql_has_its_own_backups(postgres: Postgres, tmp_path: Path) -> None:
    """Backup and restore point to pg_dump; a new epoch can be started by hand, and is one revision more."""
    async with plane(await postgres.create()) as parts:
        for failing in (backup(parts.database, tmp_path / "b"), restore(parts.database, tmp_path / "b", ALICE)):
            with pytest.raises(BackupError, match="pg_dump"):
                await failing
        await parts.commit(upstream("u"))
        before = await parts.newest()
        restored = await new_epoch(parts.database, ALICE)
        after = await parts.newest()
        assert (after.epoch, after.revision) == (restored.epoch, 2)
        assert after.epoch != before.epoch
        assert after.table.digest == before.table.digest


async def test_a_restore_behind_our_back_is_a_new_epoch(database_url: str) -> None:
    """A control plane that finds its database at an older revision starts a new epoch by itself, and only one does."""
    async with plane(database_url) as first, plane(database_url) as second:
        await first.commit(upstream("u"), route("a"))
        await first.commit(route("a", priority=3))
        before = await second.newest()
        async with first.database.transaction() as connection:  # as if a backup of revision 1 had been restored
            body = {"id": 1, "name": "a", "path": "/a/*", "upstream": "u"}
            await connection.execute(update(HEAD).values(revision=1))
            for table in (CHANGES, REVISIONS):
                await connection.execute(sql_delete(table).where(table.c.revision == 2))
            await connection.execute(update(RESOURCES).where(RESOURCES.c.name == "a").values(version=1, body=body))
            await connection.execute(sql_delete(AUDIT).where(AUDIT.c.number == 2))
            [oldest] = await first.audit.page(before=2)
            await connection.execute(update(AUDIT_TAIL).values(number=1, hash=oldest.hash))
        assert before.revision == 2
        ours, theirs = await asyncio.gather(first.newest(), second.newest())
        assert (ours.epoch, ours.revision, ours.table.digest) == (theirs.epoch, theirs.revision, theirs.table.digest)
        assert ours.epoch != before.epoch
        assert ours.revision == 2
        assert await findings(first.database) == []
