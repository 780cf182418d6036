"""The database: one SQLite file, or PostgreSQL where several control planes share it.

All SQL of the control plane runs within `transaction()` or `reading()`; nothing else opens connections. What a
transaction changed is there in whole after it, also after a power cut, or not at all. A database that does not answer
is DatabaseGone, whatever the driver calls it; it is tried anew with the next transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, PendingRollbackError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controlplane.start_error import StartError

BUSY_SECONDS = 10.0
"""How long a writer waits for another one before it gives up."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""How long one statement may take."""
POOL = 8
"""Connections that are kept."""
PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous = FULL",  # what was answered survives a power cut: nodes may run it already
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
)
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
BEGIN = "begin"
DRIVER_FAILURES = (TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What comes through SQLAlchemy as it is."""
REFUSALS: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of something
)
"""What PostgreSQL's driver raises where there is no connection, or none any more."""


class DatabaseGone(Exception):
    """The database does not answer, or refuses to work; later it may again.

    Nothing was written, unless it went in the very moment of the commit: then all of it may be there. Whoever repeats a
    write should give it an idempotency key.
    """


class Database:
    """A database by its URL. Opening it does no I/O."""

    def __init__(self, url: str) -> None:
        self.url = parsed(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        # SQLite lets writers in by polling; a queue of our own is faster, and fair.
        self._writing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Database {self.name}>"

    @property
    def name(self) -> str:
        """The URL as operators write it, without the password and without the driver, which is ours to choose."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def dsn(self) -> str:
        """The URL with its password, as PostgreSQL's own programs and drivers take it."""
        plain = self.url.set(drivername="postgresql")
        if "ssl" in plain.query:
            plain = plain.update_query_dict({"sslmode": plain.query["ssl"]}).difference_update_query(["ssl"])
        return plain.render_as_string(hide_password=False)

    @property
    def file(self) -> Path | None:
        """Where SQLite keeps it; None for PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose changes are committed together at the end of the block; an exception undoes them all.

        On SQLite there is one writer at a time from here on. DatabaseGone where it cannot be begun or committed.
        """
        alone: AbstractAsyncContextManager[Any] = self._writing if self.is_sqlite else nullcontext()
        async with alone, self._begun("IMMEDIATE") as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of everything; what it changes is undone. DatabaseGone as above."""
        async with self._begun("DEFERRED") as connection:
            if not self.is_sqlite:
                await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection
            await connection.rollback()

    async def close(self) -> None:
        """Close all connections; a later transaction opens new ones."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _begun(self, how: str) -> AsyncIterator[AsyncConnection]:
        connection = self._engine.connect()
        with self._mapped(*REFUSALS):
            await connection.start()
        try:
            with self._mapped():
                await connection.execution_options(**{BEGIN: how})
                async with connection.begin():
                    yield connection
        finally:
            # Also when this task is cancelled: a connection that is not given back is lost to the pool.
            await asyncio.shield(asyncio.ensure_future(connection.close()))

    @contextmanager
    def _mapped(self, *more: type[Exception]) -> Iterator[None]:
        """Raise DatabaseGone for what drivers raise where the database, and not our statement, is at fault."""
        gone: tuple[type[Exception], ...] = (DBAPIError, PendingRollbackError, PoolTimeout, *DRIVER_FAILURES, *more)
        try:
            yield
        except (IntegrityError, ProgrammingError, DataError):
            raise
        except gone as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = str(cause) or type(cause).__name__
            raise DatabaseGone(f"the database {self.name} does not answer: {reason}") from error


def parsed(url: str) -> URL:
    """The URL with its driver; StartError, without the password, where it is none that works here."""
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        raise StartError("the database is no URL; write sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    driver = DRIVERS.get(made.drivername)
    if driver is None:
        raise StartError(f"a database of type {made.drivername!r} is not supported; use sqlite or postgresql")
    if driver.startswith("sqlite") and made.database in {None, "", ":memory:"}:
        raise StartError("a database in memory would be lost at the end; write sqlite:///FILE")
    if "sslmode" in made.query:  # as libpq names it
        made = made.update_query_dict({"ssl": made.query["sslmode"]}).difference_update_query(["sslmode"])
    return made.set(drivername=driver)


def _sqlite(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0, pool_timeout=BUSY_SECONDS, **_json())

    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions: _begin does
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(BEGIN, 'DEFERRED')}")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def _postgresql(url: URL) -> AsyncEngine:
    arguments = {
        "timeout": CONNECT_SECONDS,
        "command_timeout": ANSWER_SECONDS,
        "server_settings": {
            "application_name": "flexgate",
            "lock_timeout": f"{int(BUSY_SECONDS * 1000)}ms",
            "idle_in_transaction_session_timeout": "60s",
            "jit": "off",  # our statements are small: compiling them costs more than it saves
        },
    }
    # pool_pre_ping: after a restart of the server the first transaction already works.
    return create_async_engine(
        url,
        connect_args=arguments,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        **_json(),
    )


def _json() -> dict[str, Any]:
    return {"json_serializer": lambda value: orjson.dumps(value).decode(), "json_deserializer": orjson.loads}
