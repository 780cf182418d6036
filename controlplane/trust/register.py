"""The register of nodes' certificates and of the tokens for them, in the database; and in memory, who is let in.

A refused attempt is an audit row too, but only so many a minute: whoever reaches the port can make attempts.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol
from uuid import uuid4

from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import SYSTEM, VIEWER, Actor
from controlplane.store.database import Database, DatabaseGone
from controlplane.trust.authority import Authority, Issued, requested
from controlplane.trust.callers import Certificate
from controlplane.trust.messages import certificate, invitation
from controlplane.trust.refusal import Refusal
from controlplane.trust.tables_trust import AUTHORITY, CERTIFICATES, ENROLMENTS
from shared import log
from shared.faults import ConfigError, Fault
from shared.node_uri import NAME_LIMIT, NodeName
from shared.pb.enrolment_pb2 import Invitation, IssuedCertificate

LIFETIME = timedelta(days=7)
"""How long a node's certificate is good; the node renews it when two thirds are over."""
TOKEN_PREFIX = "fge_"
TEXT_LIMIT = 256
LABELS = 32
TOKEN_SECONDS = 3600
LONGEST_TOKEN_SECONDS = 30 * 86_400
KEPT = timedelta(days=90)
"""How long used and expired tokens, and certificates that are over, are still listed."""
POLL = 1.0
"""Seconds between two looks for what another replica revoked."""
AUDITED_REFUSALS = 20  # a minute
MINUTE = 60.0


