"""PostgreSQL tells what other control planes did (LISTEN/NOTIFY): their commits are published within milliseconds.

A connection of its own, which reconnects for ever. Whatever gets lost on the way only delays: after every connect one
look is asked for, and the publisher looks now and then by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import asyncpg

from controlplane.store.database import CONNECT_SECONDS, REFUSALS, Database
from shared import log

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to connect: doubled from the first to the last."""
PROBE_SECONDS = 30.0
"""How often an idle connection is tried: a peer that vanished without a word is noticed."""


Wakes = Mapping[str, Callable[[], None]]
"""By channel: whom to poke."""


async def follow(database: Database, wakes: Wakes, *, probe: float = PROBE_SECONDS) -> None:
    """Poke at everything that is told until cancelled; on SQLite, which tells nobody, return at once."""
    retry = FIRST_RETRY
    while not database.is_sqlite:
        try:
            connection = await asyncpg.connect(database.dsn, timeout=CONNECT_SECONDS)
        except REFUSALS:
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY)
            continue
        retry = FIRST_RETRY
        try:
            await _listen(connection, wakes, probe)
        except REFUSALS as error:
            log.info("database.listener_lost", reason=str(error) or type(error).__name__)
        finally:
            connection.terminate()


async def _listen(connection: asyncpg.Connection, wakes: Wakes, probe: float) -> None:
    """Poke at every notification until the connection is over."""
    over = asyncio.Event()
    connection.add_termination_listener(lambda _: over.set())
    for channel, poke in wakes.items():
        await connection.add_listener(channel, partial(_told, poke))
        poke()  # for what came before anyone listened
    while not over.is_set():
        try:
            async with asyncio.timeout(probe):
                await over.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=CONNECT_SECONDS)


def _told(poke: Callable[[], None], *_: object) -> None:
    poke()
