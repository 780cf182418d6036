"""Logins of people: a short access token, and a refresh token that is good once (RFC 9700, 4.14).

A refresh token that comes a second time was stolen, by whoever sent it first or now: the session ends for both.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from controlplane.actor import Actor
from controlplane.auth.access import ACCESS_SECONDS, Access
from controlplane.auth.address import neighbourhood
from controlplane.auth.authenticator import ACCESS_USE
from controlplane.auth.credential import REFRESH_TOKEN, digest, is_one, mint
from controlplane.auth.errors import AccessError, refuse
from controlplane.auth.failures import Failures
from controlplane.auth.passwords import LONGEST, Passwords
from controlplane.auth.passwords import fault as password_fault
from controlplane.auth.signing import signed
from controlplane.auth.tables_auth import ACCESS_REFRESH, ACCESS_SESSIONS, ACCESS_USERS
from controlplane.auth.throttle import Throttle
from controlplane.auth.users import Users
from controlplane.store.database import DatabaseGone
from shared.pb.access_pb2 import ChangePasswordRequest, Grant, LoginRequest, UpdateUserRequest, User

IDLE = 86400.0
"""Seconds after which a session ends that was not refreshed."""
LONGEST_SESSION = 7 * 86400.0
"""Seconds after which people log in anew, whatever they did."""
ENDED = 86400.0
"""Seconds after which a session that was ended is removed."""
FORGET = 3600.0
"""Seconds between two removals of sessions that are over."""
WRONG = "the name or the password is wrong"
"""The one answer to a login that fails: nobody learns which names exist."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login, as its tokens are made of it."""

    id: str
    csrf: str
    user: User