class Audit(Protocol):
    """Appends one row to the audit log, in the transaction of what it tells."""

    async def __call__(
        self, connection: AsyncConnection, actor: Actor, action: str, target: str, detail: dict[str, Any]
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class Token:
    """A new enrolment token: `text` is shown once. Times are epoch seconds."""

    id: str
    text: str
    expires: float


@dataclass(frozen=True, slots=True)
class Known:
    """What decides about a connection: serials that are revoked, and nodes that have a good certificate."""

    revoked: frozenset[str] = frozenset()
    enrolled: frozenset[str] = frozenset()


class Register:
    """All tokens and certificates of one database."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        audit: Audit,
        *,
        now: Callable[[], float] = time.time,
        lifetime: timedelta = LIFETIME,
        poll: float = POLL,
    ) -> None:
        self.authority = authority
        self.known = Known()
        self.refusals = 0
        self._database = database
        self._audit = audit
        self._now = now
        self._lifetime = lifetime
        self._poll = poll
        self._seen: tuple[object, ...] = ()
        self._audited: deque[float] = deque(maxlen=AUDITED_REFUSALS)
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Register {len(self.known.enrolled)} nodes, {len(self.known.revoked)} revoked>"

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self._now()

    # ---- what is known in memory

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this whenever what is known may have changed, and with every look."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Read again who is let in, if that changed; DatabaseGone leaves what was known."""
        table, good = CERTIFICATES.c, CERTIFICATES.c.not_after > self._ms()
        # What every change changes: so that a look costs one row, however many nodes there are.
        sums = func.count(), func.max(table.issued_at), func.count(table.revoked_at), func.max(table.revoked_at)
        async with self._database.reading() as connection:
            seen = tuple((await connection.execute(select(*sums).where(good))).one())
            if seen != self._seen:
                found = (await connection.execute(select(table.serial, table.node, table.revoked_at).where(good))).all()
                self.known = Known(
                    frozenset(row.serial for row in found if row.revoked_at is not None),
                    frozenset(row.node for row in found if row.revoked_at is None),
                )
                self._seen = seen
        for listener in self._listeners:
            listener()

    async def run(self) -> None:
        """Follow what other replicas change until cancelled."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.refresh()
            except DatabaseGone:
                continue  # who was let in stays in; others tell it loudly

    async def forget(self) -> None:
        """Remove tokens and certificates that were over long ago."""
        async with self._database.transaction() as connection:
            await self._forget(connection)

    # ---- operators

    async def invite(self, actor: Actor, node: str, labels: Mapping[str, str], seconds: int = TOKEN_SECONDS) -> Token:
        """A token that one node can enrol with, once: the named one, or any that has no certificate.

        ConfigError with every fault, by field.
        """
        if faults := list(_invitation_faults(node, labels, seconds)):
            raise ConfigError(faults)
        token = Token(uuid4().hex, TOKEN_PREFIX + secrets.token_urlsafe(32), self._now() + seconds)
        row = {
            "id": token.id,
            "digest": _digest(token.text),
            "node": node,
            "labels": dict(labels),
            "created_at": self._ms(),
            "created_by": actor.name,
            "expires_at": int(token.expires * 1000),
            "used_by": "",
        }
        async with self._database.transaction() as connection:
            await self._forget(connection)
            await connection.execute(insert(ENROLMENTS).values(**row))
            detail = {"node": node, "labels": dict(labels), "expiresAt": row["expires_at"]}
            await self._audit(connection, actor, "node.enrolment.create", f"enrolment/{token.id}", detail)
        return token

    async def withdraw(self, actor: Actor, id_: str) -> bool:
        """Make a token useless; False where there is none that is unused."""
        async with self._database.transaction() as connection:
            unused = delete(ENROLMENTS).where(ENROLMENTS.c.id == id_, ENROLMENTS.c.used_at.is_(None))
            if not (await connection.execute(unused)).rowcount:
                return False
            await self._audit(connection, actor, "node.enrolment.delete", f"enrolment/{id_}", {})
        return True

    async def enrolments(self) -> list[Invitation]:
        """All tokens that are remembered, without their text, newest first."""
        rows = await self._rows(select(ENROLMENTS).order_by(ENROLMENTS.c.created_at.desc(), ENROLMENTS.c.id))
        return [invitation(row, self._ms()) for row in rows]

    async def certificates(self) -> list[IssuedCertificate]:
        """All certificates that are remembered, newest first."""
        rows = await self._rows(select(CERTIFICATES).order_by(CERTIFICATES.c.issued_at.desc(), CERTIFICATES.c.serial))
        return [certificate(row, self._ms()) for row in rows]

    async def revoke(self, actor: Actor, serial: str, reason: str) -> IssuedCertificate | None:
        """Let nobody in with this certificate any more, nor with those that renewals made before and after it.

        None where it is not known. Once more changes nothing. ConfigError where the reason is too long.
        """
        if len(reason) > TEXT_LIMIT:
            raise ConfigError([Fault("reason", f"must have at most {TEXT_LIMIT} characters")])
        where = CERTIFICATES.c.serial == serial.lower()
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(CERTIFICATES).where(where))).first()
            if row is None:
                return None
            await self._one_at_a_time(connection, row.node)
            family = (CERTIFICATES.c.enrolment == row.enrolment, CERTIFICATES.c.revoked_at.is_(None))
            revoking = update(CERTIFICATES).where(*family, CERTIFICATES.c.not_after > self._ms())
            count = (await connection.execute(revoking.values(**self._revoked(actor.name, reason)))).rowcount
            row = (await connection.execute(select(CERTIFICATES).where(where))).one()
            if count:
                detail = {"node": row.node, "reason": reason, "certificates": count}
                await self._audit(connection, actor, "node.certificate.revoke", f"certificate/{row.serial}", detail)
        await self.refresh()
        return certificate(row, self._ms())

    # ---- nodes

    async def enrol(self, token: str, node: str, request: str, address: str) -> Issued:
        """A node's first certificate; Refusal, with an audit row, where token, name or request are not good."""
        actor = Actor(f"node {node[:NAME_LIMIT]}", VIEWER, address)
        try:
            issued = await self._enrol(actor, token, node, request)
        except Refusal as refusal:
            await self._refused(actor, "node.enrol.refused", node, refusal)
            raise
        await self.refresh()
        return issued

    async def renew(self, shown: Certificate | None, request: str, address: str) -> Issued:
        """The next certificate of the node that shows this one; Refusal where it is none of ours, or revoked."""
        node = shown.node if shown is not None else None
        actor = Actor(f"node {node.name if node else ''}", VIEWER, address)
        try:
            if shown is None or node is None or not shown.ours:
                raise Refusal("renewal needs the certificate that this control plane gave")
            async with self._database.transaction() as connection:
                await self._one_at_a_time(connection, node.name)
                issued = await self._renew(connection, actor, shown.serial, request)
        except Refusal as refusal:
            await self._refused(actor, "node.renew.refused", node.name if node else "", refusal)
            raise
        await self.refresh()
        return issued

    async def _enrol(self, actor: Actor, token: str, node: str, request: str) -> Issued:
        if not node or len(node) > NAME_LIMIT or not node.isprintable():
            raise Refusal(f"a node's name has 1 to {NAME_LIMIT} printable characters")
        requested(request, node)  # a mistake there must not cost the token
        async with self._database.transaction() as connection:
            await self._one_at_a_time(connection, node)
            row = await self._redeem(connection, token, node)
            await self._alone(connection, node, invited=bool(row.node))
            detail = {"node": node, "labels": row.labels, "enrolment": row.id}
            issued = await self._sign(connection, NodeName(node, row.labels), request, row.id)
            await self._audit(connection, actor, "node.enrol", f"certificate/{issued.serial}", detail)
        return issued

    async def _redeem(self, connection: AsyncConnection, token: str, node: str) -> Row[Any]:
        """The token's row, used from now on."""
        where = ENROLMENTS.c.digest == _digest(token)
        row = (await connection.execute(select(ENROLMENTS).where(where))).first()
        if row is None:
            raise Refusal("the enrolment token is not known here")
        if row.node and row.node != node:
            raise Refusal(f"the enrolment token is for another node than {node!r}")
        if row.used_at is None and row.expires_at <= self._ms():
            raise Refusal("the enrolment token has expired; ask for a new one")
        use = update(ENROLMENTS).where(where, ENROLMENTS.c.used_at.is_(None))
        if not (await connection.execute(use.values(used_at=self._ms(), used_by=node))).rowcount:
            raise Refusal("the enrolment token was used already; each is for one node, once")
        return row

    async def _one_at_a_time(self, connection: AsyncConnection, node: str) -> None:
        """Nobody else enrols, renews or revokes this node until the transaction is over, on any replica."""
        if not self._database.is_sqlite:  # which has one writer anyway
            number = int.from_bytes(sha256(b"flexgate node " + node.encode()).digest()[:8], "big", signed=True)
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    async def _alone(self, connection: AsyncConnection, node: str, *, invited: bool) -> None:
        """No other node has a good certificate of this name. An invitation by name replaces what there is."""
        good = (CERTIFICATES.c.node == node, CERTIFICATES.c.revoked_at.is_(None), CERTIFICATES.c.not_after > self._ms())
        if invited:
            replaced = self._revoked("enrolment", "the node was enrolled anew")
            await connection.execute(update(CERTIFICATES).where(*good).values(**replaced))
        elif (await connection.execute(select(CERTIFICATES.c.serial).where(*good))).first() is not None:
            raise Refusal(
                f"node {node!r} has a certificate already: revoke it, make a token for this very node, or choose "
                "another --node-id"
            )

    async def _renew(self, connection: AsyncConnection, actor: Actor, serial: str, request: str) -> Issued:
        row = (await connection.execute(select(CERTIFICATES).where(CERTIFICATES.c.serial == serial))).first()
        if row is None:
            raise Refusal("the certificate is not known here, where an older backup may be; enrol with a new token")
        if row.revoked_at is not None:
            raise Refusal("the certificate is revoked; enrol with a new token")
        issued = await self._sign(connection, NodeName(row.node, row.labels), request, row.enrolment)
        detail = {"node": row.node, "before": serial}
        await self._audit(connection, actor, "node.renew", f"certificate/{issued.serial}", detail)
        return issued

    async def _sign(self, connection: AsyncConnection, node: NodeName, request: str, enrolment: str) -> Issued:
        now = datetime.fromtimestamp(self._now(), UTC)
        issued = self.authority.sign_node(request, node, now, self._lifetime)
        row = {
            "serial": issued.serial,
            "node": node.name,
            "labels": dict(node.labels),
            "issued_at": self._ms(),
            "not_after": int(issued.not_after.timestamp() * 1000),
            "enrolment": enrolment,
            "revoked_by": "",
            "reason": "",
        }
        await connection.execute(insert(CERTIFICATES).values(**row))
        return issued

    async def _refused(self, actor: Actor, action: str, node: str, refusal: Refusal) -> None:
        self.refusals += 1
        log.warn(action, node=node[:NAME_LIMIT], address=actor.address, reason=str(refusal))
        now = self._now()
        if len(self._audited) == AUDITED_REFUSALS and now - self._audited[0] < MINUTE:
            return
        self._audited.append(now)
        async with self._database.transaction() as connection:
            await self._audit(connection, actor, action, f"node/{node[:NAME_LIMIT]}", {"reason": str(refusal)})

    # ---- rows

    async def _rows(self, query: Any) -> list[Row[Any]]:
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).all())

    async def _forget(self, connection: AsyncConnection) -> None:
        """Drop what was over long ago."""
        before = self._ms() - int(KEPT.total_seconds() * 1000)
        await connection.execute(delete(ENROLMENTS).where(ENROLMENTS.c.expires_at < before))
        await connection.execute(delete(CERTIFICATES).where(CERTIFICATES.c.not_after < before))

    def _revoked(self, by: str, reason: str) -> dict[str, object]:
        return {"revoked_at": self._ms(), "revoked_by": by, "reason": reason}

    def _ms(self) -> int:
        return int(self._now() * 1000)


