"""A new line of revisions: after a restore, what nodes hold is neither older nor newer than the database, but other.

Nodes compare (epoch, revision). A database that went back to an older state must not count on under the old epoch:
revision 51 would then be two different things. Revisions themselves count on, so that history stays one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import Actor
from controlplane.store.audit import Audit
from controlplane.store.tables import HEAD, REVISIONS


async def begin_epoch(
    connection: AsyncConnection, audit: Audit, actor: Actor, message: str, now: Callable[[], float] = time.time
) -> str:
    """Start a new epoch, with a revision of its own that changes nothing; the last thing in a transaction."""
    head = (await connection.execute(select(HEAD).with_for_update())).one()
    epoch, revision = uuid4().hex, head.revision
    if revision:  # an empty database has nothing that a node could hold
        revision += 1
        query = select(REVISIONS.c.digest).where(REVISIONS.c.revision == head.revision)
        row = {
            "revision": revision,
            "epoch": epoch,
            "at": int(now() * 1000),
            "actor": actor.name,
            "action": "restore",
            "message": message,
            "correlation_id": actor.correlation_id,
            "changes": 0,
            "digest": (await connection.execute(query)).scalar_one(),
        }
        await connection.execute(insert(REVISIONS), row)
    await connection.execute(update(HEAD).values(epoch=epoch, revision=revision))
    detail = {"message": message, "epoch": epoch, "previous": head.epoch}
    await audit.append(connection, actor, "config.restore", "configuration", detail, revision=revision or None)
    return epoch
