"""The store whose truth is a database: one transaction for each write, from the resources to the audit row.

Whoever writes locks the row `head` first and finds there whether its revision is still the newest, so revisions are one
line without gaps over all control planes that share the database. What was read stays in memory: a look at a database
that has not moved costs one small query, and one that has moved costs the resources that changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Executable, Row, bindparam, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import SYSTEM
from controlplane.changes import Changed, Json, Once
from controlplane.refusal import KeyReused, shown
from controlplane.store import Committed, Outdated, Witness, Write
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.epoch import begin_epoch
from controlplane.store.history import History
from controlplane.store.horizon import horizon_of
from controlplane.store.mapping import from_json, shown_json, to_json
from controlplane.store.tables import CHANGES, HEAD, IDEMPOTENCY, RESOURCES, REVISIONS
from shared import log
from shared.pb.resources_pb2 import Resource
from shared.table import KINDS, Key, Table

CHANNEL = "flexgate_revision"
"""PostgreSQL's channel on which a commit tells the other control planes."""
KEPT_SECONDS = 24 * 3600
"""How long the answer to an idempotency key is kept."""
BATCH = 500
"""Rows in one statement."""
AUDITED = 100
"""Resources of one write that the audit row has with before and after; of more it has the names."""


class SqlStore:
    """Resources, revisions and audit in a database."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        *,
        witness: Witness | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.history = History(database)
        self._database = database
        self._audit = audit
        self._witness = witness
        self._now = now
        self._looking = asyncio.Lock()
        self._committed: Committed | None = None

    @property
    def newest(self) -> Committed | None:
        return self._committed

    async def read(self) -> Committed | None:
        async with self._looking:
            if not await self._look():
                await self._begin_epoch()
                await self._look()
            return self._committed

    async def _look(self) -> bool:
        """Take over what is committed; False where the database went back behind what was read before."""
        async with self._database.reading() as connection:
            head = (await connection.execute(select(HEAD))).one()
            known = self._committed
            if known is not None and known.epoch == head.epoch and known.revision > head.revision:
                return False
            if head.revision == 0:
                self._committed = None
            elif known is None or known.epoch != head.epoch:
                self._committed = await _whole(connection, head)
            elif known.revision < head.revision:
                # What was deleted in revisions that are pruned by now, no change tells any more.
                kept = known.revision >= (await horizon_of(connection)).revision
                self._committed = await (_later(connection, head, known) if kept else _whole(connection, head))
            return True

    async def _begin_epoch(self) -> None:
        """Someone restored a backup under us without a new epoch: start one, unless another control plane has."""
        async with self._database.transaction() as connection:
            head = (await connection.execute(select(HEAD).with_for_update())).one()
            known = self._committed
            if known is not None and known.epoch == head.epoch and known.revision > head.revision:
                reason = f"found at revision {head.revision} after {known.revision}"
                log.warn("database.restored", epoch=head.epoch, revision=head.revision, known=known.revision)
                await begin_epoch(connection, self._audit, SYSTEM, reason, self._now)
        self._committed = None

    async def commit(self, base: Committed | None, write: Write) -> Committed:
        # Ten thousand resources take a second to put into words: not on the event loop, and before anyone waits for it.
        many = len(write.changes) > BATCH
        rows = await asyncio.to_thread(rows_of, write) if many else rows_of(write)
        async with self._looking, self._database.transaction() as connection:
            head = (await connection.execute(select(HEAD).with_for_update())).one()
            known = (base.epoch, base.revision) if base is not None else (head.epoch, 0)
            if (head.epoch, head.revision) != known:
                raise Outdated
            revision = head.revision + 1
            ids = {**head.ids, **write.ids}
            await self._keep(connection, head.epoch, revision, write, rows)
            await connection.execute(update(HEAD).values(revision=revision, ids=ids))
            committed = Committed(head.epoch, revision, write.table, ids=ids)
            if self._witness is not None:
                await self._witness(connection, base, committed, write)
            if write.once is not None:
                await self._remember(connection, write.once, write.answer or {})
            if not self._database.is_sqlite:
                await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
            action = f"config.{write.action}"
            await self._audit.append(connection, write.actor, action, rows.target, rows.detail, revision=revision)
        self._committed = committed
        return committed

    async def recall(self, once: Once) -> Json | None:
        query = select(IDEMPOTENCY.c.request_hash, IDEMPOTENCY.c.answer).where(
            IDEMPOTENCY.c.subject == once.subject,
            IDEMPOTENCY.c.key == once.key,
            IDEMPOTENCY.c.expires > self._milliseconds(),
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).one_or_none()
        if found is None:
            return None
        if found.request_hash != once.request_hash:
            raise KeyReused(f"the idempotency key {once.key!r} was used for another request; take a new one")
        answer: Json = found.answer
        return answer

    async def forget(self) -> None:
        """Remove answers to idempotency keys that are not good any more."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.expires <= self._milliseconds()))

    async def between(self, first: int, second: int) -> tuple[Changed, ...]:
        return await self.history.between(first, second)

    async def _keep(self, connection: AsyncConnection, epoch: str, revision: int, write: Write, rows: Rows) -> None:
        """The rows of the revision, its changes and its resources."""
        row = {
            "revision": revision,
            "epoch": epoch,
            "at": self._milliseconds(),
            "actor": write.actor.name,
            "action": write.action,
            "message": write.message,
            "correlation_id": write.actor.correlation_id,
            "changes": len(write.changes),
            "digest": write.table.digest.hex(),
        }
        await connection.execute(insert(REVISIONS), row)
        await _batched(connection, insert(CHANGES), [one | {"revision": revision} for one in rows.changes])
        same = (RESOURCES.c.kind == bindparam("key_kind")) & (RESOURCES.c.name == bindparam("key_name"))
        await _batched(connection, delete(RESOURCES).where(same), rows.deletes)
        version = {"version": revision}
        await _batched(connection, update(RESOURCES).where(same), [one | version for one in rows.updates])
        await _batched(connection, insert(RESOURCES), [one | version for one in rows.creates])

    async def _remember(self, connection: AsyncConnection, once: Once, answer: Json) -> None:
        now = self._milliseconds()
        same = (IDEMPOTENCY.c.subject == once.subject) & (IDEMPOTENCY.c.key == once.key)
        await connection.execute(delete(IDEMPOTENCY).where((IDEMPOTENCY.c.expires <= now) | same))
        row = {
            "subject": once.subject,
            "key": once.key,
            "request_hash": once.request_hash,
            "answer": answer,
            "expires": now + KEPT_SECONDS * 1000,
        }
        await connection.execute(insert(IDEMPOTENCY), row)

    def _milliseconds(self) -> int:
        return int(self._now() * 1000)


