"""How far back the history of a database goes. What lies behind it was pruned; of that, this is all that is left."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.tables import HORIZON


@dataclass(frozen=True, slots=True)
class Horizon:
    """`revision` and `audit` are the last ones that were pruned, 0 where none was.

    `audit_hash` is the hash of that audit row: what is kept is chained to it. `audit_revision` is the newest revision
    that pruned rows told of.
    """

    revision: int = 0
    audit: int = 0
    audit_hash: str = ""
    audit_revision: int = 0


async def horizon_of(connection: AsyncConnection) -> Horizon:
    """The horizon as a transaction sees it."""
    table = HORIZON.c
    query = select(table.revision, table.audit, table.audit_hash, table.audit_revision)
    return Horizon(*(await connection.execute(query)).one())
