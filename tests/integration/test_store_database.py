"""The database under the control plane: transactions, migrations, and what happens when it is not there."""

from __future__ import annotations

import asyncio
import pkgutil
import stat
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

import controlplane
from controlplane.rollout import tables_rollout  # noqa: F401  # its tables are in METADATA, too
from controlplane.start_error import StartError
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.migrate import migrate, opened, versions
from controlplane.store.tables import IDEMPOTENCY, METADATA
from tests.support.deadline import eventually
from tests.support.postgres import Postgres, running_postgres, started, stopped

ROW = {"subject": "s", "key": "k", "request_hash": "", "answer": {}, "expires": 0}


async def count(database: Database) -> int:
    """How many rows the table has."""
    async with database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(IDEMPOTENCY))).scalar_one()


async def test_a_transaction_is_whole_or_nothing(database_url: str) -> None:
    """What a block changed is there after it; after an exception nothing of it is."""
    async with opened(database_url) as database:
        with pytest.raises(ZeroDivisionError):
            async with database.transaction() as connection:
                await connection.execute(IDEMPOTENCY.insert().values(ROW))
                raise ZeroDivisionError
        assert await count(database) == 0
        async with database.transaction() as connection:
            await connection.execute(IDEMPOTENCY.insert().values(ROW))
        assert await count(database) == 1
        with pytest.raises(IntegrityError):
            async with database.transaction() as connection:
                await connection.execute(IDEMPOTENCY.insert().values(ROW))


async def test_readers_see_one_state(database_url: str) -> None:
    """A reader sees what was there when it began to read, whatever is committed meanwhile, and changes nothing."""
    async with opened(database_url) as database:
        async with database.reading() as reader:
            query = select(func.count()).select_from(IDEMPOTENCY)
            assert (await reader.execute(query)).scalar_one() == 0
            async with database.transaction() as connection:
                await connection.execute(IDEMPOTENCY.insert().values(ROW))
            assert (await reader.execute(query)).scalar_one() == 0
        assert await count(database) == 1


async def test_many_writers_wait_for_each_other(database_url: str) -> None:
    """Two hundred concurrent increments over two connections' worth of control planes lose none."""
    async with opened(database_url) as first, opened(database_url) as second:
        async with first.transaction() as connection:
            await connection.execute(IDEMPOTENCY.insert().values(ROW))

        async def increment(database: Database) -> None:
            async with database.transaction() as connection:
                query = select(IDEMPOTENCY.c.expires).with_for_update()
                number = (await connection.execute(query)).scalar_one()
                await connection.execute(IDEMPOTENCY.update().values(expires=number + 1))

        await asyncio.gather(*(increment(database) for database in [first, second] * 100))
        async with first.reading() as connection:
            assert (await connection.execute(select(IDEMPOTENCY.c.expires))).scalar_one() == 200


async def test_upgrade_from_every_earlier_version(database_url: str) -> None:
    """Each version upgrades to the next, a second run does nothing, and the result is what the tables declare."""
    known = versions()
    assert known == sorted(known)
    database = Database(database_url)
    try:
        before = ""
        for version in known:
            assert await migrate(database, version) == (before, version)
            before = version
        assert await migrate(database) == (known[-1], known[-1])
        async with database.transaction() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()


def differences(connection: Connection) -> list[object]:
    """Where the tables of the database are not those of METADATA."""
    for module in pkgutil.walk_packages(controlplane.__path__, "controlplane."):
        if module.name.rpartition(".")[2].startswith("tables"):
            import_module(module.name)
    return list(compare_metadata(MigrationContext.configure(connection), METADATA))


async def test_starts_at_the_same_time_migrate_once(database_url: str) -> None:
    """Several control planes that find an empty database all start."""
    databases = [Database(database_url) for _ in range(4)]
    try:
        done = await asyncio.gather(*(migrate(database) for database in databases))
        assert sorted(done) == sorted([("", versions()[-1]), *[(versions()[-1], versions()[-1])] * 3])
    finally:
        for database in databases:
            await database.close()


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    """A program does not write into tables that it does not know."""
    async with opened(database_url) as database, database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartError, match="at version 9999, which this program does not know"):
        async with opened(database_url):
            pass


async def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The SQLite file is made with its directory, and nobody else can read it or what SQLite keeps beside it."""
    file = tmp_path / "deep" / "flexgate.db"
    async with opened(f"sqlite:///{file}") as database:
        assert await count(database) == 0
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("flexgate.db", "is no URL"),
        ("mysql://h/n", "type 'mysql' is not supported"),
        ("sqlite://", "in memory would be lost"),
        ("sqlite:////proc/none/flexgate.db", "/proc/none/flexgate.db cannot be written"),
        ("postgresql://u:hunter2@127.0.0.1:1/n", r"postgresql://u:\*\*\*@127.0.0.1:1/n does not answer"),
    ],
)
async def test_what_cannot_be_opened_is_one_line(url: str, message: str) -> None:
    """The line says what is wrong, and never tells the password."""
    with pytest.raises(StartError, match=message) as refused:
        async with opened(url):
            pass
    assert "hunter2" not in str(refused.value)


async def test_a_database_that_went_is_told_and_found_again() -> None:
    """While the server is down a transaction raises DatabaseGone; once it is back the next one works."""
    with running_postgres() as server:
        async with opened(await server.create()) as database:
            with pytest.raises(DatabaseGone):
                async with database.transaction() as connection:
                    await connection.execute(IDEMPOTENCY.insert().values(ROW))
                    await stopped(server)
            with pytest.raises(DatabaseGone, match="does not answer"):
                await count(database)
            await started(server)
            assert await count(database) == 0


async def test_a_frozen_database_does_not_hold_a_writer_for_ever(postgres: Postgres) -> None:
    """A lock that another holds is waited for, not for ever: the reason is DatabaseGone."""
    url = await postgres.create()
    async with opened(url) as first, opened(f"{url}?") as second:
        async with first.transaction() as connection:
            await connection.execute(IDEMPOTENCY.insert().values(ROW))
        async with first.transaction() as holding:
            await holding.execute(select(IDEMPOTENCY.c.key).with_for_update())
            with pytest.raises(DatabaseGone, match="lock"):
                async with second.transaction() as waiting:
                    await waiting.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
                    await waiting.execute(select(IDEMPOTENCY.c.key).with_for_update())
        assert await eventually(lambda: count(second), lambda rows: rows == 1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/flexgate.db", "sqlite:////var/lib/flexgate.db"),
        ("postgresql://gate:hunter2@db:5432/flexgate", "postgresql://gate:***@db:5432/flexgate"),
        ("postgres://db/flexgate", "postgresql://db/flexgate"),
    ],
)
def test_a_database_is_shown_as_it_was_written(url: str, shown: str) -> None:
    """In `flexgate status`, errors and the log: no password, and no driver that nobody chose."""
    assert Database(url).name == shown
