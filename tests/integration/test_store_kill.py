"""Control planes that are killed in the middle of a write: the database is as before it, or as after it."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE

import pytest
from sqlalchemy import delete, update

from controlplane.store.consistency import findings
from controlplane.store.database import Database
from controlplane.store.tables import AUDIT, CHANGES, RESOURCES, REVISIONS
from tests.support.configuration import plane, route, upstream

DEADLINE = 60.0


async def written_until_killed(url: str, seed: int) -> int:
    """The last revision that a writer was told, before it was killed at a random moment."""
    program = (sys.executable, "-m", "tests.integration.store_writer", url, str(seed))
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    assert process.stdout is not None
    chance = random.Random(seed)
    told = 0
    try:
        for _ in range(chance.randrange(2, 15)):
            told = int(await process.stdout.readline())
        await asyncio.sleep(chance.random() * 0.02)  # into the middle of whatever the next write is doing
    finally:
        process.kill()
        rest = await process.stdout.read()
        await process.wait()
    return max([told, *(int(line) for line in rest.split(b"\n")[:-1] if line)])


@pytest.mark.chaos
async def test_killed_writers_leave_nothing_half_written(database_url: str) -> None:
    """After each of twelve kills at random moments all tables agree, and no write that was answered is lost."""
    newest = 0
    for seed in range(12):
        async with asyncio.timeout(DEADLINE):
            told = await written_until_killed(database_url, seed)
        async with plane(database_url) as parts:
            assert await findings(parts.database) == []
            committed = await parts.newest()
            assert committed.revision >= told > newest
            newest = committed.revision
    async with plane(database_url) as parts:
        entries = [entry async for entry in parts.audit.all()]
        assert [entry.revision for entry in entries] == list(range(1, newest + 1))


async def test_what_does_not_agree_is_found(database_url: str) -> None:
    """A lost revision, change, resource or audit row, and one that was edited by hand, is told."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"))
        await parts.commit(route("a", priority=5), route("b"))
        await parts.commit(route("b", priority=5))
        assert await findings(parts.database) == []
        await _run(parts.database, update(RESOURCES).where(RESOURCES.c.name == "a").values(body={"name": "x"}))
        assert await findings(parts.database) == ["route 'a' is not what its last change left"]
        await _run(parts.database, delete(RESOURCES).where(RESOURCES.c.name == "a"))
        assert await findings(parts.database) == ["route 'a' is not what its last change left"]
        await _run(parts.database, delete(CHANGES).where(CHANGES.c.revision == 3))
        assert "revision 3 made 1 changes, 0 are kept" in await findings(parts.database)
        await _run(parts.database, delete(REVISIONS).where(REVISIONS.c.revision == 3))
        assert "the head is at revision 3, the newest that is kept is 2" in await findings(parts.database)
        await _run(parts.database, delete(AUDIT).where(AUDIT.c.number == 2))
        told = await findings(parts.database)
        assert "revision 2 has no audit row" in told
        assert "the audit log is broken: row 2 is missing" in told


async def _run(database: Database, statement: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)  # type: ignore[call-overload]  # any statement