@dataclass(slots=True)
class Rows:
    """A write as rows, without the revision that it will have; `target` and `detail` are those of its audit row."""

    target: str
    detail: Json
    changes: list[Json] = field(default_factory=list)
    creates: list[Json] = field(default_factory=list)
    updates: list[Json] = field(default_factory=list)
    deletes: list[Json] = field(default_factory=list)


def rows_of(write: Write) -> Rows:
    """The rows of a write."""
    rows = Rows(*audited(write))
    for changed in write.changes:
        kind, name = changed.key
        before, after = changed.before and to_json(changed.before), changed.after and to_json(changed.after)
        rows.changes.append({"kind": kind, "name": name, "before": before, "after": after})
        if after is None:
            rows.deletes.append({"key_kind": kind, "key_name": name})
            continue
        content = {"id": after.get("id", 0), "body": after}
        if before is None:
            rows.creates.append({"kind": kind, "name": name, **content})
        else:
            rows.updates.append({"key_kind": kind, "key_name": name, **content})
    return rows


def audited(write: Write) -> tuple[str, Json]:
    """(target, detail) of a write's audit row."""
    changes: list[Json] = [
        {
            "kind": changed.key[0],
            "name": changed.key[1],
            "action": changed.action,
            "before": changed.before and shown_json(changed.before),
            "after": changed.after and shown_json(changed.after),
        }
        for changed in write.changes[:AUDITED]
    ]
    changes += [
        {"kind": changed.key[0], "name": changed.key[1], "action": changed.action}
        for changed in write.changes[AUDITED:]
    ]
    target = shown(write.changes[0].key) if len(write.changes) == 1 else "configuration"
    return target, {"message": write.message, "changes": changes}


async def _whole(connection: AsyncConnection, head: Row[Any]) -> Committed:
    """Everything, in an order that is the same in every process: by kind, then by id."""
    rows = (await connection.execute(select(RESOURCES).order_by(RESOURCES.c.id, RESOURCES.c.name))).all()
    order = {kind: position for position, kind in enumerate(KINDS)}
    resources = await asyncio.to_thread(_decoded, sorted(rows, key=lambda row: order.get(row.kind, len(order))))
    return Committed(head.epoch, head.revision, Table(resources), ids=head.ids)


async def _later(connection: AsyncConnection, head: Row[Any], known: Committed) -> Committed:
    """What other control planes committed since."""
    rows = (await connection.execute(select(RESOURCES).where(RESOURCES.c.version > known.revision))).all()
    touched = select(CHANGES.c.kind, CHANGES.c.name).where(CHANGES.c.revision > known.revision).distinct()
    upserts = await asyncio.to_thread(_decoded, rows)
    there = {(row.kind, row.name) for row in rows}
    gone: list[Key] = [(kind, name) for kind, name in await connection.execute(touched) if (kind, name) not in there]
    return Committed(head.epoch, head.revision, known.table.changed(upserts, gone), ids=head.ids)


def _decoded(rows: Iterable[Row[Any]]) -> list[Resource]:
    return [from_json(row.kind, row.name, row.body) for row in rows]


async def _batched(connection: AsyncConnection, statement: Executable, rows: list[Json]) -> None:
    """Execute for all rows, a batch at a time, so that the event loop turns in between."""
    for start in range(0, len(rows), BATCH):
        await connection.execute(statement, rows[start : start + BATCH])
