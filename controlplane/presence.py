"""Replicas tell each other which nodes they have: rows in PostgreSQL, written when something changed.

Every replica then shows all nodes, and limits are divided by the nodes of all. A replica lives while its beat goes up,
as this one's own clock sees it; the nodes of one that stopped count as disconnected until they are somewhere else.
While the database is gone, what was known stands: limits must not become laxer because a database is down.
Docs: docs/operations/replicas.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.nodes import REMEMBER, Nodes
from controlplane.store.database import Database, DatabaseGone
from controlplane.tables_presence import PRESENCE, REPLICAS
from shared import log
from shared.pb.admin_pb2 import Node as NodeMessage

MISSED_BEATS = 3
"""Intervals without a beat after which a replica counts as gone."""
LOOKS = 5
"""Looks in an interval: how fast replicas hear of each other's nodes."""
LONGEST_LOOK = 1.0  # seconds


@dataclass(slots=True)
class Replica:
    """Another control plane: its last beat, and when that was seen first."""

    beat: int
    at: float


@dataclass(slots=True)
class Row:
    """A node of another replica, as it was written, and since when it stands so."""

    replica: str
    body: bytes
    at: float


class Presence:
    """What this replica tells and hears. `interval` is that of heartbeats, in seconds."""

    def __init__(
        self,
        database: Database,
        nodes: Nodes,
        name: str,
        *,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._database = database
        self._nodes = nodes
        self._interval = interval
        self._clock = clock
        self._beat = 0
        self._beaten = float("-inf")
        self._told: dict[str, bytes] = {}  # by node: what it is without what changes all the time
        self._replicas: dict[str, Replica] = {}
        self._rows: dict[str, Row] = {}
        self._gone = False
        self.written = 0  # rows of nodes

    def __repr__(self) -> str:
        return f"<Presence {self.name} among {sorted(self._replicas)}>"

    async def run(self) -> None:
        """Tell and hear until cancelled."""
        pause = min(self._interval / LOOKS, LONGEST_LOOK)
        while True:
            try:
                await self.exchange()
                self._gone = False
            except DatabaseGone as error:
                if not self._gone:
                    log.warn("presence.stale", reason=str(error))
                self._gone = True
            await asyncio.sleep(pause)

    async def exchange(self) -> None:
        """Tell what changed, and hear what others told; DatabaseGone, and then what was known stands."""
        ours = {node.id: node for node in self._nodes.own_view(0)}
        async with self._database.transaction() as connection:
            told = await self._tell(connection, ours)
            await self._hear(connection)
        self._told = told
        self._publish()

    async def leave(self) -> None:
        """Say good-bye: our nodes are on their way to others, and count here no more."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(PRESENCE).where(PRESENCE.c.replica == self.name))
            await connection.execute(delete(REPLICAS).where(REPLICAS.c.name == self.name))

    # ---- tell

    async def _tell(self, connection: AsyncConnection, ours: dict[str, NodeMessage]) -> dict[str, bytes]:
        if self._clock() - self._beaten >= self._interval * 0.9:
            self._beat += 1
            row = insert(REPLICAS).values(name=self.name, beat=self._beat)
            await connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"beat": self._beat}))
            self._beaten = self._clock()
        told = {name: _lasting(node) for name, node in ours.items()}
        # In one order on all replicas, so that two that have the same node never wait for each other.
        for name in sorted(name for name, body in told.items() if self._told.get(name) != body):
            await self._tell_one(connection, ours[name])
        for name in sorted(self._told.keys() - told.keys()):
            await connection.execute(delete(PRESENCE).where(PRESENCE.c.node == name, PRESENCE.c.replica == self.name))
        return told

    async def _tell_one(self, connection: AsyncConnection, node: NodeMessage) -> None:
        self.written += 1
        body = node.SerializeToString()
        if node.connected:
            row = insert(PRESENCE).values(node=node.id, replica=self.name, body=body)
            changes = {"replica": self.name, "body": body}
            await connection.execute(row.on_conflict_do_update(index_elements=["node"], set_=changes))
        else:
            # It may be somewhere else by now, and that one's word counts.
            mine = (PRESENCE.c.node == node.id, PRESENCE.c.replica == self.name)
            await connection.execute(update(PRESENCE).where(*mine).values(body=body))

    # ---- hear

    async def _hear(self, connection: AsyncConnection) -> None:
        now = self._clock()
        found = await connection.execute(select(REPLICAS).where(REPLICAS.c.name != self.name))
        beats = {row.name: row.beat for row in found}
        self._replicas = {
            name: seen if (seen := self._replicas.get(name)) and seen.beat == beat else Replica(beat, now)
            for name, beat in beats.items()
        }
        for name in [name for name, replica in self._replicas.items() if now - replica.at > REMEMBER]:
            await connection.execute(delete(PRESENCE).where(PRESENCE.c.replica == name))
            await connection.execute(delete(REPLICAS).where(REPLICAS.c.name == name))
        rows = await connection.execute(select(PRESENCE).where(PRESENCE.c.replica != self.name))
        self._rows = {
            row.node: known
            if (known := self._rows.get(row.node)) and (known.replica, known.body) == (row.replica, row.body)
            else Row(row.replica, row.body, now)
            for row in rows
        }

    def _publish(self) -> None:
        now = self._clock()
        horizon = now - MISSED_BEATS * self._interval
        alive = {name for name, replica in self._replicas.items() if replica.at >= horizon}
        elsewhere = {}
        for name, row in self._rows.items():
            node = NodeMessage.FromString(row.body)
            node.replica = row.replica
            node.connected_seconds += now - row.at
            if row.replica not in alive:
                node.connected = False
            if not node.connected:
                node.last_seen_seconds += now - row.at
            elsewhere[name] = node
        self._nodes.elsewhere = elsewhere


def _lasting(node: NodeMessage) -> bytes:
    """A node without what changes all the time."""
    lasting = NodeMessage()
    lasting.CopyFrom(node)
    for field in ("connected_seconds", "last_seen_seconds", "bytes_sent", "state", "desired_revision"):
        lasting.ClearField(field)
    return lasting.SerializeToString(deterministic=True)
