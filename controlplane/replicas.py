"""One control plane among several over one PostgreSQL: it tells of its nodes, hears of theirs, and asks them all.

On SQLite there is only one. Docs: docs/operations/replicas.md.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

from controlplane.answering import Answering
from controlplane.asking import Asking
from controlplane.nodes import Nodes
from controlplane.presence import Presence
from controlplane.publisher import Publisher
from controlplane.reach import Reach
from controlplane.relay import CHANNEL as QUESTIONS
from controlplane.relay import Relay
from controlplane.store import Reader
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.notify import follow
from controlplane.store.sql import CHANNEL as COMMITS

Job = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def joined(
    database: Database, nodes: Nodes, publisher: Publisher, store: Reader, interval: float
) -> AsyncIterator[tuple[Reach, list[Job]]]:
    """How to ask all nodes, and what runs for that; after the block the others are told that this one is gone.

    `interval` is that of heartbeats, in seconds.
    """
    if database.is_sqlite:
        yield Reach(nodes), []
        return
    name, asking = _name(), Asking()
    presence = Presence(database, nodes, name, interval=interval)
    relay = Relay(database, name, Answering(name, nodes, asking, publisher, store))
    told = partial(follow, database, {COMMITS: publisher.poke, QUESTIONS: relay.poke})
    yield Reach(nodes, relay, asking), [told, presence.run, relay.run]
    with suppress(DatabaseGone):  # without a database they find out by themselves
        await presence.leave()


def _name() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}/{uuid4().hex[:8]}"
