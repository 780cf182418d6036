"""The revisions there were: who made which, what each changed, and what lies between any two. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.changes import Changed, Json
from controlplane.refusal import Refusal
from controlplane.store.database import Database
from controlplane.store.horizon import horizon_of
from controlplane.store.mapping import from_json
from controlplane.store.tables import CHANGES, REVISIONS
from shared.pb.resources_pb2 import Resource
from shared.table import Key


class NoRevision(Refusal):
    """There is no such revision."""

    status = 404
    code = "not_found"

    def __init__(self, revision: int) -> None:
        super().__init__(f"there is no revision {revision}")


class Pruned(NoRevision):
    """There was such a revision; it is not kept any more."""

    status = 410
    code = "pruned"

    def __init__(self, revision: int, oldest: int) -> None:
        Refusal.__init__(self, f"revision {revision} was pruned; oldest kept is {oldest}")


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit. `at`: epoch milliseconds; `action`: write, apply, rollback or restore; `changes`: how many."""

    revision: int
    epoch: str
    at: int
    actor: str
    action: str
    message: str
    correlation_id: str
    changes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which revisions; an empty filter takes all. `key`: those that changed this resource."""

    actor: str = ""
    action: str = ""
    key: Key | None = None


ALL = Wanted()


class History:
    """The revisions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: Wanted = ALL, *, before: int | None = None, limit: int = 100) -> list[Revision]:
        """The newest revisions first; `before` is the one after which the last page ended."""
        query = select(REVISIONS).where(_condition(wanted)).order_by(REVISIONS.c.revision.desc()).limit(limit)
        if before is not None:
            query = query.where(REVISIONS.c.revision < before)
        async with self._database.reading() as connection:
            return [Revision(**row._mapping) for row in await connection.execute(query)]

    async def count(self, wanted: Wanted = ALL) -> int:
        """How many there are in all."""
        query = select(func.count()).select_from(REVISIONS).where(_condition(wanted))
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalar_one()

    async def get(self, revision: int) -> Revision:
        """One of them; NoRevision, Pruned."""
        async with self._database.reading() as connection:
            if (found := await _existing(connection, revision)) is None:
                raise NoRevision(revision)
            return found

    async def changes(self, revision: int) -> tuple[Changed, ...]:
        """What one revision changed; NoRevision, Pruned. Of the oldest that is kept, too."""
        query = select(CHANGES).where(CHANGES.c.revision == revision)
        async with self._database.reading() as connection:
            await _existing(connection, revision)
            net = _net((await connection.execute(query)).all())
        return tuple(_changed(key, *states) for key, states in net.items())

    async def between(self, first: int, second: int) -> tuple[Changed, ...]:
        """What makes the configuration of `second` of that of `first`, in either direction; NoRevision, Pruned.

        Revision 0 is the empty configuration before the first.
        """
        low, high = sorted((first, second))
        query = select(CHANGES).where(CHANGES.c.revision > low, CHANGES.c.revision <= high)
        async with self._database.reading() as connection:
            for revision in (low, high):
                await _existing(connection, revision)
            net = _net((await connection.execute(query.order_by(CHANGES.c.revision))).all())
        return tuple(_changed(key, *(states if first <= second else states[::-1])) for key, states in net.items())


async def _existing(connection: AsyncConnection, revision: int) -> Revision | None:
    """The revision, None for the 0th; NoRevision, Pruned."""
    row = (await connection.execute(select(REVISIONS).where(REVISIONS.c.revision == revision))).one_or_none()
    if row is not None:
        return Revision(**row._mapping)
    past = await horizon_of(connection)
    if past.revision and 0 <= revision <= past.revision:
        raise Pruned(revision, past.revision + 1)
    if revision:
        raise NoRevision(revision)
    return None


def _condition(wanted: Wanted) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [REVISIONS.c.revision > 0]
    if wanted.actor:
        conditions.append(REVISIONS.c.actor == wanted.actor)
    if wanted.action:
        conditions.append(REVISIONS.c.action == wanted.action)
    if wanted.key is not None:
        kind, name = wanted.key
        touched = (CHANGES.c.revision == REVISIONS.c.revision) & (CHANGES.c.kind == kind) & (CHANGES.c.name == name)
        conditions.append(exists().where(touched))
    return and_(*conditions)


def _net(rows: Any) -> dict[Key, tuple[Json | None, Json | None]]:
    """(before all, after all) of each resource that is not the same in the end."""
    net: dict[Key, tuple[Json | None, Json | None]] = {}
    row: Row[Any]
    for row in rows:
        key: Key = row.kind, row.name
        net[key] = (net[key][0] if key in net else row.before), row.after
    return {key: states for key, states in net.items() if states[0] != states[1]}


def _changed(key: Key, before: Json | None, after: Json | None) -> Changed:
    return Changed(key, _resource(key, before), _resource(key, after))


def _resource(key: Key, body: Json | None) -> Resource | None:
    return None if body is None else from_json(*key, body)
