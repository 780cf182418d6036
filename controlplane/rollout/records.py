"""The rows of rollouts. A rollout begins and ends in the transaction of the commit that begins or ends it.

So there is never a candidate without its rollout, or the other way round, whatever dies when. Everything else that
changes a row names the version it read; who is late reads again. docs/decisions/0015-one-drives-a-rollout.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import Actor
from controlplane.refusal import Refusal
from controlplane.rollout.tables_rollout import QUARANTINE, ROLLOUTS, VIEWS
from controlplane.store import Committed, Write
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.mapping import from_json
from controlplane.store.sql import CHANNEL
from controlplane.store.tables import CHANGES, HORIZON
from shared.pb.resources_pb2 import Resource
from shared.pb.rollout_pb2 import Rollout, RolloutView
from shared.table import Key, Table, unpack

MOST_QUARANTINED = 100
"""Changes in quarantine that a write is compared with, the newest."""
HELD = frozenset({"running", "paused", "rolling_back"})
"""States in which the row may still change."""


class RollingOut(Refusal):
    """A rollout runs; until it is over nothing else is written."""

    code = "rollout_running"


class Quarantined(Refusal):
    """This very change was taken back by a rollout."""

    code = "quarantined"


@dataclass(frozen=True, slots=True)
class Record:
    """A rollout as it was read: `version` is what a change of it must name."""

    version: int
    driver: str
    rollout: Rollout


class Records:
    """The rollouts of a database."""

    def __init__(self, database: Database, audit: Audit, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._audit = audit
        self._now = now

    # ---- with a commit

    async def committing(
        self, connection: AsyncConnection, base: Committed | None, committed: Committed, write: Write
    ) -> None:
        """Have a say in a commit, in its transaction: refuse it, or begin or end a rollout with it."""
        active = await self._active(connection, committed.epoch, locked=True)
        await self._forget(connection, committed.epoch)
        if active is not None:
            await self._end(connection, active, committed, write)
        elif write.ends:
            raise RollingOut(f"rollout {write.ends} is over already")
        await self._look_for(connection, write)
        if write.plan is not None:
            await self._begin(connection, base, committed, write)

    async def _end(self, connection: AsyncConnection, active: Record, committed: Committed, write: Write) -> None:
        rollout = active.rollout
        if write.ends == rollout.id and rollout.state == "rolling_back":
            rollout.state = "aborted" if rollout.ended_by else "rolled_back"
            rollout.rollback_revision = committed.revision
            await self._quarantine(connection, rollout, write)
        elif write.force:
            rollout.state = "superseded"
            rollout.reason = f"revision {committed.revision} was written over it"
            rollout.ended_by = write.actor.name
        else:
            raise RollingOut(
                f"rollout {rollout.id} brings revision {rollout.revision} to the nodes (it is {rollout.state}); wait "
                "for it, promote or abort it, or repeat this with `force` to end it and give this to all nodes"
            )
        rollout.ended_at = self.milliseconds()
        await self._put(connection, active, rollout)

    async def _forget(self, connection: AsyncConnection, epoch: str) -> None:
        """What was under way on another line of revisions is over: a backup was restored meanwhile."""
        query = select(ROLLOUTS).where(ROLLOUTS.c.state.in_(HELD), ROLLOUTS.c.epoch != epoch).with_for_update()
        for row in (await connection.execute(query)).all():
            record = Record(row.version, row.driver, _rollout(row.body))
            record.rollout.state, record.rollout.reason = "superseded", "a backup was restored"
            record.rollout.ended_at = self.milliseconds()
            await self._put(connection, record, record.rollout)

    async def _look_for(self, connection: AsyncConnection, write: Write) -> None:
        """Refuse what makes a change again that is in quarantine; forced, it comes out of it."""
        query = select(QUARANTINE).order_by(QUARANTINE.c.rollout.desc()).limit(MOST_QUARANTINED)
        rows = (await connection.execute(query)).all() if not write.ends else []
        made = contents((changed.key, changed.after) for changed in write.changes) if rows else frozenset()
        for row in rows:
            if not made >= set(row.contents):
                continue
            if not write.force:
                raise Quarantined(
                    f"this makes the change of revision {row.revision} again, which rollout {row.rollout} took back "
                    f"({row.reason}); repeat it with `force` if that is mended"
                )
            await connection.execute(delete(QUARANTINE).where(QUARANTINE.c.rollout == row.rollout))

    async def _begin(
        self, connection: AsyncConnection, base: Committed | None, committed: Committed, write: Write
    ) -> None:
        if base is None:
            raise RollingOut("the first revision cannot be rolled out in waves: there is nothing to go back to")
        last = (await connection.execute(select(func.max(ROLLOUTS.c.id)))).scalar_one()
        rollout = Rollout(
            id=(last or 0) + 1,
            state="running",
            phase="applying",
            revision=committed.revision,
            base_revision=base.revision,
            plan=write.plan,
            message=write.message,
            started_by=write.actor.name,
            started_at=self.milliseconds(),
            store_epoch=committed.epoch,
        )
        row = {
            "id": rollout.id,
            "epoch": committed.epoch,
            "revision": rollout.revision,
            "state": rollout.state,
            "version": 1,
            "driver": "",
            "body": MessageToDict(rollout),
        }
        await connection.execute(insert(ROLLOUTS), row)

    async def _quarantine(self, connection: AsyncConnection, rollout: Rollout, write: Write) -> None:
        """What is taken back is what the write finds there."""
        row = {
            "rollout": rollout.id,
            "revision": rollout.revision,
            "reason": rollout.reason,
            "at": self.milliseconds(),
            "contents": sorted(contents((changed.key, changed.before) for changed in write.changes)),
        }
        await connection.execute(insert(QUARANTINE), row)

    # ---- by itself

    async def save(
        self, record: Record, rollout: Rollout, driver: str, *, loud: bool, actor: Actor | None = None
    ) -> bool:
        """Change a row; False where it is not what was read any more.

        `loud`: the other control planes are to look at it now. `actor`: who asked for it, for the audit log.
        """
        async with self._database.transaction() as connection:
            if not await self._put(connection, record, rollout, driver):
                return False
            if loud and not self._database.is_sqlite:
                await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
            if actor is not None:
                detail = {"state": rollout.state, "reason": rollout.reason}
                action, target = f"rollout.{rollout.state}", f"rollout {rollout.id}"
                await self._audit.append(connection, actor, action, target, detail, revision=rollout.revision)
        return True

    async def _put(
        self, connection: AsyncConnection, record: Record, rollout: Rollout, driver: str | None = None
    ) -> bool:
        values = {
            "state": rollout.state,
            "version": record.version + 1,
            "driver": record.driver if driver is None else driver,
            "body": MessageToDict(rollout),
        }
        unchanged = (ROLLOUTS.c.id == rollout.id) & (ROLLOUTS.c.version == record.version)
        return (await connection.execute(update(ROLLOUTS).where(unchanged).values(values))).rowcount == 1

    async def active(self, epoch: str) -> Record | None:
        """The rollout that is not over."""
        async with self._database.reading() as connection:
            return await self._active(connection, epoch)

    async def of(self, committed: Committed) -> Rollout | None:
        """The rollout that brings this revision, or brought it."""
        same = (ROLLOUTS.c.epoch == committed.epoch) & (ROLLOUTS.c.revision == committed.revision)
        return await self._one(same)

    async def held(self, connection: AsyncConnection, epoch: str) -> list[int]:
        """The revisions that the rollout which is not over may go back to."""
        active = await self._active(connection, epoch)
        return [active.rollout.base_revision] if active is not None else []

    async def prune(self) -> None:
        """Remove rollouts of revisions that are pruned, but never the newest, and what quarantine does not look at."""
        past = select(HORIZON.c.revision).scalar_subquery()
        newest = select(func.max(ROLLOUTS.c.id)).scalar_subquery()
        over = ROLLOUTS.c.state.not_in(HELD) & (ROLLOUTS.c.revision <= past) & (ROLLOUTS.c.id < newest)
        looked_at = select(QUARANTINE.c.rollout).order_by(QUARANTINE.c.rollout.desc()).limit(MOST_QUARANTINED)
        async with self._database.transaction() as connection:
            await connection.execute(delete(ROLLOUTS).where(over))
            kept = (await connection.execute(looked_at)).scalars().all()
            if len(kept) == MOST_QUARANTINED:
                await connection.execute(delete(QUARANTINE).where(QUARANTINE.c.rollout < kept[-1]))

    async def get(self, id_: int) -> Record | None:
        async with self._database.reading() as connection:
            return _record((await connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.id == id_))).one_or_none())

    async def page(self, limit: int, before: int | None = None) -> list[Rollout]:
        """The newest, newest first; `before` is the id after which the last page ended."""
        query = select(ROLLOUTS).order_by(ROLLOUTS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(ROLLOUTS.c.id < before)
        async with self._database.reading() as connection:
            return [_rollout(row.body) for row in await connection.execute(query)]

    async def look(self, replica: str, rollout: int, beat: int, view: RolloutView) -> None:
        """Write down what a control plane sees, for the one that drives."""
        row = {"replica": replica, "rollout": rollout, "beat": beat, "body": MessageToDict(view)}
        async with self._database.transaction() as connection:
            await connection.execute(delete(VIEWS).where((VIEWS.c.replica == replica) | (VIEWS.c.rollout < rollout)))
            await connection.execute(insert(VIEWS), row)

    async def looks(self, rollout: int, replica: str) -> list[tuple[str, int, RolloutView]]:
        """(control plane, beat, view) of all others."""
        query = select(VIEWS).where(VIEWS.c.rollout == rollout, VIEWS.c.replica != replica)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.replica, row.beat, ParseDict(row.body, RolloutView(), ignore_unknown_fields=True)) for row in rows]

    async def base(self, rollout: Rollout, committed: Committed) -> Table:
        """The table before the rollout's revision, which is the one that is committed: what it changed is undone."""
        query = select(CHANGES.c.kind, CHANGES.c.name, CHANGES.c.before).where(CHANGES.c.revision == rollout.revision)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        there = [from_json(row.kind, row.name, row.before) for row in rows if row.before is not None]
        created: list[Key] = [(row.kind, row.name) for row in rows if row.before is None]
        return committed.table.changed(there, created)

    async def _active(self, connection: AsyncConnection, epoch: str, *, locked: bool = False) -> Record | None:
        query = select(ROLLOUTS).where(ROLLOUTS.c.state.in_(HELD), ROLLOUTS.c.epoch == epoch)
        query = query.with_for_update() if locked else query
        return _record((await connection.execute(query)).one_or_none())

    async def _one(self, condition: Any) -> Rollout | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(ROLLOUTS).where(condition))).one_or_none()
        return _rollout(row.body) if row is not None else None

    def milliseconds(self) -> int:
        """The time, in epoch milliseconds, for people."""
        return int(self._now() * 1000)


def contents(resources: Iterable[tuple[Key, Resource | None]]) -> frozenset[str]:
    """A hash for each resource as it is; None: it is gone. Ids do not count: who comes again gets another."""
    return frozenset(_content(key, resource) for key, resource in resources)


def _content(key: Key, resource: Resource | None) -> str:
    body = b""
    if resource is not None:
        message: Any = unpack(resource)
        if hasattr(message, "id"):
            message.ClearField("id")
        body = message.SerializeToString(deterministic=True)
    gone = resource is None
    return blake2b(repr((key, gone)).encode() + body, digest_size=16).hexdigest()


def _record(row: Row[Any] | None) -> Record | None:
    return Record(row.version, row.driver, _rollout(row.body)) if row is not None else None


def _rollout(body: dict[str, Any]) -> Rollout:
    return ParseDict(body, Rollout(), ignore_unknown_fields=True)