async def kept_authority(database: Database, audit: Audit, now: Callable[[], float] = time.time) -> Authority:
    """The authority in the database; made at the first time, by one of the replicas that start together."""
    while True:
        async with database.reading() as connection:
            row = (await connection.execute(select(AUTHORITY))).first()
        if row is not None:
            return Authority.load(row.certificate.encode(), row.key.encode())
        made = Authority.create(datetime.fromtimestamp(now(), UTC))
        try:
            async with database.transaction() as connection:
                await connection.execute(insert(AUTHORITY).values(one=1, certificate=made.pem, key=made.key_pem))
                await audit(connection, SYSTEM, "authority.create", "authority", {"fingerprint": made.fingerprint})
        except IntegrityError:
            continue  # another replica was first


def _invitation_faults(node: str, labels: Mapping[str, str], seconds: int) -> Iterator[Fault]:
    if len(node) > NAME_LIMIT or (node and not node.isprintable()):
        yield Fault("node", f"must be a text of at most {NAME_LIMIT} printable characters")
    if len(labels) > LABELS or "" in labels or any(len(word) > TEXT_LIMIT for pair in labels.items() for word in pair):
        yield Fault("labels", f"must be at most {LABELS}, with names and values of at most {TEXT_LIMIT} characters")
    if not 1 <= seconds <= LONGEST_TOKEN_SECONDS:
        yield Fault("expiresIn", f"must be a number of seconds from 1 to {LONGEST_TOKEN_SECONDS}")


def _digest(token: str) -> str:
    return sha256(token.encode(errors="surrogatepass")).hexdigest()
