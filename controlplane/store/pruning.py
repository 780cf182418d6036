"""Pruning: history is kept as long as operators say, and no longer. Its beginning goes, never a part in the middle.

Never pruned, however old: the newest revisions, and those that a rollout or a node holds on to, with all after them.
Every step is a transaction of its own, small enough that writers do not notice, with an audit row that tells what went.
Of several control planes one prunes at a time. Docs: docs/operations/history.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import SYSTEM
from controlplane.store.audit import PRUNED, Audit
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.horizon import horizon_of
from controlplane.store.tables import AUDIT, AUDIT_TAIL, CHANGES, HEAD, HORIZON, REVISIONS
from shared import log

DAY = 86_400.0
FIRST_SECONDS, EVERY_SECONDS = 60.0, 3600.0
"""Until the first pass after a start, and from one pass to the next."""
PAUSE_SECONDS = 0.1
"""Between two steps: others are to write, too."""
STEP = 1000
"""Rows in one step. One revision goes in whole, however many changes it has."""
LOCK = 4_703_229_002
"""PostgreSQL's advisory lock for pruning: any number that no other program takes."""

Holder = Callable[[AsyncConnection, str], Awaitable[Iterable[int]]]
"""Revisions that somebody holds on to, on the line of this epoch; asked within the transaction that prunes."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept: so many revisions in any case, and what is younger than so many seconds (inf: all of it)."""

    revisions: int = 1000
    revisions_for: float = 90 * DAY
    audit_for: float = 400 * DAY


KEEP = Keep()
"""Without a word about it."""


class Pruner:
    """Prunes one database. `revisions` and `rows`: how many revisions and audit rows it has pruned since the start.

    `oldest` is the oldest revision that was kept at the last pass, whoever pruned. `others` remove what is over
    elsewhere; they are called once in a pass.
    """

    def __init__(
        self,
        database: Database,
        audit: Audit,
        keep: Keep,
        *,
        holders: Sequence[Holder] = (),
        others: Sequence[Callable[[], Awaitable[None]]] = (),
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.revisions = 0
        self.rows = 0
        self.oldest = 1
        self._keep = keep
        self._database = database
        self._audit = audit
        self._holders = holders
        self._others = others
        self._now = now
        self._sleep = sleep

    async def run(self) -> None:
        """Prune now and then, until cancelled; while the database is gone, later."""
        await self._sleep(FIRST_SECONDS)
        while True:
            try:
                await self.prune()
            except DatabaseGone as error:
                log.warn("history.not_pruned", reason=str(error))
            await self._sleep(EVERY_SECONDS)

    async def prune(self) -> None:
        """A whole pass: all that may go."""
        before = self.revisions, self.rows
        async with self._database.reading() as connection:
            newest = (await connection.execute(select(AUDIT_TAIL.c.number))).scalar_one()
        for step in (self._some_revisions, partial(self._some_audit_rows, newest)):
            while await self._alone(step):
                await self._sleep(PAUSE_SECONDS)
        for other in self._others:
            await other()
        async with self._database.reading() as connection:
            self.oldest = (await horizon_of(connection)).revision + 1
        if (self.revisions, self.rows) != before:
            log.info("history.pruned", revisions=self.revisions - before[0], auditRows=self.rows - before[1])

    async def _alone(self, step: Callable[[AsyncConnection], Awaitable[bool]]) -> bool:
        """One step, in a transaction; whether another may follow. Not while another control plane is at it."""
        async with self._database.transaction() as connection:
            if not self._database.is_sqlite:
                taken = await connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK})
                if not taken.scalar_one():
                    return False
            return await step(connection)

    # ---- revisions

    async def _some_revisions(self, connection: AsyncConnection) -> bool:
        past = await horizon_of(connection)
        query = (
            select(REVISIONS.c.revision, REVISIONS.c.changes)
            .where(REVISIONS.c.revision <= await self._last_revision(connection, past.revision))
            .order_by(REVISIONS.c.revision)
            .limit(STEP)
        )
        going = _some((await connection.execute(query)).all())
        if not going:
            return False
        last, changes = going[-1].revision, sum(row.changes for row in going)
        for table in (CHANGES, REVISIONS):
            await connection.execute(delete(table).where(table.c.revision <= last))
        await connection.execute(update(HORIZON).values(revision=last))
        detail = {"from": going[0].revision, "to": last, "changes": changes}
        await self._audit.append(connection, SYSTEM, "history.prune", f"revisions to {last}", detail)
        self.revisions += len(going)
        return True

    async def _last_revision(self, connection: AsyncConnection, past: int) -> int:
        """The newest revision that may go."""
        head = (await connection.execute(select(HEAD.c.epoch, HEAD.c.revision))).one()
        last = min(past + STEP, head.revision - self._keep.revisions)
        young = select(REVISIONS.c.revision).where(
            REVISIONS.c.revision <= last, REVISIONS.c.at >= self._before(self._keep.revisions_for)
        )
        first_young = (await connection.execute(young.order_by(REVISIONS.c.revision).limit(1))).scalar()
        held = [revision for holder in self._holders for revision in await holder(connection, head.epoch)]
        bounds: list[int] = [last, *(revision - 1 for revision in held)]
        if first_young is not None:
            bounds.append(first_young - 1)
        return min(bounds)

    # ---- the audit log

    async def _some_audit_rows(self, newest: int, connection: AsyncConnection) -> bool:
        """None after `newest`: what a pass adds itself, it leaves alone, whatever the clock says of it."""
        past = await horizon_of(connection)
        old = (AUDIT.c.number > past.audit) & (AUDIT.c.number <= min(newest, past.audit + STEP))
        young = select(AUDIT.c.number).where(old, AUDIT.c.at >= self._before(self._keep.audit_for))
        first_young = (await connection.execute(young.order_by(AUDIT.c.number).limit(1))).scalar()
        if first_young is not None:
            old &= AUDIT.c.number < first_young
        rows = select(AUDIT.c.number, AUDIT.c.hash).where(old).order_by(AUDIT.c.number.desc()).limit(1)
        last = (await connection.execute(rows)).one_or_none()
        if last is None:
            return False
        told = (await connection.execute(select(func.max(AUDIT.c.revision)).where(old))).scalar() or 0
        gone = (await connection.execute(delete(AUDIT).where(old))).rowcount
        values = {
            "audit": last.number,
            "audit_hash": last.hash,
            "audit_revision": max(told, past.audit_revision),
        }
        await connection.execute(update(HORIZON).values(values))
        detail = {"from": past.audit + 1, "to": last.number, "hash": last.hash}
        await self._audit.append(connection, SYSTEM, PRUNED, f"audit to {last.number}", detail)
        self.rows += gone
        return True

    def _before(self, seconds: float) -> int:
        """Epoch milliseconds: what is older may go. By whole days, so that a pass that finds nothing writes nothing."""
        now = self._now()
        return int((now - seconds) // DAY * DAY * 1000) if seconds <= now else 0


def _some(rows: Sequence[Row[Any, Any]]) -> Sequence[Row[Any, Any]]:
    """The first revisions that have STEP changes together, at least one."""
    changes = 0
    for index, row in enumerate(rows):
        changes += row.changes
        if changes > STEP and index:
            return rows[:index]
    return rows
