"""What decides about a request, in memory: tokens, users, ended sessions and signing keys, as of one version.

Every change counts the version up in its own transaction, and is read back before the change returns: on this replica
it holds at once. Other replicas look at the version every two seconds. Without a database the last state stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.json_format import ParseDict
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import Actor
from controlplane.auth import signing
from controlplane.auth.fields import moment
from controlplane.auth.tables_auth import ACCESS_KEYS, ACCESS_SESSIONS, ACCESS_STATE, ACCESS_TOKENS, ACCESS_USERS
from controlplane.store.database import Database, DatabaseGone
from shared import log
from shared.pb.access_pb2 import ApiToken, User

ACCESS_SECONDS = 600.0
"""How long an access token is good; an ended session is remembered as long, and so no token of it works."""
POLL = 2.0
"""Seconds between two looks for what another replica changed."""
AGAIN = 300.0
"""Seconds after which all is read again, changed or not."""


Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownToken:
    """An API token by what it is looked up for; `expires` in epoch seconds, 0.0 for never."""

    token: ApiToken
    expires: float


@dataclass(frozen=True, slots=True)
class State:
    """All of it at one version. `tokens` by digest, `users` by id."""

    version: int = -1
    bootstrapped: bool = False
    tokens: Mapping[str, KnownToken] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    keys: tuple[signing.Key, ...] = ()


class Audit(Protocol):
    """The audit log, as far as it is written here."""

    async def append(
        self, connection: AsyncConnection, actor: Actor, action: str, target: str, detail: Json | None = None
    ) -> object:
        """Add a row, as the last thing in the transaction of what it tells."""
        ...


class Access:
    """The state, and the one way to change it."""

    def __init__(
        self, database: Database, audit: Audit, *, now: Callable[[], float] = time.time, poll: float = POLL
    ) -> None:
        self.database = database
        self.audit = audit
        self.now = now
        self.state = State()
        self._poll = poll
        self._reading = asyncio.Lock()
        self._read_at = 0.0

    async def start(self) -> None:
        """Read the state, and make the first key; DatabaseGone where that is not possible."""
        await self.refresh()
        await self.change_keys()

    async def run(self) -> None:
        """Follow what other replicas change until cancelled."""
        gone = False
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.follow()
                await self.change_keys()
                gone = False
            except DatabaseGone as error:
                if not gone:
                    log.warn("access.stale", reason=str(error))
                gone = True

    async def follow(self) -> None:
        """Read the state again if its version is another, or if it was read long ago."""
        async with self.database.reading() as connection:
            version = (await connection.execute(select(ACCESS_STATE.c.version))).scalar_one()
        if version != self.state.version or self.now() >= self._read_at + AGAIN:
            await self.refresh()

    async def refresh(self) -> None:
        """Read all of it."""
        async with self._reading:
            async with self.database.reading() as connection:
                self.state = await _read(connection, self.now() - ACCESS_SECONDS)
            self._read_at = self.now()

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes access. It begins with the version's row, so that there is one at a time, and on
        its end the state is what it made.
        """
        async with self.database.transaction() as connection:
            await connection.execute(update(ACCESS_STATE).values(version=ACCESS_STATE.c.version + 1))
            yield connection
        await self.refresh()

    async def change_keys(self) -> None:
        """Add the next signing key when it is due, and drop those that nothing needs any more."""
        keys, now = self.state.keys, self.now()
        if signing.due(keys, now) is None and not signing.spent(keys, now, ACCESS_SECONDS):
            return
        async with self.changing() as connection:
            keys = await _keys(connection)  # another replica may have been first
            if (key := signing.due(keys, now)) is not None:
                await connection.execute(insert(ACCESS_KEYS).values(id=key.id, secret=key.secret, since=key.since))
            for old in signing.spent(keys, now, ACCESS_SECONDS):
                await connection.execute(delete(ACCESS_KEYS).where(ACCESS_KEYS.c.id == old.id))


async def _read(connection: AsyncConnection, since: float) -> State:
    head = (await connection.execute(select(ACCESS_STATE.c.version, ACCESS_STATE.c.bootstrapped))).one()
    ended = select(ACCESS_SESSIONS.c.id).where(ACCESS_SESSIONS.c.ended > since)
    tokens = await connection.execute(select(ACCESS_TOKENS.c.digest, ACCESS_TOKENS.c.body))
    users = await connection.execute(select(ACCESS_USERS.c.id, ACCESS_USERS.c.body))
    return State(
        head.version,
        bool(head.bootstrapped),
        {row.digest: _known(ParseDict(row.body, ApiToken(), ignore_unknown_fields=True)) for row in tokens},
        {row.id: ParseDict(row.body, User(), ignore_unknown_fields=True) for row in users},
        frozenset((await connection.execute(ended)).scalars()),
        await _keys(connection),
    )


async def _keys(connection: AsyncConnection) -> tuple[signing.Key, ...]:
    found = await connection.execute(select(ACCESS_KEYS.c.id, ACCESS_KEYS.c.secret, ACCESS_KEYS.c.since))
    return tuple(signing.Key(row.id, bytes(row.secret), row.since) for row in found)


def _known(token: ApiToken) -> KnownToken:
    return KnownToken(token, moment(token.expires_at) if token.expires_at else 0.0)
