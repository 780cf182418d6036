"""Backups of a SQLite database, made and brought back while control planes run. PostgreSQL has pg_dump and pg_restore.

Both ways go through SQLite's backup API: a backup is one state of the database, whatever is written meanwhile, and a
restore replaces the content in one transaction, so a control plane that runs sees the old or the new, never a mixture.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from controlplane.actor import Actor
from controlplane.start_error import StartError
from controlplane.store.audit import Audit
from controlplane.store.consistency import findings
from controlplane.store.database import BUSY_SECONDS, Database, DatabaseGone
from controlplane.store.epoch import begin_epoch
from controlplane.store.migrate import migrate
from controlplane.store.tables import HEAD

POSTGRESQL = (
    "this is PostgreSQL: use pg_dump and pg_restore, then start a new epoch, so that nodes take over what was restored "
    "(docs/operations/database.md)"
)


class BackupError(Exception):
    """Why there is no backup, or why nothing was restored; one line."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: the epoch is new, and the revision one more than that of the backup."""

    epoch: str
    revision: int


async def backup(database: Database, file: Path) -> None:
    """Write one state of the database to a file, for its owner alone; an older file of that name is replaced in whole.

    BackupError where it cannot be, and then the older file is as it was.
    """
    if database.file is None:
        raise BackupError(POSTGRESQL)
    with _failing(f"cannot back up to {file}"):
        await asyncio.to_thread(_copy_to, database.file, file)


async def restore(database: Database, file: Path, actor: Actor) -> Restored:
    """Make the database what it was when the backup was made, in a new epoch, so that nodes resync.

    The backup is checked and migrated in a copy first. BackupError where it is none, or does not agree with itself.
    """
    if database.file is None:
        raise BackupError(POSTGRESQL)
    with _failing(f"cannot restore from {file}"), tempfile.TemporaryDirectory(dir=database.file.parent) as directory:
        copy = Path(directory, "restored.db")
        await asyncio.to_thread(_copy_to, file, copy)
        restored = await _renewed(copy, actor, f"restored from {file.name}")
        await asyncio.to_thread(_copy_into, copy, database.file)
        return restored


async def new_epoch(database: Database, actor: Actor, message: str = "restored from a backup") -> Restored:
    """Start a new epoch after a restore by other means (pg_restore): nodes resync. DatabaseGone."""
    async with database.transaction() as connection:
        await begin_epoch(connection, Audit(database), actor, message)
        head = (await connection.execute(select(HEAD))).one()
    return Restored(head.epoch, head.revision)


async def _renewed(copy: Path, actor: Actor, message: str) -> Restored:
    database = Database(f"sqlite:///{copy}")
    try:
        await migrate(database)
        if found := await findings(database):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise BackupError(f"the backup does not agree with itself: {found[0]}{more}")
        return await new_epoch(database, actor, message)
    finally:
        await database.close()


def _copy_to(source: Path, target: Path) -> None:
    """A file of its own, whole or not at all."""
    if not source.is_file():
        raise FileNotFoundError(2, "no such file", str(source))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # for its owner alone
    os.close(descriptor)
    try:
        with _connection(source, "ro") as origin, _connection(Path(name), "rw") as copy:
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            [(verdict,)] = copy.execute("PRAGMA integrity_check(1)")
            if verdict != "ok":
                raise BackupError(f"{source} is damaged: {verdict}")
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy_into(source: Path, target: Path) -> None:
    """The content of a database in the place of another's, in one transaction."""
    with _connection(source, "ro") as origin, _connection(target, "rw") as live:
        live.execute("PRAGMA synchronous = FULL")
        origin.backup(live)


@contextmanager
def _connection(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        yield connection


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{what}: {error.strerror}") from error
    except (sqlite3.Error, StartError, DatabaseGone, BackupError) as error:
        raise BackupError(f"{what}: {error}") from error
