"""Whether a database agrees with itself: head, revisions, changes, resources and audit. For operators and for tests.

Each finding is one line. An empty list means that the resources are what the changes of all revisions lead to, that no
revision is missing, and that the audit log is whole and has a row for each revision; all of it as far as it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.changes import Json
from controlplane.refusal import shown
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.horizon import Horizon, horizon_of
from controlplane.store.tables import AUDIT, CHANGES, HEAD, RESOURCES, REVISIONS
from shared.table import Key

Bodies = dict[Key, tuple[int, Json]]
"""(version, body) by key."""


async def findings(database: Database) -> list[str]:
    """What does not agree; it reads everything that is kept."""
    async with database.reading() as connection:
        head = (await connection.execute(select(HEAD))).one()
        past = await horizon_of(connection)
        found = [
            *await _revisions(connection, head, past),
            *await _resources(connection, past),
            *await _audited(connection, past),
        ]
    verified = await Audit(database).verify()
    if verified.broken is not None:
        found.append(f"the audit log is broken: {verified.reason}")
    return found


async def _revisions(connection: AsyncConnection, head: Row[Any], past: Horizon) -> list[str]:
    """The revisions are those from the horizon to the head's, and each has as many changes as it says."""
    counted = select(CHANGES.c.revision, func.count().label("there")).group_by(CHANGES.c.revision)
    there: dict[int, int] = {row.revision: row.there for row in await connection.execute(counted)}
    found, last = [], past.revision
    for row in await connection.execute(select(REVISIONS).order_by(REVISIONS.c.revision)):
        if row.revision != last + 1:
            found.append(f"revision {last + 1} is missing")
        if row.changes != there.get(row.revision, 0):
            found.append(f"revision {row.revision} made {row.changes} changes, {there.get(row.revision, 0)} are kept")
        last = row.revision
    if last != head.revision:
        found.append(f"the head is at revision {head.revision}, the newest that is kept is {last}")
    return found


async def _resources(connection: AsyncConnection, past: Horizon) -> list[str]:
    """Each resource is what its last change left, and each change began with what the one before left.

    What stood at the horizon, the first change since tells, or the resource itself where there was none.
    """
    left: Bodies = {}
    touched: set[Key] = set()
    found: list[str] = []
    changes = select(CHANGES).order_by(CHANGES.c.revision)
    for row in await connection.execute(changes):
        key: Key = row.kind, row.name
        before = left.pop(key, (0, None))[1]
        if row.before != before and (key in touched or not past.revision):
            found.append(f"revision {row.revision} changed {shown(key)} from what it was not")
        touched.add(key)
        if row.after is not None:
            left[key] = row.revision, row.after
    rows = await connection.execute(select(RESOURCES))
    kept: Bodies = {
        (row.kind, row.name): (row.version, row.body)
        for row in rows
        if row.version > past.revision or (row.kind, row.name) in touched
    }
    return [*found, *_differences(kept, left)]


def _differences(kept: Bodies, left: Bodies) -> Iterator[str]:
    for key in sorted(kept.keys() | left.keys()):
        if kept.get(key) != left.get(key):
            yield f"{shown(key)} is not what its last change left"


async def _audited(connection: AsyncConnection, past: Horizon) -> list[str]:
    """Each revision has its audit row, unless that may be pruned."""
    audited = select(AUDIT.c.revision).where(AUDIT.c.revision.is_not(None))
    missing = select(REVISIONS.c.revision).where(
        REVISIONS.c.revision.not_in(audited), REVISIONS.c.revision > past.audit_revision
    )
    return [f"revision {revision} has no audit row" for revision in (await connection.execute(missing)).scalars()]