class Sessions:
    """Begins, continues and ends them."""

    def __init__(
        self, access: Access, users: Users, passwords: Passwords, throttle: Throttle, failures: Failures
    ) -> None:
        self._access = access
        self._users = users
        self._passwords = passwords
        self._throttle = throttle
        self._failures = failures

    async def login(self, request: LoginRequest, caller: Actor, agent: str) -> Grant:
        """A session for a name and its password; AccessError(401), and (429) with seconds to wait after five failures.

        `caller` has no name yet, only an address and a correlation id.
        """
        name = request.name[:LONGEST]
        keys = self._begin(name, caller)
        query = select(ACCESS_USERS.c.id, ACCESS_USERS.c.password).where(ACCESS_USERS.c.name == name)
        async with self._access.database.reading() as connection:
            row = (await connection.execute(query)).first()
        right = await self._passwords.verified(row.password if row is not None else "", request.password)
        user = self._access.state.users.get(row.id) if row is not None else None
        if not right or user is None or user.disabled:
            await self._failed(name, caller)
        assert user is not None, "else it failed"
        self._throttle.succeeded(*keys)
        return await self.begin(user, Actor(user.name, user.role, caller.address, caller.correlation_id), agent)

    async def begin(self, user: User, actor: Actor, agent: str) -> Grant:
        """A session for a user who has shown who it is."""
        session = Session(uuid.uuid4().hex, secrets.token_urlsafe(24), user)
        refresh, now = mint(REFRESH_TOKEN), self._access.now()
        started = insert(ACCESS_SESSIONS).values(
            id=session.id,
            user_id=user.id,
            csrf=session.csrf,
            address=actor.address,
            agent=agent[:256],
            started=now,
            expires=now + LONGEST_SESSION,
        )
        async with self._access.database.transaction() as connection:
            await connection.execute(started)
            given = insert(ACCESS_REFRESH).values(digest=digest(refresh), session_id=session.id, issued=now)
            await connection.execute(given)
            detail = {"session": session.id[:8], "agent": agent[:256]}
            await self._access.audit.append(connection, actor, "session.login", f"user/{user.name}", detail)
        return self._grant(session, refresh)

    async def refresh(self, token: str, caller: Actor) -> Grant:
        """New tokens for a refresh token; AccessError(401) where it is not good, or was used before."""
        if not is_one(token, REFRESH_TOKEN):
            raise self._no_refresh(caller)
        fresh, now = mint(REFRESH_TOKEN), self._access.now()
        unused = (ACCESS_REFRESH.c.digest == digest(token)) & ACCESS_REFRESH.c.used.is_(None)
        query = (
            select(ACCESS_SESSIONS, ACCESS_REFRESH.c.issued)
            .join(ACCESS_REFRESH, ACCESS_REFRESH.c.session_id == ACCESS_SESSIONS.c.id)
            .where(ACCESS_REFRESH.c.digest == digest(token))
        )
        async with self._access.database.transaction() as connection:
            # Of two at once, one changes the row, and the other finds it used.
            taken = (await connection.execute(update(ACCESS_REFRESH).where(unused).values(used=now))).rowcount == 1
            row = (await connection.execute(query)).first()
            user = self._access.state.users.get(row.user_id) if row is not None else None
            lasts = row is not None and row.ended is None and now < min(row.expires, row.issued + IDLE)
            if taken and lasts and row is not None and user is not None and not user.disabled:
                given = insert(ACCESS_REFRESH).values(digest=digest(fresh), session_id=row.id, issued=now)
                await connection.execute(given)
                return self._grant(Session(row.id, row.csrf, user), fresh)
        if row is not None and not taken and row.ended is None:
            name = user.name if user is not None else ""
            await self.end(row.id, Actor(name, "", caller.address, caller.correlation_id), "session.replay")
        raise self._no_refresh(caller)

    async def end(self, session: str, actor: Actor, action: str = "session.logout") -> None:
        """End one, at once; nothing where it has ended."""
        lasting = (ACCESS_SESSIONS.c.id == session) & ACCESS_SESSIONS.c.ended.is_(None)
        async with self._access.changing() as connection:
            await connection.execute(update(ACCESS_SESSIONS).where(lasting).values(ended=self._access.now()))
            detail = {"session": session[:8]}
            await self._access.audit.append(connection, actor, action, f"user/{actor.name}", detail)

    async def change_password(self, user: User, request: ChangePasswordRequest, actor: Actor) -> None:
        """A user's own new password, for the old one; all sessions of the user end. AccessError as for a login."""
        refuse(newPassword=password_fault(request.new_password))
        keys = self._begin(user.name, actor)
        query = select(ACCESS_USERS.c.password).where(ACCESS_USERS.c.id == user.id)
        async with self._access.database.reading() as connection:
            kept = (await connection.execute(query)).scalar_one_or_none() or ""
        if not await self._passwords.verified(kept, request.password):
            await self._failed(user.name, actor)
        self._throttle.succeeded(*keys)
        await self._users.update(UpdateUserRequest(name=user.id, password=request.new_password), actor)

    async def run(self) -> None:
        """Forget sessions that are long over, now and then, until cancelled."""
        while True:
            await asyncio.sleep(FORGET)
            with suppress(DatabaseGone):  # next time, then
                await self.forget()

    async def forget(self) -> None:
        """Remove the sessions of which no token can be good any more, not even by a clock that is behind."""
        now = self._access.now()
        over = (ACCESS_SESSIONS.c.expires < now - ACCESS_SECONDS) | (ACCESS_SESSIONS.c.ended < now - ENDED)
        async with self._access.database.transaction() as connection:
            await connection.execute(delete(ACCESS_SESSIONS).where(over))

    def _begin(self, name: str, caller: Actor) -> tuple[str, str]:
        """Count a try; AccessError(429) where there is none left, (503) where too many are looked at already."""
        if self._passwords.busy:
            raise AccessError(503, "too many logins at once; try again", wait=5.0)
        keys = f"account {name}", f"address {neighbourhood(caller.address)}"
        if wait := self._throttle.begin(*keys):
            self._failures.saw("throttled", caller.address, name)
            raise AccessError(429, "too many failed tries; wait before the next one", wait=wait)
        return keys

    async def _failed(self, name: str, caller: Actor) -> None:
        self._failures.saw("password", caller.address, name)
        async with self._access.database.transaction() as connection:
            await self._access.audit.append(connection, caller, "session.refused", f"user/{name[:128]}", {})
        raise AccessError(401, WRONG)

    def _no_refresh(self, caller: Actor) -> AccessError:
        self._failures.saw("refresh", caller.address)
        return AccessError(401, "this refresh token is not good, or was used before; log in again")

    def _grant(self, session: Session, refresh: str) -> Grant:
        claims = {"sub": session.user.id, "sid": session.id, "csrf": session.csrf}
        keys, now = self._access.state.keys, self._access.now()
        return Grant(
            access_token=signed(keys, now, ACCESS_SECONDS, ACCESS_USE, **claims),
            token_type="Bearer",
            expires_in=int(ACCESS_SECONDS),
            refresh_token=refresh,
            csrf_token=session.csrf,
            user=session.user,
        )
