"""API tokens: made with a secret that is shown once, listed, revoked. When each was used last is kept coarsely."""

from __future__ import annotations

import asyncio
import uuid

from google.protobuf.json_format import MessageToDict
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import Actor
from controlplane.auth.access import Access
from controlplane.auth.credential import API_TOKEN, SHOWN, digest, mint
from controlplane.auth.errors import AccessError, refuse
from controlplane.auth.fields import moment, name_fault, role_fault
from controlplane.auth.tables_auth import ACCESS_TOKENS
from controlplane.store.database import DatabaseGone
from shared.pb.access_pb2 import ApiToken, CreateTokenRequest, CreateTokenResponse
from shared.timestamp import timestamp

COARSE = 60.0
"""Seconds between two writes of when tokens were used."""
DAY = 86400.0
LONGEST_DAYS = 3650


class Tokens:
    """The verbs, over the access state."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._used: dict[str, float] = {}  # by id, not yet written

    def used(self, token: ApiToken) -> None:
        """Note a use; written later."""
        self._used[token.id] = self._access.now()

    async def listed(self) -> list[ApiToken]:
        """All of them, by name."""
        async with self._access.database.reading() as connection:
            found = await connection.execute(select(ACCESS_TOKENS.c.id, ACCESS_TOKENS.c.last_used))
            last_used = {row.id: row.last_used for row in found}
        shown = []
        for known in self._access.state.tokens.values():
            token = ApiToken()
            token.CopyFrom(known.token)
            used = self._used.get(token.id) or last_used.get(token.id)
            token.last_used_at = timestamp(used) if used else ""
            shown.append(token)
        return sorted(shown, key=lambda token: token.name)

    async def named(self, name: str) -> ApiToken:
        """One, by name or id; AccessError(404) where there is none."""
        found = [token for token in await self.listed() if name in {token.name, token.id}]
        if not found:
            raise _missing(name)
        return found[0]

    async def create(self, request: CreateTokenRequest, actor: Actor) -> CreateTokenResponse:
        """A new one, with its secret; AccessError(400) with all faults, (409) where the name is taken."""
        expires = self._expiry(request)
        secret = mint(API_TOKEN)
        token = ApiToken(
            id=uuid.uuid4().hex,
            name=request.name,
            role=request.role,
            prefix=secret[:SHOWN],
            created_by=actor.name,
            created_at=timestamp(self._access.now()),
            expires_at=timestamp(expires) if expires else "",
        )
        async with self._access.changing() as connection:
            await self.insert(connection, token, secret, actor)
        return CreateTokenResponse(token=token, secret=secret)

    async def insert(self, connection: AsyncConnection, token: ApiToken, secret: str, actor: Actor) -> None:
        """Store a token, within a change of access."""
        taken = select(ACCESS_TOKENS.c.id).where(ACCESS_TOKENS.c.name == token.name)
        if (await connection.execute(taken)).first() is not None:
            raise AccessError(409, f"there is a token {token.name!r} already")
        body = MessageToDict(token)
        row = insert(ACCESS_TOKENS).values(id=token.id, name=token.name, digest=digest(secret), body=body)
        await connection.execute(row)
        await self._access.audit.append(connection, actor, "token.create", f"token/{token.name}", {"after": body})

    async def revoke(self, name: str, actor: Actor) -> None:
        """End one, by name or id, at once; AccessError(404) where there is none."""
        async with self._access.changing() as connection:
            found = select(ACCESS_TOKENS).where((ACCESS_TOKENS.c.name == name) | (ACCESS_TOKENS.c.id == name))
            row = (await connection.execute(found)).first()
            if row is None:
                raise _missing(name)
            await connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == row.id))
            await self._access.audit.append(
                connection, actor, "token.revoke", f"token/{row.name}", {"before": row.body}
            )
        self._used.pop(row.id, None)

    async def run(self) -> None:
        """Write uses until cancelled; what cannot be written now is written later."""
        while True:
            await asyncio.sleep(COARSE)
            try:
                await self.write_uses()
            except DatabaseGone:
                continue

    async def write_uses(self) -> None:
        """Write when tokens were used, all in one transaction; nothing where none was."""
        if not self._used:
            return
        used = dict(self._used)
        async with self._access.database.transaction() as connection:
            for token, at in used.items():
                row = update(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == token).values(last_used=at)
                await connection.execute(row)
        self._used = {token: at for token, at in self._used.items() if at != used.get(token)}

    def _expiry(self, request: CreateTokenRequest) -> float:
        """Epoch seconds, 0.0 for never; AccessError(400) with all that is wrong with the request."""
        expires, fault = 0.0, ""
        if request.expires_in_days:
            expires = self._access.now() + request.expires_in_days * DAY
            fault = "give expiresAt or expiresInDays, not both" if request.expires_at else ""
            fault = fault or (f"at most {LONGEST_DAYS} days" if request.expires_in_days > LONGEST_DAYS else "")
        elif request.expires_at:
            try:
                expires = moment(request.expires_at)
            except (ValueError, OverflowError):
                fault = "must be a time in ISO 8601, such as 2030-01-31T12:00:00Z"
            else:
                lasts = expires - self._access.now()
                fault = "" if 0.0 < lasts <= LONGEST_DAYS * DAY else "must be in the next ten years"
        refuse(name=name_fault(request.name), role=role_fault(request.role), expiresAt=fault)
        return expires


def _missing(name: str) -> AccessError:
    return AccessError(404, f"there is no token {name[:128]!r}")
