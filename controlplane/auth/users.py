"""Users: people with a password here, or known by a provider. Whatever changes, one admin who can log in remains.

A change of password, a disabled or deleted user, ends that user's sessions at once; a new role counts at once, because
it is never read from a session.
"""

from __future__ import annotations

import uuid
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import ADMIN, Actor
from controlplane.auth.access import Access
from controlplane.auth.errors import AccessError, refuse
from controlplane.auth.fields import NAME, email_fault, name_fault, role_fault
from controlplane.auth.passwords import Passwords
from controlplane.auth.passwords import fault as password_fault
from controlplane.auth.tables_auth import ACCESS_SESSIONS, ACCESS_USERS
from shared.pb.access_pb2 import CreateUserRequest, UpdateUserRequest, User
from shared.timestamp import timestamp

Json = dict[str, Any]


class Users:
    """The verbs, over the access state."""

    def __init__(self, access: Access, passwords: Passwords) -> None:
        self._access = access
        self._passwords = passwords

    def listed(self) -> list[User]:
        """All of them, by name."""
        return sorted(self._access.state.users.values(), key=lambda user: user.name)

    def named(self, name: str) -> User:
        """One, by name or id; AccessError(404) where there is none."""
        users = self._access.state.users
        found = next((user for user in users.values() if user.name == name), None) or users.get(name)
        if found is None:
            raise AccessError(404, f"there is no user {name[:128]!r}")
        return found

    async def create(self, request: CreateUserRequest, actor: Actor) -> User:
        """A new one with a password; AccessError(400) with all faults, (409) where the name is taken."""
        refuse(
            name=name_fault(request.name),
            email=email_fault(request.email),
            role=role_fault(request.role),
            password=password_fault(request.password),
        )
        user = User(id=uuid.uuid4().hex, name=request.name, email=request.email, role=request.role)
        user.created_at = timestamp(self._access.now())
        kept = await self._passwords.hashed(request.password)
        async with self._access.changing() as connection:
            if await _row(connection, user.name) is not None:
                raise AccessError(409, f"there is a user {user.name!r} already")
            await self._insert(connection, user, actor, password=kept)
        return user

    async def update(self, request: UpdateUserRequest, actor: Actor) -> User:
        """Change what is given; AccessError(400) with all faults, (404), and (409) where no admin would be left."""
        new = request.password if request.HasField("password") else None
        refuse(
            email=email_fault(request.email),
            role=role_fault(request.role) if request.HasField("role") else "",
            password=password_fault(new) if new is not None else "",
        )
        kept = await self._passwords.hashed(new) if new is not None else None
        async with self._access.changing() as connection:
            row = await _found(connection, request.name)
            if kept is not None and row.subject is not None:
                raise AccessError(409, f"user {row.name!r} logs in with {row.body.get('issuer')}, not with a password")
            user = ParseDict(row.body, User())
            for name in ("email", "role", "disabled"):
                if request.HasField(name):
                    setattr(user, name, getattr(request, name))
            await self._keep_an_admin(connection, row.id, user)
            if kept is not None or user.disabled:
                await self._end_sessions(connection, row.id)
            await self._write(connection, row, user, actor, password=kept)
        return user

    async def delete(self, name: str, actor: Actor) -> None:
        """Remove one, and its sessions; AccessError(404), and (409) where no admin would be left."""
        async with self._access.changing() as connection:
            row = await _found(connection, name)
            await self._keep_an_admin(connection, row.id, None)
            await connection.execute(delete(ACCESS_USERS).where(ACCESS_USERS.c.id == row.id))
            await self._access.audit.append(connection, actor, "user.delete", f"user/{row.name}", {"before": row.body})

    async def known(self, issuer: str, subject: str, name: str, email: str, role: str, actor: Actor) -> User:
        """The user whom a provider says this is, made at the first login; the role is what the provider says now.

        A local user of the same name is another one: a provider cannot log in as somebody with a password here.
        """
        async with self._access.changing() as connection:
            found = select(ACCESS_USERS).where(ACCESS_USERS.c.subject == f"{issuer} {subject}")
            row = (await connection.execute(found)).first()
            if row is None:
                user = User(id=uuid.uuid4().hex, email=email, role=role, issuer=issuer)
                user.name = await _free_name(connection, name, user.id)
                user.created_at = timestamp(self._access.now())
                await self._insert(connection, user, actor, subject=f"{issuer} {subject}")
                return user
            user = ParseDict(row.body, User())
            if (user.role, user.email) != (role, email):
                user.role, user.email = role, email
                await self._write(connection, row, user, actor)
            return user

    async def _end_sessions(self, connection: AsyncConnection, user_id: str) -> None:
        """End all sessions of a user, within a change of access."""
        lasting = (ACCESS_SESSIONS.c.user_id == user_id) & ACCESS_SESSIONS.c.ended.is_(None)
        await connection.execute(update(ACCESS_SESSIONS).where(lasting).values(ended=self._access.now()))

    async def _insert(
        self, connection: AsyncConnection, user: User, actor: Actor, *, password: str = "", subject: str | None = None
    ) -> None:
        body = MessageToDict(user)
        row = insert(ACCESS_USERS).values(id=user.id, name=user.name, password=password, subject=subject, body=body)
        await connection.execute(row)
        await self._access.audit.append(connection, actor, "user.create", f"user/{user.name}", {"after": body})

    async def _write(
        self, connection: AsyncConnection, row: Row[Any], user: User, actor: Actor, *, password: str | None = None
    ) -> None:
        body = MessageToDict(user)
        changed: Json = {"body": body} | ({"password": password} if password is not None else {})
        await connection.execute(update(ACCESS_USERS).where(ACCESS_USERS.c.id == row.id).values(**changed))
        detail: Json = {"before": row.body, "after": body} | ({"password": "changed"} if password is not None else {})
        await self._access.audit.append(connection, actor, "user.update", f"user/{row.name}", detail)

    async def _keep_an_admin(self, connection: AsyncConnection, changed: str, user: User | None) -> None:
        """AccessError(409) where this change would take the last admin who can log in."""
        rows = (await connection.execute(select(ACCESS_USERS.c.id, ACCESS_USERS.c.body))).all()
        before = {row.id for row in rows if _leads(row.body)}
        after = before - {changed} | ({changed} if user is not None and _leads(MessageToDict(user)) else set())
        if before and not after:
            raise AccessError(409, "this is the last admin; make another user admin first")


def _leads(body: Json) -> bool:
    return body.get("role") == ADMIN and not body.get("disabled", False)


async def _row(connection: AsyncConnection, name: str) -> Row[Any] | None:
    for column in (ACCESS_USERS.c.name, ACCESS_USERS.c.id):
        if (row := (await connection.execute(select(ACCESS_USERS).where(column == name))).first()) is not None:
            return row
    return None


async def _found(connection: AsyncConnection, name: str) -> Row[Any]:
    row = await _row(connection, name)
    if row is None:
        raise AccessError(404, f"there is no user {name[:128]!r}")
    return row


async def _free_name(connection: AsyncConnection, wanted: str, user_id: str) -> str:
    """A name for a provider's user: the one it has there, where that is free and is a name."""
    name = wanted[:100] if NAME.fullmatch(wanted[:100]) else "user"
    return name if await _row(connection, name) is None else f"{name}+{user_id[:8]}"
