"""Brings the tables of a database to what this version needs: at every start, and by `flexgate migrate`.

One transaction under one lock: a start that is killed half-way changed nothing, and of several control planes that
start together one migrates while the others wait. A database that a newer version migrated is refused, not guessed at.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config as Alembic
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from controlplane.start_error import StartError
from controlplane.store.database import Database, DatabaseGone

DIRECTORY = Path(__file__).parent / "migrations"
LOCK = 4_703_229_001
"""PostgreSQL's advisory lock for migrations: any number that no other program takes."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A database with the tables of this version, closed after the block; StartError where it cannot be had."""
    database = Database(url)
    try:
        try:
            _create(database.file)
            await migrate(database)
        except OSError as error:
            raise StartError(f"{database.file} cannot be written: {error.strerror}") from error
        except DatabaseGone as error:
            raise StartError(str(error)) from error
        yield database
    finally:
        await database.close()


def _create(file: Path | None) -> None:
    """Make an SQLite file that is not there yet, for its owner alone: it holds secrets of the configuration."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


async def migrate(database: Database, target: str = "head") -> tuple[str, str]:
    """(version before, version after); "" before the first. StartError for a database of a newer version."""
    async with database.transaction() as connection:
        if not database.is_sqlite:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        return await connection.run_sync(_upgrade, target)


def versions() -> list[str]:
    """All versions that this program knows, oldest first."""
    scripts = ScriptDirectory(str(DIRECTORY))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def _upgrade(connection: Connection, target: str) -> tuple[str, str]:
    known = versions()
    before = _version(connection)
    if before and before not in known:
        raise StartError(
            f"the database is at version {before}, which this program does not know (its newest is {known[-1]}); "
            "run the newer program, or restore a backup of the older one"
        )
    if before != (known[-1] if target == "head" else target):
        config = Alembic()
        config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, target)
    return before, _version(connection)


def _version(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""
